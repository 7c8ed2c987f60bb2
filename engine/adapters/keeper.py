"""Keeps one server process for as long as its owner lives: run as a script, never imported by the engine.

`python keeper.py COMMAND…` with a pipe on standard input that the owner holds open and never writes to. The command
runs as a child with its own standard input; when the pipe closes, however the owner ended, the child is asked to
stop and, after a while, killed. The first line on standard output is the child's process id. Uses the standard
library only, so that it starts in some 20 ms with `-I -S`.
"""

import os
import select
import signal
import subprocess
import sys

STOP_SECONDS = 8.0
POLL_SECONDS = 0.2


def main(command: list[str]) -> int:
    """Run `command` until it ends or standard input closes; its exit status, negative for a signal."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the owner decides, through the pipe
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        preexec_fn=_defaults,  # noqa: PLW1509 (unsafe beside other threads, and the keeper has none)
    )
    sys.stdout.write(f"{child.pid}\n")
    sys.stdout.flush()
    os.close(sys.stdout.fileno())
    while child.poll() is None:
        readable, _, _ = select.select([0], [], [], POLL_SECONDS)
        if readable and not os.read(0, 1):
            return _stop(child)
    return child.returncode


def _defaults() -> None:
    """Give the child back its signals, and have it end with the keeper where the system can."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _stop(child: "subprocess.Popen[bytes]") -> int:
    child.terminate()
    try:
        return child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) & 0xFF)
