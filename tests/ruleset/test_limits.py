"""What one directory may hold in all: counted while it is read, before anything of it is worked on."""

from pathlib import Path

import pytest

from engine.ruleset import RuleErrors, compile, compiler, files, limits, report
from tests.ruleset.helpers import faults

RULE = "  - {{id: r{0}, when: amount > {0}, then: {{{1}}}}}\n"


def rules(number: int, then: str = "score: 1") -> str:
    return "rules:\n" + "".join(RULE.format(i, then) for i in range(number))


@pytest.mark.parametrize(("name", "text", "place"), [
    ("RULES_MAX", rules(3), "4:5: more than 2 rules"),
    ("RULES_MAX", rules(3, "alert: fraud"), "4:5: more than 2 rules"),
    ("FEATURES_MAX", "features: [{name: a}, {name: b}, {name: c}]", "1:34: more than 2 features"),
    ("DERIVED_MAX", "features: [{name: a, expr: b}, {name: b, expr: a}, {expr: c}]", "more than 2 derived features"),
    ("NODES_MAX", "lists: {a: {values: [1, 2]}}", "more than 2 YAML nodes"),
    ("WRITTEN_CHARS_MAX", rules(1), "2:20: more than 2 characters of expressions and texts"),
    ("WRITTEN_CHARS_MAX", "features: [{name: a, expr: xyz}]", "more than 2 characters of expressions and texts"),
])  # fmt: skip
def test_what_is_too_much_is_the_only_fault(monkeypatch: pytest.MonkeyPatch, name: str, text: str, place: str) -> None:
    monkeypatch.setattr(limits, name, 2)
    [found] = faults(text)
    assert place in found


def test_the_characters_of_every_kind_of_expression_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pattern counts for the work of compiling it, a text that is refused by itself no more than the longest."""
    monkeypatch.setattr(limits, "WRITTEN_CHARS_MAX", 120)
    matching = "rules: [{id: r, when: \"matches(ip, 'a')%s\", then: {score: 1}}]"
    assert faults(matching % " or 1 > 2") == ["t.yaml:1:23: more than 120 characters of expressions and texts"]
    assert faults(matching % "") == []
    for wide in (
        "unless: '%s'",
        "then: {score: 1, detail: '%s'}",
        "tests: [{given: {}, with: {'%s': 1}, expect: hit}]",
    ):
        [found] = faults("rules: [{id: r, when: true, %s}]" % (wide % ("1 > 2 or " * 13 + "true")))
        assert "more than 120 characters" in found


def test_every_list_that_names_a_file_pays_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LIST_LINES_MAX", 5)
    texts = {"a.yaml": "lists: {a: {file: l.txt}, b: {file: l.txt}}", "l.txt": "1.1.1.1\n\n# 3"}
    with pytest.raises(RuleErrors) as raised:
        compile(texts)
    assert raised.value.lines() == ["a.yaml:1:37: more than 5 lines of list files"]


def test_files_before_the_one_too_many_are_read_and_those_after_it_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RULES_MAX", 2)
    with pytest.raises(RuleErrors) as raised:
        compile({"a.yaml": "rulse: []", "b.yaml": rules(3), "c.yaml": "- not read"})
    assert [line.partition(": ")[0] for line in raised.value.lines()] == ["a.yaml:1:1", "b.yaml:4:5"]


def test_nothing_is_worked_on_once_nobody_reads_its_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    inner = compiler.read_rule

    def noted(name: str, *rest: object) -> object:
        read.append(name)
        return inner(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(compiler, "read_rule", noted)
    assert len(faults(rules(200, "score: high"))) == compiler.ERRORS_MAX
    assert len(read) == compiler.ERRORS_MAX


def test_the_files_of_a_directory_have_a_limit_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "BYTES_MAX", 60)
    (tmp_path / "a.yaml").write_text("lists: {l: {file: l.txt}}  # thirty bytes")
    (tmp_path / "l.txt").write_text("x\n" * 5)
    assert set(files.read(tmp_path)) == {"a.yaml", "l.txt"}
    (tmp_path / "l.txt").write_text("x\n" * 15)
    said = report.check(tmp_path)
    assert not said.ok
    assert "l.txt: the files have more than 60 bytes together" in str(said)
