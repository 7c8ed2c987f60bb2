"""Run the campaign: `python -m load_tests.faults [--quick] [--only 1,2,5] [--scale 0.2]`.

The table goes to standard output, to docs/faults.md and, as JSON, to load_tests/results/faults.json; items that did not
run this time keep the rows they had. Exit code 1 where a promise was not kept.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

from load_tests.faults import table
from load_tests.faults.registry import ITEMS, Item, Result
from load_tests.faults.stage import Bench

ITEM_S_MAX = 7_200.0


async def run(bench: Bench, item: Item) -> Result:
    """Run one item; what it raises is a promise not kept."""
    try:
        return await asyncio.wait_for(item.run(bench), ITEM_S_MAX)
    except Exception as error:
        traceback.print_exc()
        return Result(runs=0, wrong=[f"{type(error).__name__}: {str(error)[:300]}"])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m load_tests.faults", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the short version, of about a minute and a half")
    parser.add_argument("--only", default="", help="numbers of items, separated by commas")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the counts of the long version")
    parser.add_argument("--directory", type=Path, help="where logs stay; none: a temporary one")
    parser.add_argument("--dry", action="store_true", help="print only, and leave the published table as it is")
    args = parser.parse_args()
    table.load_items()
    numbers = [int(number) for number in args.only.split(",") if number] or sorted(ITEMS)
    unknown = sorted(set(numbers) - set(ITEMS))
    if unknown:
        print(f"faults: no item {unknown}; there are {sorted(ITEMS)}", file=sys.stderr)
        return 2
    rows = {}
    with tempfile.TemporaryDirectory(prefix="steward-faults-") as temporary:
        directory = args.directory or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        with Bench(directory, quick=args.quick, scale=args.scale) as bench:
            for number in numbers:
                began, load = time.monotonic(), os.getloadavg()[0]
                result = asyncio.run(run(bench, ITEMS[number]))
                rows[number] = table.row(ITEMS[number], result, time.monotonic() - began, load, args.quick)
                print(table.line(number, rows[number]), flush=True)
                if not args.dry:
                    table.publish(table.merged(rows))
    return 0 if all(row["kept"] for row in rows.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
