"""A small world of events and control events, two rule sets for it, and a naive account of what they must say.

The oracle reads the records one by one in plain Python: which rule set is in force, what is on the lists at the event's
own time, who is snoozed, and how often a customer was seen within a window.
"""

import json
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

from hypothesis import strategies as st

from engine.ruleset import RuleSet, compile

T0 = 1_767_268_800_000
MINUTE = 60_000
LISTS = """
lists:
  blocked: {values: [card_1], description: declared}
  nets: {values: ["10.1.0.0/16"]}
  odd: {values: [7, 13]}
"""
RULES = """
  - {id: blocked_card, description: d, when: card_id in lists.blocked, then: {decision: decline, reason: BLOCKED}}
  - {id: bad_net, description: d, when: ip in lists.nets, then: {decision: review, reason: NET}}
  - {id: odd_amount, description: d, when: amount in lists.odd, then: {score: 5, reason: ODD}}
  - {id: not_blocked, description: d, when: card_id not in lists.blocked, mode: shadow, then: {score: 1, reason: NOT}}
"""
FIRST = """
rules:
  - {id: busy, description: d, when: "count(by=customer, window='10m') > 2", then: {decision: review, reason: BUSY}}
"""
SECOND = """
rules:
  - {id: busy, description: d, when: "count(by=customer, window='5m') > 1", then: {decision: step_up, reason: BUSY}}
  - {id: later, description: d, when: device_id in lists.late, then: {decision: review, reason: LATER}}
"""
ONE: RuleSet = compile({"a.yaml": LISTS + FIRST + RULES})
TWO: RuleSet = compile({"a.yaml": LISTS + "  late: {values: []}\n" + SECOND + RULES})
SETS = {ruleset.hash: ruleset for ruleset in (ONE, TWO)}
NOWHERE = "0" * 16
DECLARED = {"blocked": {"card_1"}, "nets": {"10.1.0.0/16"}, "odd": {"7", "13"}, "late": set()}

CARDS = ["card_1", "card_2", "card_3"]
ADDRESSES = ["10.1.2.3", "10.2.0.1", "192.0.2.9"]
DEVICES = ["dev_1", "dev_2"]
AMOUNTS = ["7", "8", "13"]
CUSTOMERS = ["c1", "c2"]
VALUES = {
    "blocked": CARDS,
    "nets": ["10.1.0.0/16", "10.2.0.0/15", "192.0.2.9", "no address"],
    "odd": [*AMOUNTS, "7.0", "x"],
    "late": DEVICES,
}
ENTITIES = {"customer": ("customer_id", CUSTOMERS), "card": ("card_id", CARDS), "ip": ("ip", ADDRESSES)}
IDS = ["blocked_card", "bad_net", "odd_amount", "not_blocked", "busy", "later", "unheard_of"]

