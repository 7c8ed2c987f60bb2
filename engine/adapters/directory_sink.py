"""The outputs of a replay, as files of a directory."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from engine.domain.outputs import DeadLetter
from engine.ports.sink import SinkOutput

FILES: Final = {
    "decision": "decisions.ndjson",
    "alert": "alerts.ndjson",
    "reward": "rewards.ndjson",
    "offer": "offers.ndjson",
    "lifecycle": "lifecycle.ndjson",
    "dead_letter": "dead_letters.ndjson",
}
FEATURES: Final = "features.ndjson"
BUFFER_BYTES: Final = 1 << 20
_letter = msgspec.json.Decoder(DeadLetter).decode


class OutputError(Exception):
    """The directory cannot be written."""


class DirectorySink:
    """Writes each kind of output to its own NDJSON file and keeps a running digest of what was written.

    Files of an earlier replay in the same directory are overwritten. The digest covers the outputs only, so it is the
    same with and without `features.ndjson`, and without a directory. Of a dead letter it leaves out the `source`, so
    that the same history gives the same digest under another name, packed, or cut into several files.
    """

    def __init__(self, out: Path | None, features: bool = False) -> None:
        """`out` is made where missing; `None` writes nothing and only digests. Raises `OutputError`."""
        self._hashes = {kind: hashlib.sha256() for kind in FILES}
        self._files: dict[str, BinaryIO] = {}
        self.counts = dict.fromkeys(FILES, 0)
        self.out = out
        if out is None:
            return
        try:
            out.mkdir(parents=True, exist_ok=True)
            (out / FEATURES).unlink(missing_ok=True)
            for kind, name in FILES.items() if not features else (*FILES.items(), ("features", FEATURES)):
                self._files[kind] = (out / name).open("wb", buffering=BUFFER_BYTES)
        except OSError as error:
            self.close()
            raise OutputError(f"{out}: cannot be written: {error.strerror}") from None

    def write(self, outputs: Iterable[SinkOutput]) -> None:
        """Append outputs in order. Raises `OutputError`, as where the disk is full."""
        lines: defaultdict[str, list[bytes]] = defaultdict(list)
        for output in outputs:
            lines[output.kind].append(output.data)
        for kind, bodies in lines.items():
            block = b"\n".join(bodies) + b"\n"
            placed = kind == "dead_letter"
            self._hashes[kind].update(b"\n".join(map(_placeless, bodies)) + b"\n" if placed else block)
            self.counts[kind] += len(bodies)
            self._append(kind, block)

    def write_features(self, lines: Sequence[bytes]) -> None:
        """Append lines to `features.ndjson`, where that was asked for. Raises `OutputError`."""
        if lines:
            self._append("features", b"\n".join(lines) + b"\n")

    def _append(self, kind: str, block: bytes) -> None:
        file = self._files.get(kind)
        if file is None:
            return
        try:
            file.write(block)
        except OSError as error:
            raise OutputError(f"{self.out}: cannot be written: {error.strerror}") from None

    def digest(self) -> str:
        """SHA-256 in hexadecimal over the digests of the kinds' files, in the order of `FILES`."""
        return hashlib.sha256(b"".join(self._hashes[kind].digest() for kind in FILES)).hexdigest()

    def close(self) -> None:
        """Write what is buffered and close. Raises `OutputError`, as where the disk is full."""
        failed: OSError | None = None
        for file in self._files.values():
            try:
                file.close()
            except OSError as error:
                failed = error
        self._files.clear()
        if failed is not None:
            raise OutputError(f"{self.out}: cannot be written: {failed.strerror}")


def _placeless(letter: bytes) -> bytes:
    """A dead letter without where its record came from."""
    return msgspec.json.encode(msgspec.structs.replace(_letter(letter), source={}))
