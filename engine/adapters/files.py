"""Files as input and output of a replay: NDJSON, Parquet and CSV sources, plain or compressed, and standard input.

A source is read forward once and holds a few megabytes at most, whatever its size. What is in a line is not judged
here: a bad one is handed on as it is and dead-lettered by the engine, with the file and line it came from.
"""

import gzip
import io
import os
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self, cast

from engine.adapters.conversion import Rows
from engine.adapters.directory_sink import DirectorySink, OutputError
from engine.adapters.mapping import Mapping, SourceError, read_mapping
from engine.adapters.tabular import read_csv, read_parquet

__all__ = ["Chunk", "DirectorySink", "Mapping", "OutputError", "Source", "SourceError", "open_source", "read_mapping"]

BLOCK_BYTES: Final = 1 << 20
STDIN_BLOCK_BYTES: Final = 1 << 16
LINE_BYTES_MAX: Final = 16 << 20
"""Of a longer line only this much is handed on: far over what an event may be, so it is rejected for its size."""
BATCH_RECORDS: Final = 1000
BOM: Final = b"\xef\xbb\xbf"
BLANK: Final = b" \t\r"
"""In a block without these no line but its first can be blank or end in a carriage return."""
TABLES: Final = (".parquet", ".csv")
KINDS: Final = (".ndjson", ".jsonl", ".json", *TABLES)
PACKED: Final = (".gz", ".zst")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some records in order.

    Attributes:
        records: the bytes of each event, without the line's end.
        lines: line (or row of a table) of each, counted from 1.
        file: the source as it was named, `-` for standard input.
    """

    records: list[bytes]
    lines: Sequence[int]
    file: str

    def source(self, i: int) -> dict[str, str | int]:
        """Where record `i` came from, as a dead letter's `source`."""
        return {"file": self.file, "line": self.lines[i]}


class Source:
    """An open source: iterate it once for its chunks, of exactly the asked size but for the last.

    Attributes:
        name: as it was named.
        total: its size for a progress bar, in `unit`; `None` where that is not known.
        unit: `bytes` (as stored, so before decompression) or `rows`.
    """

    def __init__(
        self,
        name: str,
        rows: Callable[[], Iterator[Rows]],
        batch: int,
        total: int | None,
        unit: str,
        stored: BinaryIO | None = None,
    ) -> None:
        self.name, self.total, self.unit = name, total, unit
        self._rows, self._batch, self._stored, self._read = rows, batch, stored, 0

    @property
    def done(self) -> int:
        """How much of `total` has been read, ahead of what was yielded by a block at most."""
        if self._stored is not None and not self._stored.closed and self.total is not None:
            self._read = self._stored.tell()
        return self._read

    def __iter__(self) -> Iterator[Chunk]:
        """Yield the records in order. Raises `SourceError` where the file can be read no further."""
        records: list[bytes] = []
        lines: list[int] = []
        for rows in self._rows():
            if self.unit == "rows":
                self._read += len(rows.records)
            records += rows.records
            lines += rows.lines
            whole = len(records) - len(records) % self._batch
            if self.name == "-":
                whole = len(records)  # what comes through a pipe is not held back
            for start in range(0, whole, self._batch):
                stop = min(start + self._batch, whole)
                yield Chunk(records[start:stop], lines[start:stop], self.name)
            del records[:whole], lines[:whole]
        if records:
            yield Chunk(records, lines, self.name)

    def close(self) -> None:
        """Let go of the file."""
        if self._stored is not None and self.name != "-":
            self._stored.close()

    def __enter__(self) -> Self:
        """For `with`."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()


def open_source(
    name: str | Path, mapping: Mapping | None = None, batch: int = BATCH_RECORDS, *, all_labels: bool = False
) -> Source:
    """Open a source for a replay: NDJSON (`.ndjson .jsonl .json`), `.parquet`, `.csv`, or `-` for standard input.

    NDJSON and CSV may be compressed (`.gz`, `.zst`; `events.gz` alone is NDJSON). Standard input is NDJSON. `mapping`
    says which column is which field (`read_mapping`); without one a table's columns are named like the fields, or fit a
    shipped mapping. Blank lines are passed over. `all_labels`: labels that a table's rows promise for times after its
    last row are sent after it, instead of not at all. Raises `SourceError` where the source cannot be used.
    """
    name = str(name)
    if name == "-":
        stdin = cast(BinaryIO, sys.stdin.buffer)
        return Source(name, lambda: _lines(name, stdin, STDIN_BLOCK_BYTES), batch, None, "bytes", stdin)
    kind, packed = _kind(name)
    try:
        stored = Path(name).open("rb", buffering=BLOCK_BYTES)  # noqa: SIM115  # the Source closes it
    except FileNotFoundError:
        raise SourceError(f"{name}: no such file") from None
    except OSError as error:
        raise SourceError(f"{name}: cannot be read: {error.strerror}") from None
    try:
        if kind == ".parquet":
            total, rows = read_parquet(name, mapping, all_labels)
            stored.close()
            return Source(name, rows, batch, total, "rows")
        size = os.fstat(stored.fileno()).st_size
        plain = _unpacked(name, stored, packed)
        if kind == ".csv":
            rows = _guarded(name, read_csv(name, plain, mapping, all_labels))
        else:
            rows = _guarded(name, lambda: _lines(name, plain, BLOCK_BYTES))
        return Source(name, rows, batch, size, "bytes", stored)
    except BaseException:
        stored.close()
        raise


def _kind(name: str) -> tuple[str, str]:
    """The kind of content and of compression, by the name's endings. Raises `SourceError`."""
    endings = [ending.lower() for ending in Path(name).suffixes]
    packed = endings.pop() if endings and endings[-1] in PACKED else ""
    kind = endings[-1] if endings else ""
    if packed and kind not in KINDS:
        kind = ".ndjson"
    if kind not in KINDS or (packed and kind == ".parquet"):
        what = f"{kind}{packed}" or "no ending"
        known = ", ".join((*KINDS, *PACKED))
        raise SourceError(f"{name}: {what} is not a kind of source; known: {known}, or - for standard input")
    return kind, packed


