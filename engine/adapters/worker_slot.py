"""A name for a worker that survives its death: the first free slot of this machine."""

import fcntl
import os
import socket
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

SLOTS_MAX: Final = 256


class WorkerSlot:
    """Holds slot 0, 1, 2 ... of a consumer group on this machine while it is open; use it as a context manager.

    Static group membership needs an instance id that a restarted worker finds again and no two running workers share.
    The kernel frees the lock on the slot's file however the process ends, so a killed worker's successor gets its slot
    and, under the same id, its partitions without waiting for the session timeout.

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
        for slot in range(SLOTS_MAX):
            path = self._directory / f"{self._group}-{slot}.lock"
            file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(file)
                continue
            self._file = file
            self.name = f"{socket.gethostname()}-{self._group}-{slot}"
            return self
        raise OSError(f"{SLOTS_MAX} workers of group {self._group} run on this machine already")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free the slot; its file stays, for removing it would race with the next owner."""
        os.close(self._file)
