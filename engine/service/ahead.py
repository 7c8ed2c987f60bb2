"""Run an iterator ahead of whoever consumes it, in a thread of its own."""

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeVar, cast

T = TypeVar("T")

DEPTH: Final = 2
"""Items made ahead: one in hand and one waiting keep both threads busy; more would only hold memory."""

_END: Final = object()


class _Failure:
    def __init__(self, error: BaseException) -> None:
        self.error = error


def ahead(items: Iterable[T], depth: int = DEPTH) -> Iterator[T]:
    """Yield `items` in order, at most `depth` of them made before they are asked for.

    Worth it where making an item spends its time outside the interpreter lock (files, compiled kernels). What the
    iterator raises is raised here, in its place. The thread ends with the items, or soon after the consumer stops.
    """
    made: queue.Queue[Any] = queue.Queue(depth)
    stopped = threading.Event()

    def put(item: object) -> bool:
        while not stopped.is_set():
            try:
                made.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def run() -> None:
        try:
            for item in items:
                if not put(item):
                    return
            put(_END)
        except BaseException as error:  # whatever it is belongs to the consumer
            put(_Failure(error))

    thread = threading.Thread(target=run, name="ahead", daemon=True)
    thread.start()
    try:
        while (item := made.get()) is not _END:
            if isinstance(item, _Failure):
                raise item.error
            yield cast(T, item)
    finally:
        stopped.set()
        thread.join()
