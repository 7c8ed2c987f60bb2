"""How the monitor tells drift from calm days. The values were measured (docs/scoring.md)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DriftSettings:
    """Settings of a `DriftMonitor`; blocks are days of event time, longer where a shard has few payments.

    Attributes:
        payments_min: payments a block needs; a quieter day is joined to the next.
        sample_max: payments of a block whose inputs are counted, evenly drawn: bounds what a shard keeps of a day.
        half_blocks: blocks after which a block counts half in the reference.
        reference_min: blocks a reference needs before it is compared with.
        settle: the same after a change: windows of features fill with what is new for weeks.
        history_min: distances an input needs before one is judged.
        history_max: distances kept: a month and a week, so that what comes monthly is known.
        lag: newest blocks whose distances are no yardstick yet, so that a change that takes days is seen.
        factor, margin: a distance is drift above `factor` times the greatest of the history, plus `margin`.
        distance_min: a distance below it is no drift, however calm the history.
        noise: the same in standard deviations of what equal distributions give by chance.
        delta, blocks_min: of the windows over scores, labels and skill (`Adwin`).
        ratio_min: least ratio of the means after and before (or its inverse) that is worth an alarm, for scores,
            labels, skill.
        skill_grace: blocks of frauds that the window over skill needs before it is looked at.
        labels_min, frauds_min: labels and frauds a block of theirs needs.
    """

    payments_min: int = 400
    sample_max: int = 8_192
    half_blocks: float = 7.0
    reference_min: int = 7
    settle: int = 14
    history_min: int = 14
    history_max: int = 38
    lag: int = 7
    factor: float = 1.3
    margin: float = 0.06
    distance_min: float = 0.12
    noise: float = 4.0
    delta: float = 0.002
    blocks_min: int = 1
    ratio_min: tuple[float, float, float] = (1.4, 1.5, 1.3)
    skill_grace: int = 7
    labels_min: int = 400
    frauds_min: int = 20
