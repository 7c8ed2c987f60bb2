"""Reading a rules directory: the only place of this room that touches a disk."""

from pathlib import Path
from typing import Final

from engine.ruleset.errors import RuleError, RuleErrors
from engine.ruleset.yaml_loader import FILE_CHARS_MAX

FILES_MAX: Final = 1_000
BYTES_MAX: Final = 32_000_000  # of all files together, read in some three seconds
SUFFIXES: Final = (".yaml", ".yml")
LIST_SUFFIX: Final = ".txt"
"""Of a file with the values of a list; one is read where some rule file has its name."""
UNUSABLE: Final = "neither a file nor a link to one inside the rules directory; put the file itself here"

LINKED: Final = "a directory that is read already, or a link out of the rules directory; put its files here"


def read(directory: Path) -> dict[str, str]:
    """Names (relative, with `/`) to texts of every `*.yaml` and `*.yml` under `directory`, sorted by name.

    The files of lists (`*.txt`) that they name are among them.

    A single file is read as a directory that holds it alone. Hidden files and directories are left out. Raises
    `RuleErrors` where nothing can be read, and where a rule file or a directory is a link out of the directory, or what
    should be a file is none: left out silently, its rules would be missing and nobody would know.
    """
    if directory.is_file():
        return {directory.name: _text(directory, directory.name, [BYTES_MAX])}
    if not directory.is_dir():
        raise RuleErrors([RuleError(str(directory), 0, 0, "no such rules directory")])
    root, room = directory.resolve(), [BYTES_MAX]
    found: dict[str, str] = {}
    lists: dict[str, Path] = {}
    faults: list[RuleError] = []
    for path in _paths(directory, root, faults):
        relative = path.relative_to(directory)
        if path.suffix not in (*SUFFIXES, LIST_SUFFIX):
            continue
        if not path.is_file() or root not in path.resolve().parents:
            if path.suffix in SUFFIXES and (path.is_symlink() or not path.is_dir()):
                faults.append(RuleError(relative.as_posix(), 0, 0, UNUSABLE))
            continue
        if path.suffix == LIST_SUFFIX:
            lists[relative.as_posix()] = path
            continue
        if len(found) == FILES_MAX:
            raise RuleErrors([RuleError(str(directory), 0, 0, f"more than {FILES_MAX:,} rule files")])
        found[relative.as_posix()] = _text(path, relative.as_posix(), room)
    if faults:
        raise RuleErrors(faults)
    if not found:
        raise RuleErrors([RuleError(str(directory), 0, 0, "no .yaml or .yml file in the rules directory")])
    named = {name: path for name, path in lists.items() if any(name in text for text in found.values())}
    if len(found) + len(named) > FILES_MAX:
        raise RuleErrors([RuleError(str(directory), 0, 0, f"more than {FILES_MAX:,} rule files and list files")])
    return dict(sorted({**found, **{name: _text(path, name, room) for name, path in named.items()}}.items()))


def _paths(directory: Path, root: Path, faults: list[RuleError]) -> list[Path]:
    """What is in a directory and those below it, hidden ones left out, in order of name.

    Links to directories are followed within the root, each directory once: so is a mounted ConfigMap made.
    """
    found: list[Path] = []
    left, seen = [directory], {root}
    while left:
        here = left.pop()
        try:
            inside = sorted(here.iterdir())
        except OSError as fault:
            name = here.relative_to(directory).as_posix()
            faults.append(RuleError(name, 0, 0, f"cannot be read: {fault.strerror}"))
            continue
        for path in inside:
            if path.name.startswith("."):
                continue
            linked = path.is_symlink() and path.suffix not in SUFFIXES
            if not path.is_dir() or (path.is_symlink() and not linked):
                found.append(path)
                continue
            target = path.resolve()
            if root not in target.parents or target in seen:
                faults.append(RuleError(path.relative_to(directory).as_posix(), 0, 0, LINKED))
                continue
            seen.add(target)
            left.append(path)
    return sorted(found, key=lambda path: path.relative_to(directory).as_posix())


def _text(path: Path, name: str, room: list[int]) -> str:
    """A file as text; its bytes are taken off `room[0]`, what is left for the directory."""
    bytes_max = 4 * FILE_CHARS_MAX  # the longest UTF-8 form of the most characters the loader takes
    try:
        with path.open("rb") as file:
            content = file.read(bytes_max + 1)
        if len(content) > bytes_max:
            raise RuleErrors([RuleError(name, 0, 0, f"the file is larger than {bytes_max:,} bytes")])
        room[0] -= len(content)
        if room[0] < 0:
            raise RuleErrors([RuleError(name, 0, 0, f"the files have more than {BYTES_MAX:,} bytes together")])
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        before = content[: fault.start].decode("utf-8-sig", "replace").split("\n")
        message = f"not UTF-8: byte {fault.start}"
        raise RuleErrors([RuleError(name, len(before), len(before[-1]) + 1, message)]) from None
    except OSError as fault:
        raise RuleErrors([RuleError(name, 0, 0, f"cannot be read: {fault.strerror}")]) from None
