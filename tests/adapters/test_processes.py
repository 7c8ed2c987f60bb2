"""Servers as child processes: they start within a deadline, and end with their owner however it ends."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.adapters.embedded import EmbeddedKafka, RedisServer, embedded_redis_binary, installed_redis_binary
from engine.adapters.processes import ServerFailed, ServerProcess, free_port

GONE_SECONDS = 20.0
OWNER = """
import sys, time
from pathlib import Path
from engine.adapters.embedded import RedisServer
server = RedisServer(directory=Path(sys.argv[1]) if sys.argv[1] else None).start()
print(server.pid, server.directory, flush=True)
time.sleep(600)
"""


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return (
        Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        if Path("/proc/self").exists()
        else True
    )


def _gone(pid: int) -> bool:
    deadline = time.monotonic() + GONE_SECONDS
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not _alive(pid)


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_server_ends_with_its_owner(tmp_path: Path, number: signal.Signals, given: bool) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path) if given else ""],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        pid, directory = owner.stdout.readline().split()
        server = int(pid)
        assert _alive(server)
        owner.send_signal(number)
        owner.wait(GONE_SECONDS)
    assert _gone(server)
    deadline = time.monotonic() + GONE_SECONDS
    while Path(directory).exists() and not given and time.monotonic() < deadline:
        time.sleep(0.02)
    assert Path(directory).exists() == given  # a temporary one goes too


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("kind", ["redis", "embedded"])
def test_closing_leaves_nothing_behind(kind: str, tcp: bool) -> None:
    binary = installed_redis_binary() if kind == "redis" else embedded_redis_binary()
    with RedisServer(binary, tcp=tcp) as server:
        assert server.pid == 0
        pid, directory = server.start().pid, server.directory
        assert _alive(pid)
        assert server.url.startswith("redis://127.0.0.1:" if tcp else "unix:///")
        with pytest.raises(RuntimeError, match="redis is running"):
            server.start()
    assert not _alive(pid)
    assert not directory.exists()
    assert (server.pid, server.alive()) == (0, False)
    server.close()


def test_a_given_directory_and_its_data_stay(tmp_path: Path) -> None:
    with RedisServer(directory=tmp_path / "data", append_only=True) as server:
        first = server.start().pid
        server.kill()
        assert not _alive(first)
        assert server.start().pid != first
    assert (tmp_path / "data" / "appendonlydir").is_dir()


def test_a_stopped_server_is_ended_all_the_same() -> None:
    with RedisServer() as server:
        pid = server.start().pid
        server.signal(signal.SIGSTOP)
        server.kill()
        assert not _alive(pid)


def test_the_embedded_broker_answers_and_ends() -> None:
    with EmbeddedKafka() as broker:
        pid = broker.start().pid
        with socket.create_connection(("127.0.0.1", broker.port), 5):
            pass
        assert broker.url == f"kafka://{broker.bootstrap}"
    assert not _alive(pid)


def test_a_server_that_ends_at_once_shows_its_last_words() -> None:
    with ServerProcess("broken") as server, pytest.raises(ServerFailed, match=r"(?s)ended at once.*no such colour"):
        server.launch([sys.executable, "-c", "raise SystemExit('no such colour')"], lambda: False, 20.0)
    with ServerProcess("missing") as server, pytest.raises(ServerFailed, match="/nowhere/at-all"):
        server.launch(["/nowhere/at-all"], lambda: False, 20.0)


def test_a_server_that_never_answers_is_stopped_at_its_deadline() -> None:
    with ServerProcess("mute") as server:
        with pytest.raises(ServerFailed, match=r"did not answer within 0\.3 s"):
            server.launch([sys.executable, "-c", "import time; time.sleep(600)"], lambda: False, 0.3)
        assert not server.alive()


def test_a_port_that_is_taken_is_reported_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = iter([taken.getsockname()[1], free_port()])
        monkeypatch.setattr("engine.adapters.embedded.free_port", lambda: next(ports))
        with RedisServer(tcp=True) as server:
            assert server.start().port != taken.getsockname()[1]


def test_a_path_too_long_for_a_socket_takes_a_port(tmp_path: Path) -> None:
    with RedisServer(directory=tmp_path / ("long" * 30)) as server:
        assert server.start().url == f"redis://127.0.0.1:{server.port}/0"
