"""Workers forked from one process that has compiled and loaded everything: a life begins in tenths of a second.

As a command, `python -m load_tests.faults.nursery` reads a JSON line for each worker from standard input and answers
with its process id. The worker is what `steward worker` is, in an environment and with faults of its own. The exit code
goes to a file beside its log. When standard input closes, every worker is killed.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

ROOT: Final = Path(__file__).resolve().parents[2]
REAP_EVERY_S: Final = 0.01


class Life:
    """One worker, as the campaign sees it."""

    def __init__(self, pid: int, log: Path) -> None:
        self.pid = pid
        self.began = time.monotonic()
        self._log = log

    @property
    def log(self) -> str:
        """What it wrote."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    @property
    def code(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        with suppress(FileNotFoundError, ValueError):
            return int(_code_file(self._log).read_text())
        return None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it, if it is still there."""
        if self.code is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """`kill -9`, and wait."""
        self.signal(signal.SIGKILL)
        self.wait(30)

    def terminate(self) -> tuple[int, float]:
        """Ask it to stop: its exit code, and how many seconds it took."""
        began = time.monotonic()
        self.signal(signal.SIGTERM)
        return self.wait(60), time.monotonic() - began

    def wait(self, seconds: float) -> int:
        """Its exit code once it has ended."""
        end = time.monotonic() + seconds
        while (code := self.code) is None:
            if time.monotonic() > end:
                raise TimeoutError(f"worker {self.pid} did not end in {seconds} s:\n{self.log[-4000:]}")
            time.sleep(REAP_EVERY_S)
        return code


class Nursery:
    """The process that workers are forked from; a context manager."""

    def __enter__(self) -> Self:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("STEWARD_")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "load_tests.faults.nursery"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=environment,
        )  # fmt: skip
        return self

    def bear(self, environment: dict[str, str], log: Path, faults: dict[str, Any]) -> Life:
        """Start a worker."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        _code_file(log).unlink(missing_ok=True)
        log.touch()
        order = {"environment": environment, "log": str(log), "faults": faults}
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        return Life(int(self._process.stdout.readline()), log)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


def _code_file(log: Path) -> Path:
    return log.with_suffix(".code")


def main() -> None:
    """Fork what is asked for until standard input closes."""
    from engine.config import load
    from engine.partitions import partition_factory, rule_library
    from engine.warm_up import warm_up

    settings = load({})
    warm_up(partition_factory(settings, rule_library(settings))(0))
    children: dict[int, Path] = {}
    waiting = b""
    while True:
        if select.select([0], [], [], REAP_EVERY_S)[0]:
            piece = os.read(0, 1 << 16)
            if not piece:
                break
            *lines, waiting = (waiting + piece).split(b"\n")
            for line in lines:
                pid, log = _fork(json.loads(line))
                children[pid] = log
                print(pid, flush=True)
        _reap(children)
    for pid in children:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _reap(children: dict[int, Path]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        file = _code_file(children.pop(pid))
        file.with_suffix(".tmp").write_text(str(os.waitstatus_to_exitcode(status)))
        file.with_suffix(".tmp").replace(file)


def _fork(order: dict[str, Any]) -> tuple[int, Path]:
    log = Path(order["log"])
    pid = os.fork()
    if pid:
        return pid, log
    code = 70
    try:
        file = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        os.dup2(file, 1)
        os.dup2(file, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.clear()
        os.environ.update(order["environment"])
        code = _live(order["faults"])
        sys.stderr.flush()
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def _live(faults: dict[str, Any]) -> int:
    from engine.cli import main as steward
    from load_tests.faults.mortal import arm

    arm(faults)
    return steward(["worker"])


if __name__ == "__main__":
    main()
