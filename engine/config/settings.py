"""Every setting of Steward: its default, what it means, its unit and its bounds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.config import kinds
from engine.config.kinds import ApiKey, Kind, duration, integer, number, size
from engine.domain import chargebacks
from engine.domain.webhooks import Endpoint


@dataclass(frozen=True, slots=True)
class Spec:
    """What is known of one setting besides its value."""

    kind: Kind
    doc: str
    env: str


def _setting(default: str, kind: Kind, doc: str, env: str = "") -> Any:
    """A field whose default is written as a person would write it, and read by its own kind."""
    return field(default=kind.parse(default), metadata={"spec": Spec(kind, doc, env)})


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """Where the state lives."""

    url: str = _setting("embedded", kinds.REDIS, "state store; embedded starts one of its own", "STEWARD_REDIS")
    prefix: str = _setting("steward", kinds.NAME, "first part of every key")
    embedded_directory: Path | None = _setting(
        "", kinds.PATH, "where the embedded store keeps its data; none: a temporary folder"
    )
    connect_timeout_ms: int = _setting("2s", duration("10ms", "5m"), "how long a connection may take")
    command_timeout_ms: int = _setting("5s", duration("10ms", "5m"), "how long a command may take, a commit included")
    backoff_max_ms: int = _setting(
        "5s", duration("10ms", "5m"), "longest wait between attempts while the store or the broker is away"
    )
    answer_ttl_ms: int = _setting(
        "24h", duration("1m", "90d"), "how long the answer to a synchronous call is kept for repeats"
    )


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """Where events come from and outputs go."""

    url: str = _setting(
        "embedded", kinds.KAFKA, "broker; embedded starts one of its own; none: no log (serve only)", "STEWARD_KAFKA"
    )
    group: str = _setting("steward", kinds.NAME, "consumer group of the workers")
    instance_id: str = _setting(
        "auto", kinds.NAME_OR_NONE, "name of this member that survives its restarts; auto: by machine; none: a new one"
    )
    partitions: int = _setting(
        "1", integer(1, 10_000), "partitions of topics that Steward creates; fixed once state exists"
    )
    replication: int = _setting("1", integer(1, 10), "replicas of topics that Steward creates")
    session_timeout_ms: int = _setting("6s", duration("1s", "10m"), "a member unheard of for so long is taken for dead")
    heartbeat_ms: int = _setting(
        "250ms",
        duration("100ms", "1m"),
        "time between two signs of life, and so to notice a rebalance; at most a third of the session timeout",
    )
    rebalance_timeout_ms: int = _setting(
        "10s", duration("1s", "10m"), "how long members may take to join when the group changes"
    )
    request_timeout_ms: int = _setting("10s", duration("1s", "10m"), "how long a request to the broker may take")
    transactions: str = _setting(
        "auto", kinds.choice("auto", "on", "off"), "outputs in transactions, each once; auto: where the broker can"
    )
    fetch_wait_ms: int = _setting(
        "200ms", duration("1ms", "10s"), "how long the broker may hold a fetch open while nothing is new"
    )
    fetch_max_bytes: int = _setting("4MiB", size("64KiB", "256MiB"), "most bytes of one fetch")


@dataclass(frozen=True, slots=True)
class TopicSettings:
    """Names of the topics."""

    events: str = _setting("payments.events", kinds.NAME, "input, keyed by customer")
    decisions: str = _setting("steward.decisions", kinds.NAME, "a decision for each event that carries one")
    alerts: str = _setting("steward.alerts", kinds.NAME, "alerts for analysts and operations")
    rewards: str = _setting("steward.rewards", kinds.NAME, "ledger entries")
    offers: str = _setting("steward.offers", kinds.NAME, "offers issued and withdrawn")
    lifecycle: str = _setting("steward.lifecycle", kinds.NAME, "changes of lifecycle, tier, activity and membership")
    dead_letters: str = _setting("steward.dead-letters", kinds.NAME, "records that were refused, with the reason")
    relay: str = _setting("steward.relay", kinds.NAME, "how far the outputs of each shard have come; compacted")
    create: bool = _setting("true", kinds.SWITCH, "create topics that are not there")


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """Size of a micro-batch, which is one commit. No outcome depends on it."""

    events_max: int = _setting("500", integer(1, 20_000), "most events of a batch")
    bytes_max: int = _setting("1MiB", size("64KiB", "64MiB"), "most bytes of input of a batch")
    commit_bytes_max: int = _setting(
        "16MiB", size("64KiB", "256MiB"), "most bytes of one commit; a batch whose effects are larger is divided"
    )
    outbox_entries_max: int = _setting(
        "64", integer(1, 10_000), "committed batches not yet relayed before intake pauses"
    )


@dataclass(frozen=True, slots=True)
class RulesSettings:
    """The rules directory."""

    directory: Path | None = _setting("", kinds.PATH, "rules directory; none: the shipped rules", "STEWARD_RULES")
    reload_ms: int = _setting(
        "2s", duration("0ms", "1h"), "time between two looks at the rules directory while it runs; 0: none"
    )


@dataclass(frozen=True, slots=True)
class MoneySettings:
    """Currencies and rates."""

    base_currency: str = _setting("EUR", kinds.CURRENCY, "currency of amount_base", "STEWARD_BASE_CURRENCY")
    rates: Path | None = _setting(
        "", kinds.PATH, "file of exchange rates; none: only the base currency has amount_base", "STEWARD_RATES"
    )


@dataclass(frozen=True, slots=True)
class StateSettings:
    """Horizons of event time, and how much is held in memory."""

    dedupe_horizon_ms: int = _setting(
        "7d", duration("1h", "90d"), "event time during which a repeated event id has no effect"
    )
    request_horizon_ms: int = _setting(
        "90d", duration("1d", "400d"), "event time during which a payment's request is remembered"
    )
    allowed_lateness_ms: int = _setting(
        "1h", duration("0ms", "7d"), "how far out of order an event may be before it is marked late"
    )
    clock_jump_ms: int = _setting(
        "8d", duration("1h", "400d"), "how far ahead of a shard's clock one customer's event is believed"
    )
    customer_jump_ms: int = _setting(
        "100d", duration("1h", "4000d"), "how far ahead of it an event is believed for its own customer alone"
    )
    customer_delay_ms: int = _setting(
        "1100d", duration("1h", "4000d"), "how far behind it an event is believed for its own customer"
    )
    tick_ms: int = _setting(
        "30s", duration("0ms", "1h"), "time between two ticks of a quiet shard while timers wait; 0: none"
    )
    cache_entities_max: int = _setting(
        "1000000", integer(1_000, 100_000_000), "entities of one feature group held in memory"
    )
    cache_customers_max: int = _setting("1000000", integer(1_000, 100_000_000), "customers held in memory")


@dataclass(frozen=True, slots=True)
class SnapshotSettings:
    """Copies of the state, to rebuild a lost store from; see docs/operations.md."""

    directory: Path | None = _setting("", kinds.PATH, "where snapshots of the state are kept; none: none are taken")
    every_ms: int = _setting(
        "1h", duration("0ms", "30d"), "time between two snapshots while a worker or serve runs; 0: only when asked for"
    )
    keep: int = _setting("3", integer(1, 1_000), "snapshots kept; older ones are deleted after a new one")
    detector_events: int = _setting(
        "4096", integer(1, 1_000_000), "events the anomaly detector learns between two copies of it in the state"
    )


@dataclass(frozen=True, slots=True)
class RiskSettings:
    """Scores and labels."""

    anomaly_weight: float = _setting("0.2", number(0, 1), "how much a certain anomaly adds to the blended score")
    fraud_weight: float = _setting("0.6", number(0, 1), "how much a certain fraud adds to the blended score")
    label_maturity_ms: int = _setting(
        "8d",
        duration("1h", "400d"),
        "a payment without a label by then counts as legitimate",
        "STEWARD_LABEL_MATURITY",
    )
    label_horizon_ms: int = _setting(
        "35d", duration("1d", "400d"), "a label that comes later than this after its payment has no effect"
    )
    fraud_reason_codes: frozenset[str] = _setting(
        ",".join(sorted(chargebacks.DEFAULT)),
        kinds.CODES,
        "reasons of a chargeback that mean fraud; others teach nothing",
    )
    control_share: float = _setting(
        "0", number(0, 0.2), "share of would-be declines that goes through, so that models learn what declines hold"
    )
    control_amount_max: float = _setting(
        "50", number(0, 1e9), "greatest amount that goes through as control, major units of the base currency"
    )
    control_salt: str = _setting("steward", kinds.NAME, "of the draw of the control sample; tell it nobody")


@dataclass(frozen=True, slots=True)
class RewardSettings:
    """Money given away."""

    refund_window_ms: int = _setting(
        "14d", duration("0ms", "400d"), "event time after settlement before points become active"
    )


@dataclass(frozen=True, slots=True)
class CampaignSettings:
    """What campaigns are compared with."""

    holdout: float = _setting("0", number(0, 0.5), "share of customers who get no campaign at all, to compare with")
    salt: str = _setting("steward", kinds.NAME, "of the draw of holdouts and choices; another one draws others")


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """The HTTP API."""

    address: str = _setting("127.0.0.1:8080", kinds.ADDRESS, "where `steward serve` listens", "STEWARD_HTTP")
    api_keys: tuple[ApiKey, ...] = _setting(
        "", kinds.API_KEYS, "keys and their roles; empty: no key is asked for", "STEWARD_API_KEYS"
    )
    deadline_ms: int = _setting("500ms", duration("10ms", "1m"), "longest a synchronous call waits for its decision")
    degraded: bool = _setting(
        "true", kinds.SWITCH, "answer without the state where it does not answer in time; false: 504 then"
    )
    queued_max: int = _setting(
        "4000", integer(1, 1_000_000), "events that may wait in this process while it has no log; more get a 503"
    )
    body_bytes_max: int = _setting("8MiB", size("64KiB", "1GiB"), "largest request body")
    backtest_directory: Path | None = _setting(
        "", kinds.PATH, "where POST /v1/rules/backtest finds histories by name; none: only events in the request"
    )
    backtest_events_max: int = _setting(
        "200000", integer(1, 100_000_000), "most events of a history that a backtest over HTTP reads"
    )
    backtest_ms: int = _setting("2m", duration("1s", "1h"), "longest a backtest over HTTP may run")


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """Where outputs are posted, besides Kafka; see docs/webhooks.md."""

    endpoints: tuple[Endpoint, ...] = _setting("", kinds.ENDPOINTS, "receivers, each a table [webhooks.NAME]")
    timeout_ms: int = _setting("15s", duration("100ms", "1m"), "how long an attempt to deliver may take")
    retry_first_ms: int = _setting(
        "5s", duration("100ms", "1h"), "wait after a first failed attempt; four times as long after each further one"
    )
    retry_max_ms: int = _setting("6h", duration("100ms", "1d"), "longest wait between two attempts")
    give_up_ms: int = _setting("3d", duration("1s", "30d"), "age at which a delivery that fails is given up")
    queue_max: int = _setting(
        "2000", integer(1, 100_000), "deliveries that may wait for one endpoint in one shard; more are dead letters"
    )


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """The life of a worker process."""

    metrics_address: str = _setting("127.0.0.1:9464", kinds.ADDRESS, "where a worker shows /metrics")
    metrics: bool = _setting("true", kinds.SWITCH, "show /metrics")
    drain_ms: int = _setting(
        "10s", duration("100ms", "10m"), "longest a stopping worker may take to finish what it has begun"
    )


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What is written to standard error."""

    level: str = _setting(
        "info", kinds.choice("debug", "info", "warning", "error"), "least serious message that is written"
    )
    format: str = _setting(
        "auto", kinds.choice("auto", "console", "json"), "auto: console on a terminal, JSON otherwise"
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, and where each came from.

    Attributes:
        origins: `default`, `environment NAME` or `file:line`, by setting name such as `batch.events_max`.
        warnings: one line each on what is legal but probably not meant.
    """

    redis: RedisSettings = field(default_factory=RedisSettings)
    kafka: KafkaSettings = field(default_factory=KafkaSettings)
    topics: TopicSettings = field(default_factory=TopicSettings)
    batch: BatchSettings = field(default_factory=BatchSettings)
    rules: RulesSettings = field(default_factory=RulesSettings)
    money: MoneySettings = field(default_factory=MoneySettings)
    state: StateSettings = field(default_factory=StateSettings)
    snapshots: SnapshotSettings = field(default_factory=SnapshotSettings)
    risk: RiskSettings = field(default_factory=RiskSettings)
    rewards: RewardSettings = field(default_factory=RewardSettings)
    campaigns: CampaignSettings = field(default_factory=CampaignSettings)
    http: HttpSettings = field(default_factory=HttpSettings)
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)
    worker: WorkerSettings = field(default_factory=WorkerSettings)
    log: LogSettings = field(default_factory=LogSettings)
    origins: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    warnings: tuple[str, ...] = field(default=(), compare=False, repr=False)
