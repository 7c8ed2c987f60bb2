"""The cache of machine code must not outlive the sources it was compiled from."""

import os
import subprocess
import sys
from pathlib import Path

from engine.features.jit import sources, sources_digest

CALLER = """from engine.features.inner import inner
from engine.features.jit import njit


@njit
def outer(x: int) -> int:
    return inner(x)
"""
INNER = "from engine.features.jit import njit\n\n\n@njit\ndef inner(x: int) -> int:\n    return x + {}\n"


def engine_copy(directory: Path) -> Path:
    """A tiny `engine` with the real jit module, a kernel, and a kernel in another file that it calls."""
    features = directory / "engine" / "features"
    features.mkdir(parents=True)
    for package in (directory / "engine", features):
        (package / "__init__.py").write_text("")
    source = Path(__file__).parents[2] / "engine" / "features" / "jit.py"
    (features / "jit.py").write_text(source.read_text())
    (features / "outer.py").write_text(CALLER)
    (features / "inner.py").write_text(INNER.format(1))
    return features


def call(directory: Path) -> str:
    code = "from engine.features.outer import outer; print(outer(1), sum(outer.stats.cache_hits.values()))"
    environment = {k: v for k, v in os.environ.items() if k not in ("NUMBA_CACHE_DIR", "NUMBA_DISABLE_JIT")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=directory, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_changed_callee_in_another_file_is_compiled_again(tmp_path: Path) -> None:
    features = engine_copy(tmp_path)
    assert call(tmp_path) == "2 0"
    assert call(tmp_path) == "2 1"
    (features / "inner.py").write_text(INNER.format(10))
    assert call(tmp_path) == "11 0"


def test_old_caches_are_dropped(tmp_path: Path) -> None:
    features = engine_copy(tmp_path)
    for value in range(6):
        (features / "inner.py").write_text(INNER.format(value))
        assert call(tmp_path) == f"{1 + value} 0"
    for module in ("inner", "outer"):
        assert len(list((tmp_path / "engine" / "__pycache__").glob(f"kernels-features.{module}-*"))) == 4


def test_the_digest_sees_what_a_module_imports_and_nothing_else(tmp_path: Path) -> None:
    features = engine_copy(tmp_path)
    (features / "package").mkdir()
    (features / "package" / "__init__.py").write_text("from engine.features.package.deep import (\n    Y,\n)\n")
    (features / "package" / "deep.py").write_text("Y = 1\n")
    (features / "inner.py").write_text("import engine.features.package\n" + INNER.format(1))
    engine, outer = tmp_path / "engine", features / "outer.py"
    assert {path.name for path in sources(outer, engine)} == {
        "outer.py",
        "inner.py",
        "jit.py",
        "__init__.py",
        "deep.py",
    }
    before = sources_digest(outer, engine)
    (features / "new.py").write_text("X = 1\n")
    sources_digest.cache_clear()
    assert sources_digest(outer, engine) == before
    (features / "package" / "deep.py").write_text("Y = 2\n")
    sources_digest.cache_clear()
    assert sources_digest(outer, engine) != before
