"""Keeps one server process for as long as its owner lives: run as a script, never imported by the engine.

`python keeper.py DIRECTORY COMMAND…` with a pipe on standard input that the owner holds open. The command runs as a
child with its own standard input. A byte in the pipe asks the keeper to stop the child; where the pipe closes without
one, the owner has died: the child is stopped too, and DIRECTORY, if not empty, is a temporary one that nobody else
will remove. A child that does not stop is killed. The first line on standard output is the child's process id. Uses
the standard library only, so that it starts in some 20 ms with `-I -S`.
"""

import os
import select
import shutil
import signal
import subprocess
import sys

STOP_SECONDS = 8.0
POLL_SECONDS = 0.2


def main(directory: str, command: list[str]) -> int:
    """Run `command` until it ends or the owner says so or dies; its exit status, negative for a signal."""
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
        if readable:
            died = not os.read(0, 1)
            status = _stop(child)
            if died and directory:
                shutil.rmtree(directory, ignore_errors=True)
            return status
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
    sys.exit(main(sys.argv[1], sys.argv[2:]) & 0xFF)
