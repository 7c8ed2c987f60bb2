"""The parts of a shard over memory ports, for tests that take them one by one."""

from collections.abc import Callable

from engine.adapters.clocks import ManualClock
from engine.adapters.memory_log import MemoryLog, MemoryRecord
from engine.adapters.memory_sink import MemorySink
from engine.adapters.memory_store import MemoryStore
from engine.ports.store import Commit, Head, StoreUnavailable
from engine.service.crew import Crew
from tests.support.counting import CountingPartition


class FlakyStore(MemoryStore):
    """A memory store whose next calls can be made to fail, before or after they took effect."""

    def __init__(self) -> None:
        super().__init__()
        self.lost_requests = 0
        self.lost_answers = 0
        self.before_commit: Callable[[], None] = lambda: None
        self.opened = 0
        self.commits: list[Commit] = []

    async def open(self, shard: int) -> Head:
        self.opened += 1
        return await super().open(shard)

    async def commit(self, commit: Commit) -> None:
        self.before_commit()
        if self.lost_requests:
            self.lost_requests -= 1
            raise StoreUnavailable("the request was lost")
        await super().commit(commit)
        self.commits.append(commit)
        if self.lost_answers:
            self.lost_answers -= 1
            raise StoreUnavailable("the answer was lost")


class Parts:
    """One crew and what stands behind it."""

    def __init__(self, store: FlakyStore | None = None, *, partitions: int = 1) -> None:
        self.store = store or FlakyStore()
        self.sink = MemorySink()
        self.log = MemoryLog()
        self.clock = ManualClock()
        self.fatal: list[BaseException] = []
        self.machines: list[CountingPartition] = []
        self.crash: Callable[[], None] = lambda: None
        self.crew = Crew(
            new_partition=self._machine,
            store=self.store,
            log=self.log,
            sink=self.sink,
            clock=self.clock,
            random=lambda: 0.5,
            on_fatal=self.fatal.append,
            partitions=partitions,
            idle_acknowledge_s=0.001,
        )

    def _crash(self) -> None:
        self.crash()

    def _machine(self, number: int) -> CountingPartition:
        self.machines.append(CountingPartition(number, self._crash))
        return self.machines[-1]


def event(number: int, customer: str = "c") -> bytes:
    return b'{"event_id":"e%d","customer_id":"%s"}' % (number, customer.encode())


def records(first: int, count: int) -> list[MemoryRecord]:
    return [MemoryRecord(n, event(n)) for n in range(first, first + count)]
