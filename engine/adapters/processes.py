"""Servers run as child processes: started with a deadline, stopped by process id, never left behind.

A small keeper process (`keeper.py`) stands between: it ends the server when this process ends in any way, a SIGKILL
included, for the pipe between them closes then, and removes the server's temporary directory. The server gets its own
session, so that Ctrl-C in a terminal reaches only the engine, which stops its servers after its own work is done.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

KEEPER: Final = Path(__file__).with_name("keeper.py")
POLL_SECONDS: Final = 0.02
STOP_SECONDS: Final = 12.0  # more than the keeper gives the server
LOG_TAIL_BYTES: Final = 4_000


class ServerFailed(Exception):
    """A server ended, or did not answer, before its deadline; the message ends with the last of its output."""


def free_port() -> int:
    """A TCP port on loopback that was free a moment ago; another process may still take it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ServerProcess:
    """One server. `ready` says whether it answers; `directory` is for its log and its data.

    The directory is made, and removed by `close`, unless it is given. Usable as a context manager.
    """

    def __init__(self, name: str, directory: Path | None = None) -> None:
        self.name = name
        self._made = tempfile.TemporaryDirectory(prefix=f"steward-{name}-") if directory is None else None
        self.directory = directory or Path(self._made.name if self._made else ".")
        self._keeper: subprocess.Popen[bytes] | None = None
        self._pid = 0

    @property
    def pid(self) -> int:
        """Process id of the server, 0 where it does not run."""
        return self._pid if self.alive() else 0

    def alive(self) -> bool:
        """Whether the server has not ended."""
        return self._keeper is not None and self._keeper.poll() is None

    @property
    def log(self) -> Path:
        """The file with the server's output."""
        return self.directory / f"{self.name}.log"

    def launch(
        self,
        command: Sequence[str | Path],
        ready: Callable[[], bool],
        deadline_seconds: float,
        environment: dict[str, str] | None = None,
    ) -> None:
        """Start the server and wait until `ready`. Raises `ServerFailed`; nothing runs then."""
        if self.alive():
            raise RuntimeError(f"{self.name} is running")
        self.directory.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._keeper = self._spawn([str(part) for part in command], log, environment)
        assert self._keeper.stdout is not None
        line = self._keeper.stdout.readline()
        self._keeper.stdout.close()
        self._pid = int(line or 0)
        deadline = time.monotonic() + deadline_seconds
        while not ready():
            if not self.alive():
                raise ServerFailed(f"{self.name} ended at once:\n{self._log_tail()}")
            if time.monotonic() > deadline:
                self.stop()
                raise ServerFailed(f"{self.name} did not answer within {deadline_seconds:g} s:\n{self._log_tail()}")
            time.sleep(POLL_SECONDS)

    def _spawn(
        self, command: list[str], log: IO[bytes], environment: dict[str, str] | None
    ) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(KEEPER), self._made.name if self._made else "", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=self.directory,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )

    def stop(self) -> None:
        """Ask the server to end and wait for it; after a while it is killed. Keeps its directory."""
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            return
        assert keeper.stdin is not None
        with suppress(BrokenPipeError):  # where the server, and so the keeper, has ended by itself
            keeper.stdin.write(b"\n")
            keeper.stdin.flush()
        with suppress(BrokenPipeError):
            keeper.stdin.close()
        try:
            keeper.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:  # only where the keeper itself hangs
            os.kill(self._pid, signal.SIGKILL)
            keeper.kill()
            keeper.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server itself, such as SIGKILL, SIGSTOP or SIGCONT."""
        if self.alive():
            os.kill(self._pid, number)

    def kill(self) -> None:
        """End the server as a power cut would, and wait until it is gone. Keeps its directory."""
        self.signal(signal.SIGKILL)
        self.stop()

    def close(self) -> None:
        """Stop the server and remove the directory that was made for it."""
        self.stop()
        if self._made is not None:
            self._made.cleanup()
            self._made = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _log_tail(self) -> str:
        content = self.log.read_bytes() if self.log.exists() else b""
        return content[-LOG_TAIL_BYTES:].decode(errors="replace").strip()