def _unpacked(name: str, stored: BinaryIO, packed: str) -> BinaryIO:
    if packed == ".gz":
        return cast(BinaryIO, gzip.GzipFile(fileobj=stored, mode="rb"))
    if packed == ".zst":
        try:
            import zstandard
        except ImportError:
            raise SourceError(f"{name}: .zst needs zstandard: pip install 'paysteward[zstd]'") from None
        reader = zstandard.ZstdDecompressor().stream_reader(stored, read_size=BLOCK_BYTES, read_across_frames=True)
        return cast(BinaryIO, io.BufferedReader(cast(Any, reader), BLOCK_BYTES))
    return stored


def _guarded(name: str, rows: Callable[[], Iterator[Rows]]) -> Callable[[], Iterator[Rows]]:
    """Turn what reading and decompressing may raise into `SourceError`."""

    def guarded() -> Iterator[Rows]:
        try:
            yield from rows()
        except (OSError, EOFError, zlib.error) as error:  # gzip.BadGzipFile is an OSError
            raise SourceError(f"{name}: damaged or cut short: {error}") from None
        except Exception as error:
            if type(error).__module__.partition(".")[0] != "zstandard":
                raise
            raise SourceError(f"{name}: damaged or cut short: {error}") from None

    return guarded


def _lines(name: str, stream: BinaryIO, block_bytes: int) -> Iterator[Rows]:
    """Cut a stream into lines, block by block."""
    read = getattr(stream, "read1", stream.read)
    rest, number, cut = b"", 1, False
    while block := read(block_bytes):
        if number == 1 and not rest:
            block = block.removeprefix(BOM)
            if name.endswith(".json") and block.lstrip()[:1] == b"[":
                raise SourceError(f"{name}: holds a JSON array; one event a line is expected (jq -c '.[]')")
        if b"\n" not in block:
            if not cut:
                rest += block
                cut = len(rest) > LINE_BYTES_MAX
                rest = rest[:LINE_BYTES_MAX]
            continue
        lines = block.split(b"\n")
        lines[0] = rest if cut else rest + lines[0]
        rest, cut = lines.pop(), False
        # Empty lines and those that begin with a blank sort before all others: one pass tells whether there are any.
        yield _numbered(lines, number, b"\r" in block or lines[0][-1:] == b"\r" or min(lines) < b"!")
        number += len(lines)
    if rest:
        yield _numbered([rest], number, odd=True)


def _numbered(lines: list[bytes], first: int, odd: bool) -> Rows:
    """Lines and their numbers; where some are `odd`, without carriage returns and without the blank ones."""
    numbers = range(first, first + len(lines))
    if not odd:
        return Rows(lines, numbers)
    kept = [(line.rstrip(b"\r"), number) for line, number in zip(lines, numbers, strict=True) if line.strip(BLANK)]
    return Rows([line for line, _ in kept], [number for _, number in kept])
