"""Settings: precedence, origins, bounds, masking, and errors that say where and what is allowed."""

import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import ApiKey, ConfigError, Settings, load, mask_url
from engine.config.entries import ENTRIES
from engine.config.show import rows, table
from engine.domain.durations import UNITS_MS, format_duration, parse_duration


def problems(environment: dict[str, str], file: Path | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(environment, file)
    return caught.value.problems


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_defaults_are_the_contract_s() -> None:
    settings = load({})
    assert settings == Settings()
    assert settings.redis.url == settings.kafka.url == "embedded"
    assert settings.risk.label_maturity_ms == 8 * 86_400_000
    assert settings.state.dedupe_horizon_ms == 7 * 86_400_000
    assert settings.state.allowed_lateness_ms == 3_600_000
    assert settings.topics.events == "payments.events"
    assert settings.topics.dead_letters == "steward.dead-letters"
    assert settings.money.base_currency == "EUR"
    assert settings.rules.directory is None
    assert settings.http.api_keys == ()
    assert set(settings.origins.values()) == {"default"}


def test_environment_over_file_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "steward.toml"
    file.write_text('# ours\n[batch]\nevents_max = 100\nbytes_max = "2MiB"\n\n[log]\nlevel = "debug"\n')
    settings = load({"STEWARD_BATCH_EVENTS_MAX": "7"})
    assert (settings.batch.events_max, settings.batch.bytes_max, settings.log.level) == (7, 2 << 20, "debug")
    assert settings.origins["batch.events_max"] == "environment STEWARD_BATCH_EVENTS_MAX"
    assert settings.origins["batch.bytes_max"] == "steward.toml:4"
    assert settings.origins["log.level"] == "steward.toml:7"
    assert settings.origins["log.format"] == "default"


def test_names_of_the_contract() -> None:
    variables = {entry.spec.env: entry.name for entry in ENTRIES.values()}
    assert len(variables) == len(ENTRIES)
    for variable, name in {
        "STEWARD_REDIS": "redis.url",
        "STEWARD_KAFKA": "kafka.url",
        "STEWARD_RULES": "rules.directory",
        "STEWARD_HTTP": "http.address",
        "STEWARD_RATES": "money.rates",
        "STEWARD_API_KEYS": "http.api_keys",
        "STEWARD_LABEL_MATURITY": "risk.label_maturity",
    }.items():
        assert variables[variable] == name


@pytest.mark.parametrize(
    ("variable", "raw", "allowed"),
    [
        ("STEWARD_BATCH_EVENTS_MAX", "0", "from 1 to 20000"),
        ("STEWARD_BATCH_EVENTS_MAX", "many", "a whole number"),
        ("STEWARD_BATCH_BYTES_MAX", "1KiB", "from 64KiB to 64MiB"),
        ("STEWARD_LABEL_MATURITY", "8", "ms, s, m, h, d or w"),
        ("STEWARD_LABEL_MATURITY", "9999d", "from 1h to 400d"),
        ("STEWARD_RISK_ANOMALY_WEIGHT", "nan", "from 0 to 1"),
        ("STEWARD_REDIS", "http://h", "redis://host:port/0"),
        ("STEWARD_KAFKA", "kafka://h", "kafka://host:port"),
        ("STEWARD_KAFKA", "kafka://h:1,h:99999", "kafka://host:port"),
        ("STEWARD_HTTP", "8080", "host:port"),
        ("STEWARD_LOG_LEVEL", "loud", "debug, info, warning, error"),
        ("STEWARD_TOPICS_CREATE", "maybe", "true or false"),
        ("STEWARD_BASE_CURRENCY", "eur", "ISO 4217"),
        ("STEWARD_API_KEYS", "root:12345678", "gateway, analyst, admin"),
        ("STEWARD_API_KEYS", "admin:short", "8 characters"),
        ("STEWARD_API_KEYS", "admin:12345678,gateway:12345678", "each key once"),
        ("STEWARD_REDIS_PREFIX", "a b", "letters, digits"),
    ],
)
def test_one_line_says_which_variable_and_what_is_allowed(variable: str, raw: str, allowed: str) -> None:
    (line,) = problems({variable: raw})
    assert line.startswith(f"{variable}: ")
    assert allowed in line
    assert "\n" not in line


def test_a_refused_secret_is_not_repeated() -> None:
    lines = problems({"STEWARD_API_KEYS": "root:hunter2hunter2", "STEWARD_REDIS": "redjs://u:hunter2@h"})
    assert len(lines) == 2
    assert "hunter2" not in "\n".join(lines)


def test_every_fault_of_a_file_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[batch]\nevents_max = true\nevent_max = 5\n[batches]\nx = 1\n[log]\nlevel = 3\n")
    assert problems({}, file) == [
        f"{file}:2: batch.events_max: True is not allowed: a whole number from 1 to 20000",
        f"{file}:3: batch.event_max: no such setting (did you mean batch.events_max?)",
        f"{file}:5: batches.x: no such setting",
        f"{file}:7: log.level: 3 is not allowed: one of debug, info, warning, error",
    ]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    missing = tmp_path / "none.toml"
    assert problems({"STEWARD_CONFIG": str(missing)}) == [f"{missing}: there is no such file"]
    broken = tmp_path / "broken.toml"
    broken.write_text("[batch\n")
    (line,) = problems({}, broken)
    assert line.startswith(f"{broken}: ")
    assert "line 1" in line
    flat = tmp_path / "flat.toml"
    flat.write_text("\nredis = 'embedded'\n")
    (line,) = problems({}, flat)
    assert line.startswith(f"{flat}:2: redis: settings stand in tables")


def test_settings_that_do_not_fit_each_other() -> None:
    lines = problems(
        {
            "STEWARD_KAFKA_HEARTBEAT": "9s",
            "STEWARD_STATE_ALLOWED_LATENESS": "2d",
            "STEWARD_STATE_DEDUPE_HORIZON": "1d",
            "STEWARD_TOPICS_ALERTS": "payments.events",
        }
    )
    assert [line.split(" ")[0] for line in lines] == ["kafka.heartbeat", "state.allowed_lateness", "topics:"]


def test_what_is_legal_but_odd_is_a_warning() -> None:
    settings = load({"STEWARD_HTTP": "0.0.0.0:80", "STEWARD_KAFKKA": "none", "STEWARD_SERVICE_HOST": "10.0.0.1"})
    assert settings.kafka.url == "embedded"
    assert len(settings.warnings) == 3
    assert "did you mean STEWARD_KAFKA?" in settings.warnings[0]
    assert "anyone may call" in settings.warnings[2]
    keyed = load({"STEWARD_HTTP": "0.0.0.0:80", "STEWARD_API_KEYS": "admin:12345678"})
    assert keyed.warnings == ()


def test_what_is_printed_has_no_secrets() -> None:
    settings = load(
        {
            "STEWARD_REDIS": "redis://app:hunter2@store:6379/0",
            "STEWARD_KAFKA": "kafka://app:hunter2@one:9092,two:9092",
            "STEWARD_API_KEYS": "gateway:hunter2hunter2,admin:hunter2hunter3",
        }
    )
    assert settings.http.api_keys == (ApiKey("gateway", "hunter2hunter2"), ApiKey("admin", "hunter2hunter3"))
    shown = {row["name"]: row["value"] for row in rows(settings)}
    assert shown["redis.url"] == "redis://app:***@store:6379/0"
    assert shown["kafka.url"] == "kafka://app:***@one:9092,two:9092"
    assert shown["http.api_keys"] == "gateway:***,admin:***"
    assert "hunter2" not in table(settings) + str(rows(settings))


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("embedded", "embedded"),
        ("redis://h:1/0", "redis://h:1/0"),
        ("redis://:secret@h:1", "redis://:***@h:1"),
        ("redis://u:p:q@h", "redis://u:***@h"),
        ("redis://u:p/w@h", "redis://u:***@h"),
        ("redis://u:p@w@h", "redis://u:***@h"),
        ("unix:///run/r.sock?db=1&password=secret&x=1", "unix:///run/r.sock?db=1&password=***&x=1"),
    ],
)
def test_masking_an_address(url: str, masked: str) -> None:
    assert mask_url(url) == masked


