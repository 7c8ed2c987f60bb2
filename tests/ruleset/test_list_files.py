"""Lists from files: read from within the directory only, faults shown where they are."""

from pathlib import Path

import pytest

from engine.cli import main
from engine.ruleset import RuleErrors, compile, files, list_files

RULES = "lists:\n  l: {file: %s}\nrules:\n  - id: r\n    when: ip in lists.l\n    then: {score: 1}\n"


def directory(root: Path, text: str, name: str = "lists/l.txt") -> Path:
    (root / "lists").mkdir()
    (root / "r.yaml").write_text(RULES % name)
    (root / "lists" / "l.txt").write_text(text)
    return root


def faults(found: dict[str, str]) -> list[str]:
    with pytest.raises(RuleErrors) as caught:
        compile(found)
    return caught.value.lines()


def test_values_stand_one_a_line(tmp_path: Path) -> None:
    text = "# head\n\n 198.51.100.7  # office\n203.0.113.0/24\t# range\r\n2001:db8::/32\n198.51.100.7\n"
    found = compile(files.read(directory(tmp_path, text))).lists["l"]
    assert found.texts == {"198.51.100.7", "203.0.113.0/24", "2001:db8::/32"}
    assert found.has_text("203.0.113.9")


def test_a_hash_inside_a_value_is_kept() -> None:
    assert compile({"r.yaml": RULES % "l.txt", "l.txt": "a#b\nc\n"}).lists["l"].texts == {"a#b", "c"}


def test_contents_are_part_of_the_hash_and_other_files_are_not(tmp_path: Path) -> None:
    root = directory(tmp_path, "a\n")
    before = compile(files.read(root)).hash
    (root / "README.txt").write_bytes(b"\xff")
    assert compile(files.read(root)).hash == before
    (root / "lists" / "l.txt").write_text("a\nb\n")
    assert compile(files.read(root)).hash != before


def test_the_formatter_leaves_list_files_alone(tmp_path: Path) -> None:
    root = directory(tmp_path, "  a\n")
    assert main(["rules", "fmt", str(root)]) == 0
    assert (root / "lists" / "l.txt").read_text() == "  a\n"
    assert main(["rules", "check", str(root)]) == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../l.txt", "r.yaml:2:13: '../l.txt' is not a path inside the rules directory"),
        ("/etc/l.txt", "is not a path inside the rules directory"),
        ("lists//l.txt", "is not a path inside the rules directory"),
        ("r.yaml", "r.yaml:2:13: the file of a list ends in .txt"),
        ("lists/ll.txt", "there is no file lists/ll.txt in the rules directory"),
        ("l.txt, values: [a]", "a list has 'values' or 'file', not both"),
        ("7", "'file' must be text"),
    ],
)
def test_wrong_paths(tmp_path: Path, name: str, message: str) -> None:
    assert message in faults(files.read(directory(tmp_path, "a\n", name)))[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10.0.0.0/8\n\n  nonsense\n", "l.txt:3:3: 'nonsense' is neither an address nor a network"),
        ("10.0.0.1/8\n", "l.txt:1:1: '10.0.0.1/8' has bits beyond its prefix"),
        ("a\n" + "x" * 1_001, "l.txt:2:1: a value of 1,001 characters"),
        ("a\x07b\n", "l.txt:1:1: a value with characters that cannot be seen"),
    ],
)
def test_faults_have_their_place(text: str, message: str) -> None:
    assert message in faults({"r.yaml": RULES % "l.txt", "l.txt": text})[0]


def test_too_many_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_files, "VALUES_MAX", 2)
    assert "l.txt:4:1: more than 2 values" in faults({"r.yaml": RULES % "l.txt", "l.txt": "a\nb\na\nc\n"})[0]


def test_links_out_of_the_directory_and_large_files_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "rules"
    root.mkdir()
    directory(root, "a\n")
    (tmp_path / "secret.txt").write_text("s\n")
    (root / "lists" / "l.txt").unlink()
    (root / "lists" / "l.txt").symlink_to(tmp_path / "secret.txt")
    assert "there is no file lists/l.txt" in faults(files.read(root))[0]
    (root / "lists" / "l.txt").unlink()
    (root / "lists" / "l.txt").write_bytes(b"a" * 4_000_001)
    with pytest.raises(RuleErrors, match="larger than"):
        files.read(root)
