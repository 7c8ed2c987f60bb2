"""A registry of workers in memory: the shipped fake of `engine.ports.workers.WorkerRegistry`."""

from engine.ports.workers import Worker


class MemoryWorkers:
    """Implements `WorkerRegistry`; nothing expires.

    Attributes:
        held: by name.
    """

    def __init__(self) -> None:
        self.held: dict[str, Worker] = {}

    async def sign_in(self, worker: Worker) -> None:
        """See `WorkerRegistry.sign_in`."""
        self.held[worker.worker] = worker

    async def sign_out(self, name: str) -> None:
        """See `WorkerRegistry.sign_out`."""
        self.held.pop(name, None)

    async def workers(self) -> list[Worker]:
        """See `WorkerRegistry.workers`."""
        return [self.held[name] for name in sorted(self.held)]
