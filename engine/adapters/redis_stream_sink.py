"""Outputs to Redis streams: `prefix:out:KIND`, CloudEvents, for consumers where there is no Kafka.

`XREAD` follows them. A stream is capped: what nobody read in time is gone from it, though not from the state.
"""

from collections.abc import Sequence
from typing import Final

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError

from engine.adapters.cloudevents import cloud_event
from engine.adapters.redis_client import CLUSTER_SCHEMES, RedisOptions, without_secrets
from engine.ports.sink import Sink, SinkOutput, SinkUnavailable

LENGTH_MAX: Final = 100_000
"""Entries kept of each stream, more or less: some 100 MB of decisions, hours of an ordinary day."""

FIELD: Final = b"event"


class RedisStreamSink(Sink):
    """`engine.ports.sink.Sink`: one `XADD` an output, one round trip a call.

    A stream entry has one field, `event`, that holds the CloudEvent. Its `id` is for dropping repeats, which a lost
    answer of Redis can cause.
    """

    def __init__(
        self, url: str, *, prefix: str, options: RedisOptions | None = None, length_max: int = LENGTH_MAX
    ) -> None:
        """`url` and `prefix` as for `RedisStore`."""
        options = options or RedisOptions()
        self._where = without_secrets(url)
        self._prefix = prefix
        self._length_max = length_max
        kind = RedisCluster if url.partition("://")[0] in CLUSTER_SCHEMES else Redis
        self._redis: Redis | RedisCluster = kind.from_url(
            url.replace("-cluster", "", 1) if kind is RedisCluster else url,
            protocol=2,
            retry=Retry(NoBackoff(), 0),
            socket_connect_timeout=options.connect_timeout_seconds,
            socket_timeout=options.reply_timeout_seconds,
        )

    def stream(self, kind: str) -> str:
        """The key of the stream of one kind of output, as in `steward:out:alert`."""
        return f"{self._prefix}:out:{kind}"

    async def send(self, shard: int, first: int, outputs: Sequence[SinkOutput]) -> None:
        """See `Sink.send`."""
        try:
            pipeline = self._redis.pipeline(transaction=False)
            for output in outputs:
                pipeline.execute_command(
                    "XADD", self.stream(output.kind), "MAXLEN", "~", self._length_max, "*", FIELD, cloud_event(output)
                )
            await pipeline.execute()
        except (RedisError, RedisClusterException, OSError, TimeoutError) as error:
            raise SinkUnavailable(f"Redis at {self._where}: {error}") from error

    async def close(self) -> None:
        """Close every connection."""
        await self._redis.aclose()
