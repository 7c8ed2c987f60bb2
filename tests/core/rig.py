"""Observers over the simplest store there can be, and the oracle: one event at a time, plain lists."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engine.core.clock import ShardClock
from engine.core.decode import Decoder
from engine.core.effects import Effects
from engine.core.observers import Observers
from engine.core.small_state import HEAD_CLOCK
from engine.domain.hashing import hash64
from engine.domain.ids import output_id
from engine.ruleset.compiler import compile as compile_rules
from engine.ruleset.ruleset import Frame, RuleSet
from tests.core.stored import Store

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
LATE = HOUR
JUMP = 8 * DAY

RULES = """
rules:
  - id: settlement_missing
    on: [payment.captured]
    when: not missing(payment_id)
    unless_followed_by: {types: [payment.settled, payment.cancelled], same: payment_id, within: 3h}
    then: {alert: operations, severity: medium, title: "{payment_id} of {customer_id}", action: look}
  - id: source_silent
    on: [any]
    when: not missing(source)
    unless_followed_by: {same: source, within: 15m}
    then: {alert: operations, severity: high, title: "{source}"}
  - id: never_viewed
    on: [offer.redeemed]
    mode: shadow
    when: not missing(offer_id)
    unless_followed_by: {types: [offer.viewed], same: offer_id, within: 1h}
    then: {alert: abuse}
  - id: too_many_failures
    on: [payment.failed]
    when: amount > 5
    then: {alert: operations, title: "{acquirer}", by: [acquirer], every: 30m}
