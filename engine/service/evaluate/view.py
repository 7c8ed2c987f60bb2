"""A report as text for a terminal and as plots."""

from typing import Any, Final

from engine.service.backtest.plot import Series, lines, standalone
from engine.service.backtest.text import section_text
from engine.service.backtest.view import NOTHING, Section, count, percent
from engine.service.evaluate.metrics import BUDGETS

HEADERS: Final = ("AUC", "AP", "card precision")


def render(report: dict[str, Any]) -> str:
    """The whole report as text."""
    sections = [_scores(report), _recalls(report), _weeks(report), _probabilities(report)]
    sections += [_reliability(name, found) for name, found in report["scores"].items() if "reliability" in found]
    sections += [_segments(report), _challengers(report)]
    return "\n\n".join(["\n".join(summary(report)), *(section_text(section) for section in sections if section.rows)])


def summary(report: dict[str, Any]) -> list[str]:
    """What was judged, in a few lines."""
    history, judged, speed = report["history"], report["judged"], report["speed"]
    events = f"{history['events']:,} events ({history['duplicates']:,} duplicates, {history['dead_lettered']:,} dead)"
    young = f"{history['unripe']:,} decisions are too young to be judged as of {history['as_of']}"
    if history["from"] is None:
        return [f"{events}, {history['decisions']:,} decisions, {history['labels_arrived']:,} fraud labels", young]
    span = f"judged from {history['from'][:10]} until {history['until'][:10]}"
    kept = f"{judged['payments']:,} payments, {judged['frauds']:,} of them fraud"
    cpu = f"{speed['cpu_us_per_event']:g} us of CPU an event"
    return [
        f"{events}, {history['decisions']:,} decisions, {history['labels_arrived']:,} fraud labels; {young}",
        f"{span}: {kept} ({judged['known_cards_left_out']:,} of cards known to be compromised left out)",
        f"{speed['events_per_second']:,} events/s, {cpu}: decoding, features, scoring, learning and rules",
    ]


def plots(report: dict[str, Any]) -> dict[str, str]:
    """Plots as SVG files by name."""
    scores = report["scores"]
    found: dict[str, str] = {}
    weeks = report["weeks"]
    if len(weeks) > 1:
        series = [Series(name, [week["scores"][name]["average_precision"] for week in weeks]) for name in scores]
        xs = [float(place) for place in range(len(weeks))]
        title = f"Average precision by week, from {weeks[0]['from']} (week 0)"
        found["weeks.svg"] = standalone(lines(title, xs, series, top=1.0))
    curves = {name: one["precision_recall"] for name, one in scores.items() if one["precision_recall"]}
    if curves:
        xs = [100 * recall for recall, _ in next(iter(curves.values()))]
        series = [Series(name, [precision for _, precision in curve]) for name, curve in curves.items()]
        found["precision_recall.svg"] = standalone(lines("Precision by recall (%)", xs, series, top=1.0))
        budgets = [100 * budget for budget in BUDGETS]
        caught = [Series(name, list(scores[name]["recall_at"].values())) for name in curves]
        found["recall.svg"] = standalone(lines("Frauds caught by alert budget (%)", budgets, caught))
    for name, one in scores.items():
        bins = [part for part in one.get("reliability", ()) if part["payments"]]
        if bins:
            series = [Series("observed", [part["observed"] for part in bins])]
            series.append(Series("as predicted", [part["predicted"] for part in bins]))
            xs = [100 * part["predicted"] for part in bins]
            file = f"reliability_{''.join(char if char.isalnum() else '_' for char in name)}.svg"
            found[file] = standalone(lines(f"Reliability of {name}: fraud by probability (%)", xs, series, top=1.0))
    return found


def _scores(report: dict[str, Any]) -> Section:
    rows = []
    for name, found in report["scores"].items():
        row = [name, percent(found["scored"]), *_ranks(found)]
        row += [_span(found["interval"]["average_precision"])]
        rows.append([*row, *(_spread(found["weekly"][figure]) for figure in ("average_precision", "card_precision"))])
    headers = ["score", "scored", *HEADERS, "AP, 95%", "AP by week", "card precision by week"]
    shown = f"Card precision: compromised among {report['cards_a_day']} cards a day, found and known ones left out."
    return Section("Scores", shown, headers, rows)


def _recalls(report: dict[str, Any]) -> Section:
    rows = [[name, *(percent(v) for v in found["recall_at"].values())] for name, found in report["scores"].items()]
    note = "Frauds among so small a share of the payments, those with the highest scores."
    return Section("Recall at alert budgets", note, ["score", *(f"{100 * b:g}%" for b in BUDGETS)], rows)


def _weeks(report: dict[str, Any]) -> Section:
    names = list(report["scores"])
    rows = []
    for week in report["weeks"]:
        row = [week["from"], str(week["days"]), count(week["payments"]), count(week["frauds"])]
        rows.append([*row, *(cell for name in names for cell in _ranks(week["scores"][name]))])
    headers = ["week", "days", "payments", "frauds", *(f"{name} {head}" for name in names for head in HEADERS)]
    return Section("Weeks", "", headers, rows)


def _probabilities(report: dict[str, Any]) -> Section:
    rows = [
        [name, _figure(one["brier"], 6), _figure(one["brier_of_the_rate"], 6), _figure(one["calibration_error"], 6)]
        for name, one in report["scores"].items()
        if "brier" in one
    ]
    note = "Over every payment. The second column is the Brier score of always saying the fraud rate."
    return Section("Probabilities", note, ["score", "Brier", "of the rate", "calibration error"], rows)


def _reliability(name: str, found: dict[str, Any]) -> Section:
    rows = [
        [
            f"{one['low']:g} to {one['high']:g}",
            *(count(one[name]) for name in ("payments", "frauds")),
            *(percent(one[name]) for name in ("predicted", "observed")),
        ]
        for one in found["reliability"]
        if one["payments"]
    ]
    return Section(f"Reliability of {name}", "", ["probability", "payments", "frauds", "predicted", "observed"], rows)


def _segments(report: dict[str, Any]) -> Section:
    names = list(report["scores"])
    rows = []
    for segment in report["segments"]:
        row = [segment["value"], count(segment["payments"]), count(segment["frauds"])]
        rows.append([*row, *(cell for name in names for cell in _ranks(segment["scores"][name])[:2])])
    headers = [str(report["segment"]), "payments", "frauds", *(f"{n} {head}" for n in names for head in HEADERS[:2])]
    return Section(f"By {report['segment']}", "", headers, rows)


def _challengers(report: dict[str, Any]) -> Section:
    rows = []
    for one in report["challengers"]:
        gains = [_span(one["gain"][name]) for name in ("average_precision", "auc", "card_precision")]
        rows.append([one["challenger"], *gains, one["verdict"], one["why"]])
    note = "Gains over the champion on the same payments; intervals of 95% by drawing days again."
    return Section("Challengers", note, ["challenger", "AP", "AUC", "card precision", "verdict", "why"], rows)


def _ranks(found: dict[str, Any]) -> list[str]:
    return [_figure(found[name]) for name in ("auc", "average_precision", "card_precision")]


def _figure(value: float | None, places: int = 4) -> str:
    return NOTHING if value is None else f"{value:.{places}f}"


def _span(found: dict[str, float] | None) -> str:
    return NOTHING if found is None else f"{found['value']:.4f} ({found['low']:.4f} to {found['high']:.4f})"


def _spread(found: dict[str, float] | None) -> str:
    return NOTHING if found is None else f"{found['mean']:.4f} ± {found['sd']:.4f}"
