"""The table promise, fault, runs, lost, doubled: docs/faults.md and load_tests/results/faults.json."""

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from load_tests.faults.registry import Item, Result

ROOT: Final = Path(__file__).resolve().parents[2]
RESULTS: Final = ROOT / "load_tests/results/faults.json"
DOCUMENT: Final = ROOT / "docs/faults.md"
TEXT: Final = Path(__file__).with_name("faults.md")
GROUPS: Final = ("crashes", "rebalances", "broker", "store", "failover", "order", "hostile", "load", "growth")

Row = dict[str, Any]


def load_items() -> None:
    """Import every group, which registers its items."""
    for group in GROUPS:
        importlib.import_module(f"load_tests.faults.{group}")


def row(item: Item, result: Result, seconds: float, load: float, quick: bool) -> Row:
    """What is kept of a run."""
    return {
        "promise": item.promise,
        "fault": item.fault,
        "runs": result.runs,
        "lost": result.lost,
        "doubled": result.doubled,
        "kept": result.passed,
        "wrong": result.wrong[:10],
        "remark": result.remark,
        "figures": result.figures,
        "seconds": round(seconds, 1),
        "load_before": round(load, 1),
        "quick": quick,
    }


def line(number: int, row: Row) -> str:
    """One row for the screen."""
    verdict = "kept" if row["kept"] else "NOT KEPT: " + "; ".join(row["wrong"])
    return (
        f"{number:>3} {row['fault'][:70]:<70} runs {row['runs']:>5} lost {row['lost']} doubled {row['doubled']} "
        f"{row['seconds']:>6.1f} s  {verdict}  [{row['remark']}]"
    )


def merged(rows: Mapping[int, Row]) -> dict[int, Row]:
    """These rows over those of earlier runs."""
    earlier = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    return dict(sorted({**{int(number): old for number, old in earlier.items()}, **rows}.items()))


def publish(rows: Mapping[int, Row]) -> None:
    """Write both files."""
    RESULTS.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    DOCUMENT.write_text(document(rows), encoding="utf-8")


def document(rows: Mapping[int, Row]) -> str:
    """docs/faults.md."""
    body = "\n".join(
        f"| {number} | {r['promise']} | {r['fault']} | {r['runs']} | {r['lost']} | {r['doubled']} | {_cell(r)} |"
        for number, r in rows.items()
    )
    return TEXT.read_text(encoding="utf-8").replace("TABLE", body)


def _cell(row: Row) -> str:
    kept = row["remark"] if row["kept"] else f"**not kept**: {'; '.join(row['wrong'])}; {row['remark']}"
    length = "short" if row["quick"] else "long"
    kept = f"{kept} ({length} run, load average {row['load_before']})"
    return kept.replace("|", "/").replace("\n", " ")
