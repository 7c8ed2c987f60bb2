"""A name for a worker that survives its death: the first free slot of this machine."""

import fcntl
import os
import socket
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

SLOTS_MAX: Final = 256
IN_USE: Final = b"in use\n"


class WorkerSlot:
    """Holds slot 0, 1, 2 ... of a consumer group on this machine while it is open; use it as a context manager.

    Static group membership needs an instance id that a restarted worker finds again and no two running workers share.
    The kernel frees the lock on the slot's file however the process ends, so a killed worker's successor gets its slot
    and, under the same id, its partitions without waiting for the session timeout. The file holds a word while the slot
    is in use: one that is free and holds it was left by a killed worker, and is taken before others.

    Attributes:
        name: `HOST-GROUP-SLOT`, unique among the group's running members as far as host names are.
    """

    def __init__(self, group: str, directory: Path | None = None) -> None:
        self.name = ""
        self._group = group
        self._directory = directory or Path(tempfile.gettempdir()) / f"steward-slots-{os.getuid()}"
        self._file = -1

    def __enter__(self) -> Self:
        """Take a slot. Raises `OSError` where none of `SLOTS_MAX` is free."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        left = [slot for slot in range(SLOTS_MAX) if self._left_by_the_dead(slot)]
        for slot in [*left, *range(SLOTS_MAX)]:
            file = os.open(self._path(slot), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(file)
                continue
            os.pwrite(file, IN_USE, 0)
            self._file = file
            self.name = f"{socket.gethostname()}-{self._group}-{slot}"
            return self
        raise OSError(f"{SLOTS_MAX} workers of group {self._group} run on this machine already")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free the slot; its file stays, for removing it would race with the next owner."""
        os.ftruncate(self._file, 0)
        os.close(self._file)

    def _path(self, slot: int) -> Path:
        return self._directory / f"{self._group}-{slot}.lock"

    def _left_by_the_dead(self, slot: int) -> bool:
        """Whether the slot's file says that it is in use; whether it is, its lock will tell."""
        path = self._path(slot)
        return path.exists() and path.stat().st_size > 0
