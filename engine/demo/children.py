"""Steward's own commands as child processes, kept and ended like the embedded servers."""

import os
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from engine.adapters.processes import ServerProcess, free_port

PACKAGE_PARENT: Final = Path(__file__).resolve().parents[2]
PROBE_SECONDS: Final = 1.0


class StewardProcess(ServerProcess):
    """`steward COMMAND` as a child process of this one; it ends when this one does, in whatever way.

    Args:
        name: of the process and its log.
        arguments: the command line after `steward`.
        environment: `STEWARD_*` settings; they are all it sees of them, besides a settings file that is named.
        ready: whether it answers.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        ready: Callable[[], bool],
        directory: Path | None = None,
    ) -> None:
        super().__init__(name, directory)
        self._arguments = arguments
        self._environment = environment
        self._ready = ready

    def start(self, deadline_seconds: float) -> Self:
        """Start and wait until it is ready. Raises `ServerFailed`."""
        path = os.pathsep.join(filter(None, (str(PACKAGE_PARENT), os.environ.get("PYTHONPATH", ""))))
        environment = {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **self._environment}
        command = [sys.executable, "-m", "engine.cli", *self._arguments]
        self.launch(command, self._ready, deadline_seconds, environment)
        return self


def answers(url: str) -> bool:
    """Whether a GET of `url` gives a 200 now."""
    try:
        with urllib.request.urlopen(url, timeout=PROBE_SECONDS) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError, ValueError):
        return False


def port_near(preferred: int, tries: int = 20) -> int:
    """A free loopback port: the preferred one, one of those after it, or any."""
    for port in range(preferred, preferred + tries):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    return free_port()
