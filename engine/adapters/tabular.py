"""Tables as sources: Parquet and CSV, opened, checked against their mapping, and read a batch of columns at a time.

Nothing is judged here: a cell that makes no sense becomes a line that the decoder rejects, with its row named. Only a
file that cannot be read at all is an error.
"""

from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Final

from engine.adapters.conversion import Converter, Rows
from engine.adapters.mapping import Mapping, SourceError, choose

BATCH_ROWS: Final = 16_384
CSV_BLOCK_BYTES: Final = 1 << 20


def arrow(what: str) -> Any:
    """The pyarrow package. Raises `SourceError` where it is not installed."""
    try:
        import pyarrow as pa
        import pyarrow.compute
        import pyarrow.csv
        import pyarrow.parquet
    except ImportError:
        raise SourceError(f"{what}: Parquet and CSV need pyarrow: pip install 'paysteward[parquet]'") from None
    return pa


def read_parquet(
    path: str, mapping: Mapping | None, all_labels: bool = False
) -> tuple[int, Callable[[], Iterator[Rows]]]:
    """Open a Parquet file; returns its number of rows and what reads it. Raises `SourceError`.

    `all_labels`: those due after the last row follow it.
    """
    pa = arrow(path)
    try:
        file = pa.parquet.ParquetFile(path, memory_map=True)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{path}: not a readable Parquet file: {error}") from None
    chosen = choose(list(file.schema_arrow.names), mapping, path)

    def rows() -> Iterator[Rows]:
        """The rows of the file, counted from 1, a batch at a time; closes it."""
        convert = Converter(pa, chosen)
        first = 1
        try:
            for batch in file.iter_batches(BATCH_ROWS, columns=sorted(chosen.columns), use_threads=False):
                yield convert(batch, range(first, first + batch.num_rows))
                first += batch.num_rows
            if all_labels:
                yield convert.rest()
        except (pa.ArrowException, OSError) as error:
            raise SourceError(f"{path}: unreadable after row {first - 1}: {error}") from None
        finally:
            file.close()

    return file.metadata.num_rows, rows


def read_csv(
    path: str, stream: BinaryIO, mapping: Mapping | None, all_labels: bool = False
) -> Callable[[], Iterator[Rows]]:
    """Open a CSV stream with a header line; every cell is text, an empty one is missing. Raises `SourceError`.

    The header is line 1, and a row with a line break inside quotes counts as one line. A row with too few or too many
    cells is handed on as its text, ahead of the rows of its block. `all_labels`: those due after the
    last row follow it.
    """
    pa = arrow(path)
    wrong: list[tuple[int, str]] = []

    def on_wrong(row: Any) -> str:
        wrong.append((row.number + 1, row.text))
        return "skip"

    names = _header(pa, path, stream)
    chosen = choose(names, mapping, path)
    reading = pa.csv.ReadOptions(use_threads=False, block_size=CSV_BLOCK_BYTES, column_names=names)
    parsing = pa.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=on_wrong)
    converting = pa.csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.binary()), null_values=[""], strings_can_be_null=True
    )

    def rows() -> Iterator[Rows]:
        """The rows of the stream by line, in parts of its blocks; before each part the wrong rows ahead of it."""
        line = 2
        try:
            with pa.csv.open_csv(stream, reading, parsing, converting) as reader:
                convert = Converter(pa, chosen)
                for batch in reader:
                    for start in range(0, batch.num_rows, BATCH_ROWS):
                        part = batch.slice(start, BATCH_ROWS)
                        lines, line = _number(part.num_rows, line, wrong)
                        yield _take(wrong, line)
                        yield convert(part, lines)
                if all_labels:
                    yield convert.rest()
        except pa.ArrowInvalid as error:
            if "Empty CSV" not in str(error):
                raise SourceError(f"{path}: unreadable near line {line}: {error}") from None
        yield _take(wrong, line + len(wrong) + 1)

    return rows


def _header(pa: Any, path: str, stream: BinaryIO) -> list[str]:
    """Read the first line as the column names, leaving the stream after it."""
    line = stream.readline(CSV_BLOCK_BYTES).removeprefix(b"\xef\xbb\xbf")
    try:
        names = list(pa.csv.read_csv(pa.BufferReader(line)).column_names)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: no header line of column names: {error}") from None
    return names


def _number(count: int, first: int, wrong: list[tuple[int, str]]) -> tuple[list[int] | range, int]:
    """Line numbers of `count` rows from line `first` on, and the next line; lines of wrong rows are left out."""
    skipped = {line for line, _ in wrong}
    if not skipped:
        return range(first, first + count), first + count
    lines: list[int] = []
    while len(lines) < count:
        if first not in skipped:
            lines.append(first)
        first += 1
    return lines, first


def _take(wrong: list[tuple[int, str]], before: int) -> Rows:
    """Take out the wrong rows of the lines below `before`."""
    taken = [row for row in wrong if row[0] < before]
    del wrong[: len(taken)]
    return Rows([text.encode("utf-8", "surrogateescape") for _, text in taken], [line for line, _ in taken])
