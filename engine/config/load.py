"""Reading the settings: environment over `steward.toml` over defaults, every fault at once and one line each."""

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.config.entries import ENTRIES, GROUPS, Entry
from engine.config.settings import Settings
from engine.domain.durations import format_duration
from engine.domain.webhooks import parse_endpoint

CONFIG_FILE: Final = "steward.toml"
CONFIG_VARIABLE: Final = "STEWARD_CONFIG"
_HEADER: Final = re.compile(r"\s*\[\s*([A-Za-z0-9_.-]+)\s*\]")
_KEY: Final = re.compile(r"\s*([A-Za-z0-9_.-]+)\s*=")
_SHOWN_MAX: Final = 60


class ConfigError(Exception):
    """The settings cannot be used. `problems` has one line for each fault: where it is, and what is allowed there."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def load(environment: Mapping[str, str], file: Path | None = None) -> Settings:
    """The settings in force.

    Args:
        environment: usually `os.environ`; only `STEWARD_*` is looked at.
        file: the TOML file; by default the one `STEWARD_CONFIG` names, else `steward.toml` here if there is one.

    Raises:
        ConfigError: with every fault found, not only the first.
    """
    problems: list[str] = []
    warnings: list[str] = []
    values: dict[str, Any] = {name: entry.default for name, entry in ENTRIES.items()}
    origins = dict.fromkeys(values, "default")
    _read_file(_choose_file(environment, file, problems), values, origins, problems)
    _read_environment(environment, values, origins, problems, warnings)
    if not problems:
        _check_together(values, origins, problems, warnings)
    if problems:
        raise ConfigError(problems)
    groups = {
        group: cls(**{entry.attribute: values[name] for name, entry in ENTRIES.items() if entry.group == group})
        for group, cls in GROUPS.items()
    }
    return replace(Settings(**groups), origins=origins, warnings=tuple(warnings))


def _choose_file(environment: Mapping[str, str], file: Path | None, problems: list[str]) -> Path | None:
    named = file or (Path(environment[CONFIG_VARIABLE]) if environment.get(CONFIG_VARIABLE) else None)
    chosen = named or Path(CONFIG_FILE)
    if chosen.is_file():
        return chosen
    if named is not None:
        problems.append(f"{named}: there is no such file")
    return None


def _read_file(file: Path | None, values: dict[str, Any], origins: dict[str, str], problems: list[str]) -> None:
    if file is None:
        return
    try:
        text = file.read_text(encoding="utf-8")
        tables = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        problems.append(f"{file}: {error}")
        return
    lines = _key_lines(text)
    for group, table in tables.items():
        if not isinstance(table, dict):
            problems.append(f"{_place(file, lines, group)}: {group}: settings stand in tables{_suggest(group, GROUPS)}")
            continue
        for key, raw in _with_endpoints(file, lines, group, table, problems).items():
            name = f"{group}.{key}"
            place = _place(file, lines, name)
            entry = ENTRIES.get(name)
            if entry is None:
                problems.append(f"{place}: {name}: no such setting{_suggest(name, ENTRIES)}")
            else:
                _take(entry, raw, place, f"{place}: {name}", values, origins, problems)


def _with_endpoints(
    file: Path, lines: Mapping[str, int], group: str, table: dict[str, Any], problems: list[str]
) -> dict[str, Any]:
    """The tables `[webhooks.NAME]` as the one setting they stand for; any other group as it is."""
    if group != "webhooks":
        return table
    tables = {name: raw for name, raw in table.items() if isinstance(raw, dict)}
    for name, raw in tables.items():
        try:
            parse_endpoint(name, raw)
        except ValueError as error:
            problems.append(f"{_place(file, lines, f'webhooks.{name}')}: webhooks.{name}: {error}")
    rest = {key: raw for key, raw in table.items() if key not in tables}
    if not tables or problems:
        return rest
    return {**rest, "endpoints": msgspec.json.encode(tables).decode()}


def _read_environment(
    environment: Mapping[str, str],
    values: dict[str, Any],
    origins: dict[str, str],
    problems: list[str],
    warnings: list[str],
) -> None:
    by_variable = {entry.spec.env: entry for entry in ENTRIES.values()}
    for variable, raw in sorted(environment.items()):
        if not variable.startswith("STEWARD_") or variable == CONFIG_VARIABLE:
            continue
        entry = by_variable.get(variable)
        if entry is not None:
            _take(entry, raw, f"environment {variable}", variable, values, origins, problems)
        else:
            # Not an error: orchestrators set variables of their own, such as STEWARD_SERVICE_HOST.
            warnings.append(f"{variable}: no such setting{_suggest(variable, by_variable)}; it is ignored")


def _take(
    entry: Entry,
    raw: object,
    origin: str,
    where: str,
    values: dict[str, Any],
    origins: dict[str, str],
    problems: list[str],
) -> None:
    kind = entry.spec.kind
    try:
        values[entry.name] = kind.parse(_as_text(raw, kind.native))
        origins[entry.name] = origin
    except ValueError:
        shown = "the value given" if kind.mask else repr(raw)
        shown = shown if len(shown) <= _SHOWN_MAX else shown[:_SHOWN_MAX] + "…"
        problems.append(f"{where}: {shown} is not allowed: {kind.allowed}")


def _as_text(raw: object, native: tuple[type, ...]) -> str:
    if isinstance(raw, str):
        return raw
    if isinstance(raw, bool):
        if bool in native:
            return "true" if raw else "false"
    elif isinstance(raw, native):
        return str(raw)
    raise ValueError("wrong type")


def _check_together(
    values: Mapping[str, Any], origins: Mapping[str, str], problems: list[str], warnings: list[str]
) -> None:
    if values["kafka.heartbeat"] * 3 > values["kafka.session_timeout"]:
        timeout = format_duration(values["kafka.session_timeout"])
        problems.append(
            f"kafka.heartbeat ({origins['kafka.heartbeat']}): more than a third of kafka.session_timeout, {timeout}"
        )
    if values["state.allowed_lateness"] > values["state.dedupe_horizon"]:
        problems.append(
            f"state.allowed_lateness ({origins['state.allowed_lateness']}): longer than state.dedupe_horizon, so that "
            "repeats of late events would count again"
        )
    topics = [value for name, value in values.items() if name.startswith("topics.") and name != "topics.create"]
    if len(set(topics)) != len(topics):
        problems.append("topics: two topics have the same name")
    host = values["http.address"].rsplit(":", 1)[0]
    if not values["http.api_keys"] and host not in ("127.0.0.1", "localhost", "[::1]"):
        warnings.append(f"http.address: {host} can be reached from elsewhere and no api_keys are set: anyone may call")


def _key_lines(text: str) -> dict[str, int]:
    """The line of each `table.key` and each table, by a look at the text; TOML's own parser keeps no positions."""
    lines: dict[str, int] = {}
    table = ""
    for line_number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = header[1]
            lines.setdefault(table, line_number)
        elif key := _KEY.match(line):
            lines.setdefault(f"{table}.{key[1]}" if table else key[1], line_number)
    return lines


def _place(file: Path, lines: Mapping[str, int], name: str) -> str:
    return f"{file}:{lines[name]}" if name in lines else str(file)


def _suggest(name: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    return f" (did you mean {close[0]}?)" if close else ""
