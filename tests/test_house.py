"""The house itself: import rules, build files, containers, pins and links are what the documents say."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from engine import resources

ROOT = Path(__file__).resolve().parents[1]
PURE = ("domain", "features", "ruleset", "scoring", "engagement", "core")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def lock() -> dict[str, Requirement]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    parsed = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(requirement.name): requirement for requirement in parsed}


def pins() -> list[Requirement]:
    table = project()["project"]
    lines = [*table["dependencies"], *(line for group in table["optional-dependencies"].values() for line in group)]
    return [requirement for line in lines if (requirement := Requirement(line)).name != "paysteward"]


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


def test_import_contracts_hold() -> None:
    script = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_nothing_is_unpickled_or_evaluated() -> None:
    forbidden = re.compile(
        r"^\s*(?:import|from) (?:pickle|marshal|shelve|dill)\b|(?<![\w.])(?:eval|exec)\(", re.MULTILINE
    )
    sources = sorted((ROOT / "engine").rglob("*.py"))
    assert len(sources) > 20
    assert [source.name for source in sources if forbidden.search(source.read_text())] == []


def test_import_contracts_name_every_pure_room() -> None:
    contracts = {contract["id"]: contract for contract in project()["tool"]["importlinter"]["contracts"]}
    assert contracts["pure"]["source_modules"] == [f"engine.{room}" for room in PURE]
    assert {"asyncio", "os", "random", "time", "redis", "faust", "aiohttp"} <= set(
        contracts["pure"]["forbidden_modules"]
    )
    assert contracts["layers"]["exhaustive"] is True


def test_every_direct_dependency_is_pinned_as_the_lock_has_it() -> None:
    locked = lock()
    for requirement in pins():
        assert re.fullmatch(r"==[^*]+", str(requirement.specifier)), requirement
        assert locked[canonicalize_name(requirement.name)].specifier == requirement.specifier, requirement


def test_the_lock_holds_everything_that_is_pulled_in() -> None:
    locked = lock()
    assert list(locked) == sorted(locked)
    for name, requirement in locked.items():
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        assert importlib.metadata.version(name) in requirement.specifier, name
        for line in importlib.metadata.requires(name) or []:
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                assert canonicalize_name(needed.name) in locked, f"{name} needs {needed}"


def test_declared_pythons() -> None:
    table = project()["project"]
    assert table["requires-python"] == ">=3.11,<3.15"
    declared = [line.rsplit(" ", 1)[1] for line in table["classifiers"] if re.search(r":: 3\.\d+$", line)]
    assert declared == ["3.11", "3.12", "3.13", "3.14"]
    assert table["scripts"] == {"steward": "engine.cli:main"}


@pytest.mark.parametrize("target", ["demo", "test", "lint", "bench", "setup", "wheel", "clean"])
def test_make_targets_exist(target: str) -> None:
    ended = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr


def test_ci_runs_the_commands_of_the_readme() -> None:
    script = (ROOT / ".ci/run").read_text()
    assert "make lint" in script
    assert script.rstrip().endswith("make test")


def test_every_benchmark_can_be_asked_for() -> None:
    from load_tests.__main__ import benchmarks, main

    for name, command in benchmarks().items():
        asked = subprocess.run([*command, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert asked.returncode == 0, f"{name}: {asked.stderr}"
        assert name == "reference_job" or "--out" in asked.stdout, f"{name} saves nothing"
    assert main(["no such benchmark"]) == 2


def test_shell_scripts_parse() -> None:
    scripts = [ROOT / ".ci/run", *sorted((ROOT / "scripts").glob("*.sh"))]
    assert len(scripts) >= 2
    for script in scripts:
        ended = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == 0, ended.stderr
        assert script.stat().st_mode & 0o111, f"{script} is not executable"


def test_compose_redis_keeps_what_it_is_given() -> None:
    command = compose()["services"]["redis"]["command"]
    assert command[command.index("--appendonly") + 1] == "yes"
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"


def test_compose_services_wait_for_each_other_and_are_watched() -> None:
    described = compose()
    services = described["services"]
    assert set(services) == {"redis", "kafka", "worker", "api"}
    for name, service in services.items():
        assert service["healthcheck"]["test"], name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
    for name in ("worker", "api"):
        waits = services[name]["depends_on"]
        assert {waited: how["condition"] for waited, how in waits.items()} == dict.fromkeys(
            ("redis", "kafka"), "service_healthy"
        )
    mounted = {volume.split(":")[0] for service in services.values() for volume in service.get("volumes", ())}
    assert mounted == set(described["volumes"])
    assert services["kafka"]["environment"]["KAFKA_PROCESS_ROLES"] == "broker,controller"


def test_compose_settings_are_settings() -> None:
    from engine.config import load

    environment = compose()["services"]["worker"]["environment"]
    assert environment["STEWARD_API_KEYS"] == "${STEWARD_API_KEYS:-}"
    settings = load({**environment, "STEWARD_API_KEYS": "admin:12345678"})
    assert settings.warnings == ()
    assert settings.redis.url == "redis://redis:6379/0"


def test_image_runs_as_nobody_and_copies_what_the_wheel_needs() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert "USER 10001" in lines
    assert lines.index("USER 10001") > max(i for i, line in enumerate(lines) if line.startswith("RUN"))
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {word for line in lines if line.startswith("COPY") and "--from" not in line for word in line.split()[1:-1]}
    assert copied == kept
    included = project()["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert set(included) <= copied


def test_shipped_rules_and_schemas_are_found() -> None:
    assert resources.rules_directory() == ROOT / "rules"
    assert resources.schemas_directory() == ROOT / "schemas"


def test_an_installation_without_a_checkout_finds_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "engine"
    monkeypatch.setattr(resources, "_PACKAGE", package)
    with pytest.raises(FileNotFoundError, match="no rules found"):
        resources.rules_directory()
    packaged = package / "_data" / "rules"
    packaged.mkdir(parents=True)
    (packaged / "a.yaml").touch()
    assert resources.rules_directory() == packaged


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_resolve(document: Path) -> None:
    text = document.read_text()
    assert text.startswith("# ")
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        if "://" not in target and not target.startswith("#"):
            assert (document.parent / target.split("#")[0]).exists(), f"{document.name} links to {target}"


def test_decisions_are_all_listed() -> None:
    listed = set(re.findall(r"\((\d{4}-[a-z-]+\.md)\)", (ROOT / "docs/adr/README.md").read_text()))
    assert listed == {path.name for path in (ROOT / "docs/adr").glob("0*.md")}