times = st.integers(0, 40).map(lambda minutes: T0 + minutes * MINUTE)


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Events and control events at random, in an order that is not always that of their times."""
    records = draw(st.lists(st.one_of(payments(), payments(), payments(), controls()), max_size=60))
    return [{**record, "event_id": f"e{number}"} for number, record in enumerate(records)]


@st.composite
def payments(draw: st.DrawFn) -> dict[str, Any]:
    """A payment that carries a decision, and is never late: the times are within the allowed lateness."""
    return {
        "type": "payment.requested",
        "payment_id": f"p{draw(st.integers(0, 10**9))}",
        "currency": "EUR",
        "event_time": draw(times),
        "customer_id": draw(st.sampled_from(CUSTOMERS)),
        "card_id": draw(st.sampled_from(CARDS)),
        "ip": draw(st.sampled_from(ADDRESSES)),
        "device_id": draw(st.sampled_from(DEVICES)),
        "amount": draw(st.sampled_from(AMOUNTS)),
    }


@st.composite
def controls(draw: st.DrawFn) -> dict[str, Any]:
    """A control event of any kind that the core adopts."""
    kind = draw(
        st.sampled_from(["rules", "rules", "list", "list", "list", "snooze", "snooze", "tick", "rules_refused"])
    )
    record: dict[str, Any] = {"type": f"control.{kind}", "event_time": draw(times)}
    if kind == "rules":
        record["ruleset"] = draw(st.sampled_from([ONE.hash, TWO.hash, TWO.hash, ONE.hash, NOWHERE]))
    elif kind == "rules_refused":
        record |= {"ruleset": NOWHERE, "errors": ["a.yaml:1:1: no"]}
    elif kind == "list":
        name = draw(st.sampled_from(sorted(VALUES)))
        some = st.lists(st.sampled_from(VALUES[name]), max_size=3)
        record |= {"name": name, "add": draw(some), "remove": draw(some)}
        if draw(st.integers(0, 4)) == 0:
            record["values"] = draw(some)
        if draw(st.booleans()):
            record["expires_at"] = draw(times)
    elif kind == "snooze":
        entity = draw(st.sampled_from(sorted(ENTITIES)))
        record |= {"rule": draw(st.sampled_from(IDS)), "entity": entity}
        record["value"] = draw(st.sampled_from(ENTITIES[entity][1]))
        record["until"] = draw(st.none() | times)
    return record


@dataclass
class NaiveList:
    replaced: bool = False
    added: dict[str, float] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)


@dataclass
class Oracle:
    """What must come of the records; `tell` takes them one by one."""

    ruleset: RuleSet = ONE
    lists: dict[str, NaiveList] = field(default_factory=dict)
    snoozes: dict[tuple[str, str, str], int] = field(default_factory=dict)
    seen: list[dict[str, Any]] = field(default_factory=list)

    def tell(self, record: dict[str, Any]) -> dict[str, Any] | None:
        """What is put out for a record: the parts of the decision, a dead letter's reason, an alert's title."""
        kind = record["type"].partition("control.")[2]
        if not kind:
            return self.decide(record)
        if kind == "rules":
            if record["ruleset"] not in SETS:
                return {"reason": "unknown_ruleset"}
            self.ruleset = SETS[record["ruleset"]]
        elif kind == "rules_refused":
            return {"kind": "operations"}
        elif kind == "list":
            self.change(record)
        elif kind == "snooze":
            at, key = record["event_time"], (record["rule"], record["entity"], record["value"])
            self.snoozes = {other: until for other, until in self.snoozes.items() if until > at}
            self.snoozes.pop(key, None)
            if record["until"] is not None and record["until"] > at:
                self.snoozes[key] = record["until"]
        return None

    def change(self, record: dict[str, Any]) -> None:
        live = self.lists.setdefault(record["name"], NaiveList())
        live.added = {value: until for value, until in live.added.items() if until > record["event_time"]}
        until = record.get("expires_at", float("inf"))
        if "values" in record:
            live.replaced, live.added, live.removed = True, dict.fromkeys(record["values"], until), set()
        for value in record["remove"]:
            live.added.pop(value, None)
            if not live.replaced and record["name"] in self.ruleset.lists:
                live.removed |= {known for known in DECLARED[record["name"]] if self.same(record["name"], known, value)}
        live.added |= dict.fromkeys(record["add"], until)

    def same(self, name: str, one: str, other: str) -> bool:
        if name != "odd" or one == "x" or other == "x":
            return one == other
        return float(one) == float(other)

    def entries(self, name: str, at: int) -> list[str]:
        live = self.lists.get(name, NaiveList())
        kept = set() if live.replaced else DECLARED[name] - live.removed
        return [*kept, *(value for value, until in live.added.items() if at < until)]

    def on(self, name: str, value: str, at: int) -> bool:
        entries = self.entries(name, at)
        if name == "nets":
            return value in entries or any(
                ip_address(value) in ip_network(entry) for entry in entries if entry[0].isdigit()
            )
        return any(self.same(name, entry, value) for entry in entries)

    def decide(self, event: dict[str, Any]) -> dict[str, Any]:
        self.seen.append(event)
        at = event["event_time"]
        window = 10 * MINUTE if self.ruleset is ONE else 5 * MINUTE
        count = sum(
            1 for other in self.seen
            if other["customer_id"] == event["customer_id"] and at - window < other["event_time"] <= at
        )  # fmt: skip
        blocked = self.on("blocked", event["card_id"], at)
        hits = {
            "busy": count > (2 if self.ruleset is ONE else 1),
            "later": self.ruleset is TWO and self.on("late", event["device_id"], at),
            "blocked_card": blocked,
            "bad_net": self.on("nets", event["ip"], at),
            "odd_amount": self.on("odd", event["amount"], at),
            "not_blocked": not blocked,
        }
        live, shadow = [], []
        for rule in [rule for rule, hit in hits.items() if hit]:
            snoozed = any(
                at < until and event[ENTITIES[entity][0]] == value
                for (name, entity, value), until in self.snoozes.items()
                if name == rule
            )
            (shadow if snoozed or rule == "not_blocked" else live).append(rule)
        return {"rules": live, "shadow": shadow, "ruleset": self.ruleset.hash}


def encoded(record: dict[str, Any], escaped: bool = False) -> bytes:
    """A record as JSON; `escaped` hides what a control event is behind escapes."""
    text = json.dumps(record)
    return (text.replace("control.", "contr\\u006f\\u006C\\u002e") if escaped else text).encode()
