"""Settlement files: CSV and Parquet by a mapping of columns, and ISO 20022 camt.053 statements."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from engine.adapters.mapping import SourceError
from engine.adapters.settlements.camt053 import is_xml, read_camt053
from engine.adapters.settlements.mapping import SettlementMapping, read_settlement_mapping
from engine.adapters.settlements.tables import read_csv, read_parquet
from engine.domain.settlements import Settled

__all__ = ["SettlementMapping", "SourceError", "read_settlement_mapping", "read_settlements"]

KINDS = (".csv", ".parquet", ".xml")


def read_settlements(path: str, mapping: SettlementMapping | None = None) -> Iterator[Settled]:
    """The lines of one file: `.csv`, `.xml` (both also `.gz`) or `.parquet`.

    Args:
        path: the file.
        mapping: which columns of a table mean what; without one, those of the names in docs/reconcile.md.

    Raises:
        SourceError: where the file cannot be used. A line that makes no sense is yielded as `Unreadable` instead.
    """
    kind = Path(path.removesuffix(".gz")).suffix.lower()
    if kind not in KINDS or (kind == ".parquet" and path.endswith(".gz")):
        raise SourceError(f"{path}: not a kind of settlement file; known: {', '.join(KINDS)}, .csv.gz, .xml.gz")
    try:
        if kind == ".parquet":
            yield from read_parquet(path, mapping)
            return
        with Path(path).open("rb") as stored:
            stream = cast(BinaryIO, gzip.GzipFile(fileobj=stored)) if path.endswith(".gz") else stored
            yield from read_camt053(path, stream) if is_xml(path) else read_csv(path, stream, mapping)
    except FileNotFoundError:
        raise SourceError(f"{path}: no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{path}: cannot be read: {error}") from None
