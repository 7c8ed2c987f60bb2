"""How the engine talks to Kafka: one object for the consumer, the sink and the topics."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class KafkaOptions:
    """Addresses, names and times. Times are in seconds unless the name says milliseconds.

    Attributes:
        bootstrap: `host:port` of the brokers to ask first, separated by commas.
        group: consumer group; also the Faust app's id.
        events: the input topic.
        outputs: output topic by kind of output.
        instance_id: static group membership: a worker that comes back under the same id within the session timeout
            gets its partitions back at once, without waiting for its dead self to be noticed. `None` for none.
        partitions, replication: of topics that have to be created.
        create: create topics that are missing; a broker's own auto-creation is never relied on.
        session_timeout_s: after this long without a heartbeat a member is taken for dead.
        heartbeat_s: time between heartbeats. A member learns of a rebalance with one, and the others wait for it.
        rebalance_timeout_s: how long a rebalance waits for members; the embedded broker waits all of it, every time.
        request_timeout_s: how long to wait for an answer; more than the session timeout.
        fetch_wait_ms: how long the broker may hold a fetch open. Apache Kafka answers as soon as there is data, so a
            long wait costs no latency there; the embedded broker does not, so there it is the latency.
        fetch_max_bytes: most bytes of one partition in one fetch.
        poll_records_max: records handed over at once, over all partitions.
        commit_every_s: how often the group's offset is written, for lag monitoring; nothing reads it back.
        revoke_s: how long a revoked partition may take to finish its batch and its outputs.
        drain_s: the same for a worker that stops.
        transactions: `on`, `off` or `auto`: whether outputs go out in transactions; auto: where the broker has them.
        relay: the compacted topic in which a transaction says how far a shard's outputs have come.
        idempotent: without transactions, use an idempotent producer; a broker that cannot is found out and used
            without.
        security: further arguments of aiokafka's clients, such as `security_protocol`.
    """

    bootstrap: str
    group: str
    events: str
    outputs: Mapping[str, str]
    instance_id: str | None = None
    partitions: int = 1
    replication: int = 1
    create: bool = True
    session_timeout_s: float = 6.0
    heartbeat_s: float = 0.25
    rebalance_timeout_s: float = 10.0
    request_timeout_s: float = 15.0
    fetch_wait_ms: int = 200
    fetch_max_bytes: int = 1 << 20
    poll_records_max: int = 2_000
    commit_every_s: float = 3.0
    revoke_s: float = 4.0
    drain_s: float = 7.0
    transactions: str = "auto"
    relay: str = "steward.relay"
    idempotent: bool = True
    security: Mapping[str, Any] = field(default_factory=dict)

    @property
    def client(self) -> dict[str, Any]:
        """Arguments that every aiokafka client takes."""
        return {
            "bootstrap_servers": self.bootstrap,
            "request_timeout_ms": int(self.request_timeout_s * 1000),
            **self.security,
        }
