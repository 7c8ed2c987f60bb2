"""The demo as a user runs it: it ends by itself or when told to, and leaves nothing behind."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.demo import screen
from engine.demo.children import port_near
from engine.demo.tally import Tally, percentile

END_SECONDS = 240.0


@contextmanager
def demo(directory: Path, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """`steward demo` with `directory` as the place for temporary files."""
    environment = {**os.environ, "TMPDIR": str(directory)}
    command = [sys.executable, "-m", "engine.cli", "demo", *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def processes_of(directory: Path) -> list[str]:
    """Command lines of processes that were started with `directory` for temporary files."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and str(directory).encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:  # it has just ended, or is not ours to read
            continue
    return found


@pytest.fixture
def place(tmp_path: Path) -> Path:
    directory = tmp_path / "d"
    directory.mkdir()
    return directory


def test_it_ends_by_itself_after_so_many_events_with_a_taken_port(place):
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 8080))
            taken.listen()
        except OSError:
            pass  # somebody else has it: just as good
        with demo(place, "--events", "1500", "--rate", "1500") as process:
            output, _ = process.communicate(timeout=END_SECONDS)
    assert process.returncode == 0, output
    assert "http://127.0.0.1:8080 " not in output
    assert re.search(r"events sent\s+│ 1,500", output)
    assert int(re.findall(r"decisions (\d+)", output)[-1]) > 100
    assert processes_of(place) == []
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(("number", "after"), [(signal.SIGTERM, "starting the worker"), (signal.SIGINT, "events ")])
def test_a_signal_ends_it_cleanly(place, number, after):
    with demo(place) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if after in line:
                break
        process.send_signal(number)
        rest, _ = process.communicate(timeout=END_SECONDS)
    assert process.returncode == 0, rest
    assert "Traceback" not in rest
    assert processes_of(place) == []
    assert list(place.iterdir()) == []


def test_the_tally_counts_what_was_caught_and_what_was_missed():
    tally = Tally()
    tally.label("p1,fraud,card_testing\n")
    tally.label("p2,fraud,bust_out\n")
    tally.label("p3,legitimate,\n")
    for number, outcome in ((1, "decline"), (2, "approve"), (3, "review"), (4, "approve")):
        tally.leaves(f"e{number}", "payment.requested", "2026-01-01T00:00:00.000Z")
        body = b'{"event_id":"e%d","payment_id":"p%d","decision":"%b"}' % (number, number, outcome.encode())
        tally.arrived("decision", body)
    tally.leaves("e5", "account.login", "2026-01-01T00:00:01.000Z")
    assert (tally.caught, tally.missed, tally.false_alarms) == (1, 1, 1)
    assert (tally.sent, tally.decisions, tally.waiting) == (5, 4, {})
    assert "fraud caught 1 of 2" in screen.line(tally)


def test_percentiles_and_ports():
    assert percentile([], 0.5) is None
    assert [percentile([3.0, 1.0, 2.0], share) for share in (0.0, 0.5, 0.99)] == [1.0, 2.0, 3.0]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert port_near(port) != port