"""


def rules(text: str = RULES) -> RuleSet:
    return compile_rules({"rules.yaml": text})


def event(number: int, kind: str, time_ms: int, customer: int = 0, **fields: Any) -> dict[str, Any]:
    body = {"event_id": f"e{number}", "type": kind, "event_time": time_ms, "customer_id": f"c{customer}", **fields}
    if kind.startswith("payment."):
        body = {"payment_id": f"p{number}", "amount": 10, "currency": "EUR", **body}
    return body


@dataclass
class Rig:
    """Observers, their store, and how often they are started again. A tick is an int in a batch of its own."""

    ruleset: RuleSet
    backed: bool = True
    restart_every: int = 0
    watches_max: int = 1_000_000
    store: Store = field(default_factory=Store)
    batches: int = 0
    counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        head = self.store.head()
        self.clock = ShardClock(LATE, JUMP, head.get(HEAD_CLOCK, b""))
        self.observers = Observers(self.ruleset, head, self.clock, backed=self.backed, lateness_ms=LATE)

    def batch(self, events: Sequence[dict[str, Any]], ticks: Sequence[int] = ()) -> list[tuple[int, str]]:
        """Returns the alerts: how many events of the batch stand before each, and its id."""
        if self.restart_every and self.batches % self.restart_every == 0:
            self.start()
        self.batches += 1
        columns = Decoder().decode([json.dumps(one).encode() for one in events]).columns
        assert columns.n == len(events)
        customers = columns.string("customer_id")
        keys = self.observers.missing(columns, self.clock.reach(columns.time_ms, customers, ticks))
        while keys:
            assert self.backed
            keys = self.observers.load(keys, [self.store.get(key) for key in keys])
        effects = Effects()
        parts = self.observers.tick(ticks, effects)

        def frame(rows: Any) -> Frame:
            picked = columns.take(rows)
            return Frame(picked, self.ruleset.derive(picked, np.full((len(self.ruleset.features), picked.n), np.nan)))

        if columns.n:
            clock = self.clock.advance(columns.time_ms, customers)
            before, after = self.observers.observe(columns, clock, frame, lambda *_: None, range(columns.n), effects)
            parts += before + after
        self.store.take(b"".join(self.observers.flush()))
        self.store[HEAD_CLOCK] = self.clock.changed() or self.store.get(HEAD_CLOCK, b"")
        self.observers.evict(self.watches_max)
        for name, count in effects.observed.items():
            self.counts[name] = self.counts.get(name, 0) + count
        return [(place, output.id) for place, output in sorted(parts, key=lambda part: part[0])]

    def run(self, history: Sequence[dict[str, Any] | int], size: int) -> list[tuple[int, str]]:
        """Alerts of a history, each with the number of the item at or before which it stands."""
        found: list[tuple[int, str]] = []
        start = 0
        while start < len(history):
            end = start + 1
            while end < min(len(history), start + size) and not isinstance(history[end], int):
                end += 1
            items = history[start:end]
            ticks = [item for item in items if isinstance(item, int)]
            first = start + len(ticks)
            alerts = self.batch([item for item in items if not isinstance(item, int)], ticks)
            # A tick's own alerts stand at the tick; the rig numbers rows from the first event.
            found += [(first + place, identity) for place, identity in alerts]
            start = end
        return found


class OracleClock:
    """The clock as its docstring has it, with the whole history at hand."""

    def __init__(self) -> None:
        self.now: int | None = None
        self.seen: list[tuple[int, int]] = []
        self.ticked = False
        self.ahead: tuple[int, int] | None = None
        self.customers: set[int] = set()

    def tick(self, time_ms: int) -> int:
        self.now = time_ms - LATE if self.now is None else max(self.now, time_ms - LATE)
        self.ticked = True
        if self.ahead and self.ahead[0] <= self.now + JUMP:
            self.ahead = None
        return self.now

    def step(self, time_ms: int, who: int) -> int:
        before = self.seen
        self.seen = [*before[-1:], (time_ms, who)] if len(before) < 2 else before
        alone = not self.ticked and all(other == who for other in self.customers)
        self.customers.add(who)
        if self.now is None:
            self.now = time_ms - LATE
        elif len(before) == 1 and not self.ticked:
            first = before[0]
            if abs(first[0] - time_ms) <= JUMP:
                self.now = max(self.now, time_ms - LATE)
            else:
                self.now = min(first[0], time_ms) - LATE
                self.ahead = max(first, (time_ms, who))
        elif time_ms <= self.now + JUMP:
            self.now = max(self.now, time_ms - LATE)
            self.ahead = None
        elif self.ahead and (self.ahead[1] != who or alone):
            low, high = sorted([self.ahead, (time_ms, who)])
            self.now = low[0] - LATE
            self.ahead = high if high[0] > self.now + JUMP else None
        else:
            self.ahead = (max(time_ms, self.ahead[0] if self.ahead else 0), who)
        return self.now


class Oracle:
    """What the observers should say, worked out one event at a time from everything received so far."""

    def __init__(self, ruleset: RuleSet) -> None:
        self.ruleset = ruleset
        self.clock = OracleClock()
        self.waiting: list[tuple[int, bytes, Any, Any, dict[str, Any]]] = []
        self.followed: list[tuple[str, Any, int]] = []
        self.last: dict[tuple[str, Any], int] = {}
        self.counts: dict[str, int] = {}

    def alert(self, rule: Any, cause: dict[str, Any]) -> Iterable[str]:
        self.counts[rule.id] = self.counts.get(rule.id, 0) + 1
        if rule.mode != "shadow":
            yield output_id("alert", "observer", rule.id, cause["customer_id"], cause["event_id"])

    def fire(self, now: int) -> list[str]:
        found: list[str] = []
        for entry in sorted((e for e in self.waiting if e[0] <= now), key=lambda e: e[:2]):
            due, _, rule, value, cause = entry
            self.waiting.remove(entry)
            if not any((rule.id, value) == f[:2] and cause["event_time"] < f[2] <= due for f in self.followed):
                found += self.alert(rule, cause)
        return found

    def step(self, one: dict[str, Any]) -> list[str]:
        time_ms = one["event_time"]
        now = self.clock.step(time_ms, hash64(one["customer_id"]))
        found = self.fire(now)
        for rule in self.ruleset.observers:
            kind = one["type"]
            on = kind in rule.on or "any" in rule.on
            if rule.follow is None:
                if on and one["amount"] > 5:
                    key, every = (rule.id, one.get("acquirer")), rule.alert.every_ms
                    last = self.last.get(key)
                    if last is None or abs(time_ms - last) >= every or last + every <= now:
                        self.last[key] = time_ms
                        found += self.alert(rule, one)
                continue
            value, within = one.get(rule.follow.same), rule.follow.within_ms
            if value is None or time_ms > now + LATE:
                continue
            if on or kind in rule.follow.types:
                self.followed.append((rule.id, value, time_ms))
            same = any(e[2] is rule and e[3] == value and e[4]["event_time"] == time_ms for e in self.waiting)
            if on and time_ms + within > now and not same:
                owner = hash64(rule.id).to_bytes(8, "little") + hash64(value).to_bytes(8, "little")
                self.waiting.append((time_ms + within, owner, rule, value, one))
        return found

    def run(self, history: Sequence[dict[str, Any] | int]) -> list[tuple[int, str]]:
        found: list[tuple[int, str]] = []
        for place, item in enumerate(history):
            if isinstance(item, int):
                found += [(place + 1, identity) for identity in self.fire(self.clock.tick(item))]
            else:
                found += [(place, identity) for identity in self.step(item)]
        return found
