"""`abuse` of a campaign: what makes a reward suspicious at the moment it is granted, as conditions like any other.

A rule set that grants money looks for abuse unless it says otherwise: every reward of points, cashback or coupons has
the conditions of `LIMITS`, with their defaults. They read features that see all shards, and the customer's own record.
"""

from typing import Final, NamedTuple

from engine.ruleset import build
from engine.ruleset.campaigns.model import ALERT_RESOLVED, MONEY, Reward, Suspicion, Trigger
from engine.ruleset.check import condition, value
from engine.ruleset.parser import Text
from engine.ruleset.reader import Reader, fail, mapping
from engine.ruleset.scope import Scope
from engine.ruleset.yaml_loader import Mapping, Scalar

OFF: Final = "off"
NEW_ACCOUNT, REFUND_CYCLING, SELF_REFERRAL = "new_account", "refund_cycling", "self_referral"
ACCOUNTS_MAX: Final = 1_000
DAYS_MAX: Final = 365
REFUNDS_MAX: Final = 200
"""Payments that a customer's history holds."""
_DEVICE: Final = "distinct(of=customer_id, by=device, window='7d')"


class Limit(NamedTuple):
    """How many customers may share something. The features are those that the shipped rules read anyway.

    Attributes:
        code: of the alert; feature: how many there are; what: they are, for people.
        default: how many are no cause yet; None: only where a campaign asks.
        shared: what it is, of `engine.ruleset.campaigns.model.SHARED`.
    """

    code: str
    feature: str
    what: str
    default: int | None
    shared: str


LIMITS: Final[dict[str, Limit]] = {
    "accounts_per_device": Limit(
        "SHARED_DEVICE_CLUSTER", _DEVICE, "customers on this device within 7 days", 3, "device"),
    "accounts_per_card": Limit(
        "SHARED_CARD_CLUSTER", "distinct(of=customer_id, by=card, window='30d')",
        "customers with this card within 30 days", 2, "card",
    ),
    "accounts_per_address": Limit(
        "SHARED_ADDRESS_CLUSTER", "distinct(of=customer_id, by=shipping, window='7d')",
        "customers with this address within 7 days", None, "address",
    ),
}  # fmt: skip
NEW_KEYS: Final = ("days", "accounts_per_device")
NEW_DEFAULTS: Final = (7, 2)
"""An account is new for a week; two on a device are a household, more a farm."""
CYCLING_KEYS: Final = ("rate", "min")
CYCLING_DEFAULTS: Final = (0.5, 3)
"""Half of what was paid in 90 days went back, of three payments or more."""
KEYS: Final = (*LIMITS, NEW_ACCOUNT, SELF_REFERRAL, REFUND_CYCLING)


class Abuse(NamedTuple):
    """What is looked for: conditions on the event and the customer; and whether referrer and customer are one."""

    suspicions: tuple[Suspicion, ...] = ()
    self_referral: bool = False


def read(reader: Reader, scope: Scope, trigger: Trigger, reward: Reward | None) -> Abuse:
    """`abuse`, or its defaults. Raises `RuleError`."""
    given = reader.get("abuse")
    off = isinstance(given, Scalar) and given.raw == OFF
    if reward is None or reward.kind not in MONEY:
        if given is not None and not off:
            raise fail(reader.node.items["abuse"][0], "abuse is looked for in rewards of points, cashback and coupons")
        return Abuse()
    if off:
        return Abuse()
    own = _inside(reader, "abuse", KEYS)
    maker = _Maker(own, scope)
    if any(name != ALERT_RESOLVED for name in trigger.events):
        maker.clusters()
        maker.new_account()
    else:
        _without_event(own, trigger)
    maker.refund_cycling()
    return Abuse(tuple(maker.made), _self_referral(own, reward))


def _inside(reader: Reader, key: str, keys: tuple[str, ...]) -> Reader:
    """What stands under a key, which may be nothing."""
    node = reader.node
    found = (
        mapping(reader.need(key), f"'{key}'") if reader.has(key) else Mapping(node.source, node.line, node.column, {})
    )
    return Reader(found, f"'{key}'", keys)


def _is_off(reader: Reader, key: str) -> bool:
    node = reader.get(key)
    return isinstance(node, Scalar) and node.raw == OFF


def _without_event(own: Reader, trigger: Trigger) -> None:
    for key in (*LIMITS, NEW_ACCOUNT):
        if own.has(key) and not _is_off(own, key):
            raise fail(own.node.items[key][0], f"{trigger.name} brings no event, so there is no '{key}'")


def _self_referral(own: Reader, reward: Reward) -> bool:
    wanted = not _is_off(own, SELF_REFERRAL) and own.flag(SELF_REFERRAL, reward.both)
    if wanted and not reward.both:
        raise fail(own.node.items[SELF_REFERRAL][0], "'self_referral' goes with 'both'", "then: {both: true}")
    return wanted


class _Maker:
    """Makes conditions of what `abuse` says."""

    def __init__(self, own: Reader, scope: Scope) -> None:
        self.made: list[Suspicion] = []
        self._own, self._scope = own, scope

    def clusters(self) -> None:
        """Too many customers with one device, card or address."""
        for key, limit in LIMITS.items():
            most = _accounts(self._own, key, limit.default)
            if most is not None:
                what = f"{{:g}} {limit.what}, more than {most}"
                self._add(limit.code, f"{limit.feature} > {most}", limit.feature, what, limit.shared, most)

    def new_account(self) -> None:
        """Fewer are too many where the account is new."""
        if _is_off(self._own, NEW_ACCOUNT):
            return
        inner = _inside(self._own, NEW_ACCOUNT, NEW_KEYS)
        days = inner.whole(NEW_KEYS[0], NEW_DEFAULTS[0], 1, DAYS_MAX)
        most = _accounts(inner, NEW_KEYS[1], NEW_DEFAULTS[1])
        if most is not None:
            when = f"{_DEVICE} > {most} and customer.tenure_days < {days}"
            what = f"a new account, and {{:g}} customers on this device within 7 days, more than {most}"
            self._add("NEW_ACCOUNT_FARMING", when, _DEVICE, what, "device", most)

    def refund_cycling(self) -> None:
        """Pays, earns, and gives it back."""
        if _is_off(self._own, REFUND_CYCLING):
            return
        inner = _inside(self._own, REFUND_CYCLING, CYCLING_KEYS)
        rate = inner.number(CYCLING_KEYS[0], CYCLING_DEFAULTS[0], 0.01, 1.0)
        least = inner.whole(CYCLING_KEYS[1], CYCLING_DEFAULTS[1], 1, REFUNDS_MAX)
        when = f"customer.refunds_90d >= {least} and customer.refund_rate_90d >= {rate!r}"
        what = f"{{:.0%}} of what was paid in 90 days went back, in {least} payments or more"
        self._add("REFUND_CYCLING", when, "customer.refund_rate_90d", what)

    def _add(self, code: str, when: str, shown: str, what: str, shared: str = "", most: int = 0) -> None:
        tree, number = condition(self._text(when), self._scope), value(self._text(shown), self._scope)
        self.made.append(Suspicion(code, tree, build.as_number(number), what, shared, most))

    def _text(self, text: str) -> Text:
        node = self._own.node
        return Text(Scalar(node.source, node.line, node.column, (node.line, node.column), text, text, None))


def _accounts(reader: Reader, key: str, default: int | None) -> int | None:
    """A number of accounts; None where none is too many."""
    if not reader.has(key):
        return default
    return None if _is_off(reader, key) else reader.whole(key, 0, 1, ACCOUNTS_MAX)
