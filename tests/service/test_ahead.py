"""Running ahead: same items, same failures, a bounded lead, no thread left behind."""

import threading
import time
from collections.abc import Iterator

import pytest

from engine.service.ahead import ahead


def threads() -> int:
    return sum(thread.name == "ahead" for thread in threading.enumerate())


def test_items_come_in_order() -> None:
    assert list(ahead(range(1_000))) == list(range(1_000))
    assert list(ahead([])) == []
    assert threads() == 0


def test_a_failure_comes_where_it_happened() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("broken")

    seen = []
    with pytest.raises(ValueError, match="broken"):
        for item in ahead(items()):
            seen.append(item)
    assert seen == [1, 2]
    assert threads() == 0


def test_it_runs_only_so_far_ahead() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for item in range(100):
            made.append(item)
            yield item

    running = ahead(items(), depth=3)
    assert next(running) == 0
    deadline = time.monotonic() + 5
    while len(made) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(made) == 5  # one taken, three waiting, one in hand
    running.close()
    assert threads() == 0
