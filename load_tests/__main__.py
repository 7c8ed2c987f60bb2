"""`make bench`: every benchmark in turn, each in a process of its own; tables on standard output, JSON in `results/`.

Run `python -m load_tests [NAME ...]`; without a name, all: `reference_job` and every `bench_NAME.py` here. Nothing runs
beside them, so let nothing else use the machine.
"""

import subprocess
import sys
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
RESULTS: Final = HERE / "results"
TIMEOUT_S: Final = 3_600


def benchmarks() -> dict[str, list[str]]:
    """The command of each benchmark, by name, the reference job first."""
    found = {"reference_job": [sys.executable, str(HERE / "reference_job" / "run.py")]}
    for path in sorted(HERE.glob("bench_*.py")):
        name = path.stem.removeprefix("bench_")
        found[name] = [sys.executable, "-m", f"load_tests.{path.stem}", "--out", str(RESULTS / f"{name}.json")]
    return found


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all. Returns 0, 1 where one failed, 2 where there is none of that name."""
    known = benchmarks()
    unknown = sorted(set(names) - set(known))
    if unknown:
        print(f"bench: no benchmark named {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    RESULTS.mkdir(exist_ok=True)
    failed = []
    for name in names or known:
        print(f"\n== {name} ==", flush=True)
        if subprocess.run(known[name], cwd=HERE.parent, timeout=TIMEOUT_S, check=False).returncode:
            failed.append(name)
    if failed:
        print(f"bench: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
