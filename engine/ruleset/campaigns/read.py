"""One entry of `campaigns:`, read and checked: what it says, and that it is possible."""

from dataclasses import replace
from functools import partial
from typing import Final, NamedTuple

from engine.ruleset import ir
from engine.ruleset.build import FALSE
from engine.ruleset.campaigns import abuse, bounds, gives, possible, tests_in_files
from engine.ruleset.campaigns.abuse import Abuse
from engine.ruleset.campaigns.model import MODES, Campaign, OfferSpec, Reward, Trigger
from engine.ruleset.campaigns.names import CUSTOMER_KINDS
from engine.ruleset.campaigns.tests_in_files import CaseReader
from engine.ruleset.campaigns.triggers import DAY_MS, duration, word
from engine.ruleset.campaigns.triggers import trigger as trigger_of
from engine.ruleset.check import condition
from engine.ruleset.errors import Faults
from engine.ruleset.parser import Text
from engine.ruleset.reader import Reader, fail, mapping
from engine.ruleset.rules import UsesOf, validity
from engine.ruleset.scope import Scope

KEYS: Final = (
    "id", "version", "description", "owner", "tags", "on", "when", "then", "occasion", "hold", "expires", "caps",
    "budget", "valid_from", "valid_to", "consent", "quiet_hours", "priority", "group", "holdout", "reversal",
    "threshold", "score_max", "abuse", "tests", "enabled", "mode",
)  # fmt: skip
OCCASIONS: Final = ("event", "period", "customer")
REVERSALS: Final = ("R1", "R2", "R3")
HOLD_MS_DEFAULT: Final = 14 * DAY_MS
HOLDOUT_MAX: Final = 0.5
VERSION_MAX: Final = 10_000

Gift = tuple[Reward | None, tuple[OfferSpec, ...], str, str]
"""A reward or offers, how one of them is chosen, when it is sent."""
NOTHING: Final[Gift] = (None, (), "", "")


class Does(NamedTuple):
    """What a campaign does, and when."""

    trigger: Trigger
    when: ir.Node
    reward: Reward | None
    offers: tuple[OfferSpec, ...]
    choose: str
    send: str


def read_campaign(
    name: str, reader: Reader, scope: Scope, uses_of: UsesOf, case: CaseReader, faults: Faults
) -> tuple[Campaign, bool]:
    """A campaign and whether it is enabled. What is wrong with it goes to `faults`, all of it."""
    take, known = faults.take, len(faults.found)
    scope = replace(scope, place="a campaign", customer=CUSTOMER_KINDS)
    does = Does(
        take(lambda: trigger_of(reader), Trigger()),
        take(lambda: condition(Text(reader.scalar("when")), scope), FALSE),
        *take(lambda: _then(reader, scope), NOTHING),
    )
    sound = len(faults.found) == known
    looks = take(lambda: abuse.read(reader, scope, does.trigger, does.reward), Abuse()) if sound else Abuse()
    campaign = _stated(name, reader, does, looks, uses_of, faults)
    if sound:
        tests = take(lambda: tests_in_files.written(reader), [])
        found = [take(partial(tests_in_files.read, test, does.trigger, case), None) for test in tests]
        campaign = replace(campaign, tests=tuple(test for test in found if test is not None))
    if len(faults.found) == known:
        take(lambda: possible.check(campaign, reader), None)
    return campaign, take(lambda: reader.flag("enabled", True), True)


def _stated(name: str, reader: Reader, does: Does, looks: Abuse, uses_of: UsesOf, faults: Faults) -> Campaign:
    """All that it says, as yet without its tests."""
    take = faults.take
    trigger, when, reward, offers, choose, send = does
    trees = [when, *([reward.amount] if reward is not None else []), *(one.when for one in looks.suspicions)]
    uses = {name: place for tree in trees for name, place in uses_of(tree).items()}
    first, last = take(lambda: validity(reader), (None, None))
    return Campaign(
        id=name,
        version=take(lambda: reader.whole("version", 1, 1, VERSION_MAX), 1),
        description=take(lambda: reader.text("description", ""), ""),
        owner=take(lambda: reader.text("owner", ""), ""),
        tags=tuple(text for text, _ in take(lambda: reader.texts("tags"), [])),
        trigger=trigger,
        when=when,
        reward=reward,
        offers=offers,
        choose=choose,
        send=send,
        occasion=take(lambda: word(reader, "occasion", OCCASIONS, "event"), "event"),
        hold_ms=take(lambda: _hold(reader), HOLD_MS_DEFAULT),
        expires_months=take(lambda: bounds.months(reader), 0),
        caps=take(lambda: bounds.caps(reader), ()),
        budget=take(lambda: bounds.budget(reader), None),
        valid_from_ms=first,
        valid_to_ms=last,
        consent=take(lambda: gives.name(reader, "consent", ""), ""),
        quiet=take(lambda: bounds.quiet(reader), None),
        priority=take(lambda: reader.whole("priority", 0, -1000, 1000), 0),
        group=take(lambda: gives.name(reader, "group", ""), ""),
        holdout=take(lambda: bounds.share(reader, "holdout", HOLDOUT_MAX), 0.0),
        reversal=take(lambda: word(reader, "reversal", REVERSALS, "R1" if reward else "R3"), "R1"),
        threshold=take(lambda: reader.number("threshold", 0.0, 0.0, gives.AMOUNT_MAX), 0.0),
        score_max=take(lambda: reader.number("score_max", 1.0, 0.0, 1.0), 1.0),
        abuse=looks.suspicions,
        self_referral=looks.self_referral,
        live=take(lambda: word(reader, "mode", MODES, MODES[0]), MODES[0]) == MODES[0],
        uses=tuple(uses),
        features=tuple(uses.values()),
        tests=(),
        file=reader.node.source.name,
        line=reader.node.line + 1,
    )


def _then(reader: Reader, scope: Scope) -> Gift:
    found = mapping(reader.need("then"), "'then'")
    if "reward" in found.items:
        return gives.reward(found, scope), (), "", "now"
    if "offer" in found.items or "offers" in found.items:
        return None, *gives.offers(found)
    raise fail(found, "'then' gives nothing", "a reward, an offer or offers")


def _hold(reader: Reader) -> int:
    if not reader.has("hold"):
        return HOLD_MS_DEFAULT
    node = reader.scalar("hold")
    return 0 if node.raw == "none" else duration(node, "hold")
