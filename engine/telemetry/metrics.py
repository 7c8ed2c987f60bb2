"""What a process tells Prometheus about itself.

Everything is counted once a batch, not once an event: a batch of 500 costs some 30 microseconds of bookkeeping. Labels
take their values from fixed lists, so that no event can make a new time series.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from engine import __version__
from engine.domain.reasons import MEANINGS
from engine.telemetry.counted import CountedBatch, CountedOutput
from engine.telemetry.learning import LearningMetrics

STAGES: Final = (
    "decode", "load", "admit", "label", "features", "score", "rules", "decide", "engage", "observe", "apply", "commit",
    "relay", "total",
)  # fmt: skip
_SECONDS: Final = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
)
_EVENTS: Final = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000)
_BYTES: Final = tuple(4**n for n in range(4, 13))
_OUTCOMES: Final = ("approve", "review", "step_up", "decline")
_ALERT_KINDS: Final = ("fraud", "operations", "abuse", "drift")
_REFUSALS: Final = ("no_number", "not_whole", "not_positive", "not_enough", "no_coupon")
_OTHER: Final = "other"
RULE_SERIES_MAX: Final = 4_000
"""Rules and modes counted apart: twice the most rules of one rule set."""


class _Named(msgspec.Struct):
    """The one field of a dead letter or an alert that is a label."""

    reason: str = ""
    kind: str = ""


_NAMED: Final = msgspec.json.Decoder(_Named)


class Metrics:
    """The metrics of one process, in a registry of their own.

    >>> metrics = Metrics()
    >>> metrics.fenced()
    >>> b"steward_fenced_total 1.0" in metrics.render()
    True
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        if registry is None:
            ProcessCollector(registry=self.registry)
            PlatformCollector(registry=self.registry)
            GCCollector(registry=self.registry)
        self._intake(self.registry)
        self._outcomes(self.registry)
        self._health(self.registry)
        self._learning = LearningMetrics(self.registry)

    def _intake(self, registry: CollectorRegistry) -> None:
        events = Counter("steward_events", "Records read, by what became of them", ["result"], registry=registry)
        self._accepted = events.labels("accepted")
        self._duplicates = events.labels("duplicate")
        self._dead_lettered = events.labels("dead_lettered")
        self._late = Counter("steward_late_events", "Accepted events beyond the allowed lateness", registry=registry)
        self._batch = Histogram("steward_batch_events", "Records of a micro-batch", buckets=_EVENTS, registry=registry)
        stage = Histogram(
            "steward_stage_seconds", "Wall time of a stage, per batch", ["stage"], buckets=_SECONDS, registry=registry
        )
        self._stage = {name: stage.labels(name) for name in STAGES}
        self._commit_bytes = Histogram(
            "steward_commit_bytes", "State operations of a commit", buckets=_BYTES, registry=registry
        )

    def _outcomes(self, registry: CollectorRegistry) -> None:
        decisions = Counter("steward_decisions", "Decisions, by outcome", ["decision"], registry=registry)
        self._decisions = {name: decisions.labels(name) for name in (*_OUTCOMES, _OTHER)}
        self._control = Counter(
            "steward_control_sample", "Declines that went through as the control sample", registry=registry
        )
        alerts = Counter("steward_alerts", "Alerts, by kind", ["kind"], registry=registry)
        self._alerts = {name: alerts.labels(name) for name in (*_ALERT_KINDS, _OTHER)}
        refused = Counter(
            "steward_redemptions_refused", "Refused redemptions, by reason", ["reason"], registry=registry
        )
        self._refused = {name: refused.labels(name) for name in (*_REFUSALS, _OTHER)}
        dead = Counter("steward_dead_letters", "Refused records, by reason", ["reason"], registry=registry)
        self._reasons = {name: dead.labels(name) for name in (*MEANINGS, _OTHER)}
        self._hits = Counter(
            "steward_rule_hits", "Hits by rule; live, shadow or observer", ["rule", "mode"], registry=registry
        )
        self._rules: dict[tuple[str, str], Counter] = {}
        self._outputs = Counter("steward_outputs", "Outputs made, by kind", ["kind"], registry=registry)

    def _health(self, registry: CollectorRegistry) -> None:
        self._lag = Gauge(
            "steward_lag_events", "Records on the log not yet committed", ["partition"], registry=registry
        )
        self._fences = Counter(
            "steward_fenced", "Commits refused: another owner, or the store rolled back", registry=registry
        )
        self._cache = Gauge("steward_cache_entities", "Entities held in memory", ["cache"], registry=registry)
        self._cache_bytes = Gauge("steward_cache_bytes", "Memory of the held entities", ["cache"], registry=registry)
        self._outbox = Gauge(
            "steward_outbox_entries", "Committed batches not yet relayed", ["shard"], registry=registry
        )
        self._caught_up = Gauge(
            "steward_catch_up_seconds", "Last time from opening a shard to the end its log had then", ["shard"],
            registry=registry,
        )  # fmt: skip
        self._snapshot = Gauge("steward_snapshot_timestamp_seconds", "When the last snapshot began", registry=registry)
        self._snapshot_s = Gauge("steward_snapshot_seconds", "How long the last snapshot took", registry=registry)
        self._webhooks = Counter(
            "steward_webhook_deliveries",
            "Attempts to deliver to an endpoint, by result: delivered, failed, given_up, refused (its queue is full)",
            ["endpoint", "result"],
            registry=registry,
        )
        self._outages = Counter("steward_outages", "Failed attempts to reach a service", ["service"], registry=registry)
        self._sync = Histogram(
            "steward_sync_seconds",
            "Synchronous decisions, request to answer",
            ["result"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._ruleset = Gauge(
            "steward_ruleset_info", "Always 1; the rule set in force, by shard", ["shard", "ruleset"], registry=registry
        )
        self._reloads = Counter(
            "steward_rules_reloads", "Changed contents of the rules directory, by result", ["result"], registry=registry
        )
        for result in ("loaded", "refused"):  # there from the start: an alarm on an increase needs the zero
            self._reloads.labels(result)
        build = Gauge(
            "steward_build_info", "Always 1; the label says which version runs", ["version"], registry=registry
        )
        build.labels(__version__).set(1)

    def batch(self, outcome: CountedBatch) -> None:
        """Count one committed micro-batch."""
        effects = outcome.effects
        self._accepted.inc(effects.accepted)
        self._duplicates.inc(len(effects.duplicates))
        self._dead_lettered.inc(effects.dead_lettered)
        self._late.inc(effects.late)
        self._batch.observe(outcome.records)
        self._commit_bytes.observe(len(effects.ops))
        self._stage["decode"].observe(outcome.decode_s)
        self._stage["load"].observe(outcome.load_s)
        self._stage["apply"].observe(outcome.apply_s)
        self._stage["commit"].observe(outcome.commit_s)
        self._stage["total"].observe(outcome.decode_s + outcome.load_s + outcome.apply_s + outcome.commit_s)
        for decision, count in effects.outcomes.items():
            self._decisions.get(decision, self._decisions[_OTHER]).inc(count)
        self._control.inc(effects.control)
        for reason, count in effects.refused.items():
            self._refused.get(reason, self._refused[_OTHER]).inc(count)
        for (rule, mode), count in effects.hits.items():
            self._count_rule(rule, mode, count)
        for rule, count in effects.observed.items():
            self._count_rule(rule, "observer", count)
        self._count_outputs(effects.outputs)
        self._learning.batch(str(outcome.shard), effects.labels, effects.learning)

    def _count_rule(self, rule: str, mode: str, count: int) -> None:
        """Rules come and go with reloads: past the bound, names that were never counted share one series."""
        key = (rule, mode)
        if key not in self._rules and len(self._rules) >= RULE_SERIES_MAX:
            key = (_OTHER, mode)
        if key not in self._rules:
            self._rules[key] = self._hits.labels(*key)
        self._rules[key].inc(count)

    def _count_outputs(self, outputs: Sequence[CountedOutput]) -> None:
        kinds: dict[str, int] = {}
        for output in outputs:
            kinds[output.kind] = kinds.get(output.kind, 0) + 1
            # These two are rare, so that reading their label out of their body is cheaper than carrying it along.
            if output.kind == "dead_letter":
                self._reasons.get(_NAMED.decode(output.data).reason, self._reasons[_OTHER]).inc()
            elif output.kind == "alert":
                self._alerts.get(_NAMED.decode(output.data).kind, self._alerts[_OTHER]).inc()
        for kind, count in kinds.items():
            self._outputs.labels(kind).inc(count)

    def stage(self, stage: str, seconds: float) -> None:
        """Time of one of `STAGES` that `batch` does not know of, such as the relay."""
        self._stage[stage].observe(seconds)

    def lag(self, by_partition: Mapping[int, int]) -> None:
        """Records not yet committed, of the partitions owned now; the others' series go."""
        self._lag.clear()
        for partition, events in by_partition.items():
            self._lag.labels(str(partition)).set(events)

    def caught_up(self, shard: int, records: int, seconds: float) -> None:
        """A shard has processed what was waiting for it when it was opened."""
        self._caught_up.labels(str(shard)).set(seconds)

    def snapshot(self, created_ms: int, seconds: float) -> None:
        """A snapshot was taken."""
        self._snapshot.set(created_ms / 1000)
        self._snapshot_s.set(seconds)

    def fenced(self) -> None:
        """A commit was refused by the stored offset."""
        self._fences.inc()

    def cache(self, name: str, entities: int, memory_bytes: int) -> None:
        """Size of one cache; `name` comes from the code, never from an event."""
        self._cache.labels(name).set(entities)
        self._cache_bytes.labels(name).set(memory_bytes)

    def outbox(self, shard: int, entries: int) -> None:
        """Committed batches that the relay has not delivered yet."""
        self._outbox.labels(str(shard)).set(entries)

    def rulesets(self, by_shard: Mapping[int, str]) -> None:
        """The hash of the rule set in force, of the shards owned now; the others' series go."""
        self._ruleset.clear()
        for shard, ruleset in by_shard.items():
            self._ruleset.labels(str(shard), ruleset).set(1)

    def reload(self, result: str) -> None:
        """A changed rules directory was `loaded` or `refused`."""
        self._reloads.labels(result).inc()

    def webhook(self, endpoint: str, result: str) -> None:
        """A delivery was `delivered`, `failed`, `given_up` or `refused`; `endpoint` comes from the settings."""
        self._webhooks.labels(endpoint, result).inc()

    def outage(self, service: str) -> None:
        """An attempt to reach `redis`, `kafka` or a sink failed."""
        self._outages.labels(service).inc()

    def sync(self, result: str, seconds: float) -> None:
        """A synchronous call was answered: `decided`, `degraded`, `repeated`, `rejected`, `timeout`, `failed`."""
        self._sync.labels(result).observe(seconds)

    def render(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self.registry)