@given(st.text(string.ascii_letters + string.digits + "._~-!$&()*+,;=:%@/?#", min_size=1))
def test_no_password_survives_masking(password: str) -> None:
    assert mask_url(f"redis://u:{password}@h:1/0") == "redis://u:***@h:1/0"


def test_every_default_reads_back_as_itself() -> None:
    for entry in ENTRIES.values():
        kind = entry.spec.kind
        assert kind.parse(kind.show(entry.default)) == entry.default, entry.name
        assert entry.spec.doc


def test_every_setting_is_in_the_table_once() -> None:
    lines = table(load({})).splitlines()
    assert [line.split()[0] for line in lines] == ["setting", *ENTRIES]


@given(st.integers(0, 10**9), st.sampled_from(sorted(UNITS_MS)))
def test_durations_read_back(count: int, unit: str) -> None:
    duration_ms = parse_duration(f"{count}{unit}")
    assert duration_ms == count * UNITS_MS[unit]
    assert parse_duration(format_duration(duration_ms)) == duration_ms


@pytest.mark.parametrize("text", ["", "5", "s", "-1s", "1.5h", "1 day", "1h30m", "١s", "1S", "1e3s"])
def test_durations_that_are_not(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


SECRET = "whsec_" + "b" * 43 + "="


def test_webhook_endpoints_are_tables_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "steward.toml"
    file.write_text(
        f'[webhooks]\ntimeout = "3s"\n\n[webhooks.crm]\nurl = "https://crm.example/hook"\nsecrets = ["{SECRET}"]\n'
        'kinds = ["alert", "decision"]\n\n[webhooks.ops]\nurl = "http://10.0.0.9/"\nprivate = true\n'
        f'secrets = ["{SECRET}", "{SECRET}"]\n'
    )
    settings = load({}, file)
    crm, ops = settings.webhooks.endpoints
    assert (crm.name, crm.url, crm.kinds, crm.private) == (
        "crm",
        "https://crm.example/hook",
        ("alert", "decision"),
        False,
    )
    assert (ops.name, ops.kinds, ops.private, len(ops.secrets)) == ("ops", ("alert",), True, 2)
    assert settings.webhooks.timeout_ms == 3_000
    shown = next(row["value"] for row in rows(settings) if row["name"] == "webhooks.endpoints")
    assert "whsec_***" in shown
    assert SECRET not in table(settings)
    kind = ENTRIES["webhooks.endpoints"].spec.kind
    given = load({"STEWARD_WEBHOOKS_ENDPOINTS": kind.show(settings.webhooks.endpoints)})
    assert given.webhooks.endpoints == settings.webhooks.endpoints


def test_a_wrong_webhook_endpoint_is_named_with_its_line_and_without_its_secret(tmp_path: Path) -> None:
    file = tmp_path / "steward.toml"
    file.write_text(
        '[log]\nlevel = "info"\n[webhooks.crm]\nurl = "https://169.254.169.254/"\n'
        f'secrets = ["{SECRET}"]\n[webhooks.ops]\nurl = "https://ops.example/"\nsecrets = ["hunter2"]\n'
    )
    crm, ops = problems({}, file)
    assert crm.startswith(f"{file}:3: webhooks.crm: 169.254.169.254 is in a private")
    assert ":6: webhooks.ops: a secret is whsec_" in ops
    assert "hunter2" not in ops
    file.unlink()
    (told,) = problems({"STEWARD_WEBHOOKS_ENDPOINTS": '{"crm": {"secrets": ["hunter2"]}}'})
    assert told.startswith("STEWARD_WEBHOOKS_ENDPOINTS: the value given is not allowed")
    assert "hunter2" not in told
