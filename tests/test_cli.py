"""The command line: exit codes, one clear line where something is unusable, and a cheap `--help`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine import __version__, cli
from engine.commands import config, gen, version


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("STEWARD_")]:
        monkeypatch.delenv(name)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["version"]) == 0
    told = capsys.readouterr()
    assert told.out.startswith(f"steward {__version__} ")
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr() == told


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(
        f"    {name}" in [line.rstrip() for line in out.splitlines()] or f"    {name} " in out for name in cli.COMMANDS
    )


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([name, "--help"]) == 0
    assert f"steward {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["gen", "--events", "-1"],
        ["gen", "--events", "many"],
        ["gen", "--fraud-rate", "2"],
        ["gen", "--labels", "/nowhere/labels.csv"],
        ["replay"],
        ["replay", "x.ndjson", "--rules", "/nowhere"],
        ["replay", "x.ndjson", "--batch-size", "0"],
        ["rules", "check", "/nowhere"],
        ["config", "--config", "/nowhere/steward.toml"],
        ["worker", "--kafka", "http://host"],
    ],
)
def test_unusable_arguments_are_one_line_and_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err


def test_unusable_settings_are_one_line_each(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEWARD_REDIS", "nowhere")
    monkeypatch.setenv("STEWARD_BATCH_EVENTS_MAX", "0")
    assert cli.main(["config"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["STEWARD_BATCH_EVENTS_MAX", "STEWARD_REDIS"]


def test_config_shows_origin_and_masks(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEWARD_REDIS", "redis://u:hunter2@h:1/0")
    Path("steward.toml").write_text("[log]\nlevel = 'error'\n")
    assert cli.main(["config"]) == 0
    out = capsys.readouterr().out
    assert "redis://u:***@h:1/0" in out
    assert "hunter2" not in out
    assert "steward.toml:2" in out
    assert cli.main(["config", "--json"]) == 0
    assert '"origin": "environment STEWARD_REDIS"' in capsys.readouterr().out


def test_a_fault_is_one_line_and_code_1(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(args: object) -> int:
        raise RuntimeError("card 4111 1111 1111 1111\nrefused")

    monkeypatch.setattr(version, "run", fail)
    assert cli.main(["version"]) == 1
    err = capsys.readouterr().err
    assert err == "steward version: RuntimeError: card 411111******1111 refused (--debug shows where)\n"
    with pytest.raises(RuntimeError):
        cli.main(["--debug", "version"])
    with pytest.raises(RuntimeError):
        cli.main(["version", "--debug"])


def test_interrupted_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(args: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(config, "run", interrupt)
    assert cli.main(["config"]) == 130


def test_gen_writes_the_generator_s_stream(capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path) -> None:
    from engine.generator.stream import Settings, generate

    labels = tmp_path / "labels.csv"
    assert cli.main(["gen", "--events", "50", "--seed", "3", "--customers", "20", "--labels", str(labels)]) == 0
    assert capfdbinary.readouterr().out == b"".join(generate(50, Settings(seed=3, customers=20)))
    assert labels.read_text().startswith("payment_id,label,pattern\n")
    assert gen.SUMMARY


def test_a_reader_that_goes_away_is_not_a_fault() -> None:
    script = f"{sys.executable} -m engine.cli gen --events 200000 | head -n 1; echo ${{PIPESTATUS[0]}}"
    root = Path(cli.__file__).parents[1]
    ended = subprocess.run(["bash", "-c", script], cwd=root, capture_output=True, text=True, timeout=120, check=True)
    assert ended.stdout.splitlines()[-1] == "0"
    assert ended.stderr == ""


def test_help_loads_nothing_heavy() -> None:
    heavy = ("numba", "numpy", "faust", "aiohttp", "redis", "msgspec", "rich", "yaml", "asyncio")
    script = (
        "import sys; from engine.cli import main; main(['--help']); print(sorted(set(sys.modules) & set(sys.argv[1:])))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, *heavy], capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout.splitlines()[-1] == "[]"
