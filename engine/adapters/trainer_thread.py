"""Training in a thread of its own: one for the process, whatever number of shards hand work in.

The kernels let go of the interpreter's lock, so shards go on scoring while one trains. Jobs are done in the order in
which they were handed in. They are pure, so that the thread decides when the work is done and nothing else.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class ThreadTrainer:
    """A `engine.domain.trainer.Trainer` with one background thread, started by the first job."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="steward-trainer")

    def submit(self, job: Callable[[], T]) -> Future[T]:
        """Hand in a pure function of immutable data; `result()` of what is returned waits, and raises as it did."""
        return self._pool.submit(job)

    def close(self) -> None:
        """Drop jobs that have not begun and wait for the one that has; nothing is lost, a restart does them again."""
        self._pool.shutdown(wait=True, cancel_futures=True)
