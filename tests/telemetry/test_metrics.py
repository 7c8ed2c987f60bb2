"""Metrics: what a batch adds, that labels are bounded, and the port they are shown on."""

import socket
from dataclasses import dataclass, field
from urllib.request import urlopen

import pytest

from engine.core.effects import Effects, Learning, Output
from engine.domain.reasons import MEANINGS, NOT_JSON
from engine.telemetry.exposition import expose
from engine.telemetry.metrics import STAGES, Metrics


@dataclass
class Batch:
    shard: int = 0
    records: int = 6
    decode_s: float = 0.002
    load_s: float = 0.001
    apply_s: float = 0.004
    commit_s: float = 0.003
    effects: Effects = field(
        default_factory=lambda: Effects(
            ops=b"x" * 1000,
            outputs=[
                Output("decision", b"c", "dec_1", 0, b"{}"),
                Output("decision", b"c", "dec_2", 0, b"{}"),
                Output("alert", b"c", "alr_1", 0, b'{"alert_id":"alr_1","kind":"fraud"}'),
                Output("dead_letter", b"", "dea_1", 0, b'{"reason":"not_json","detail":"x"}'),
                Output("dead_letter", b"", "dea_2", 0, b'{"reason":"never heard of"}'),
            ],
            duplicates=[2],
            accepted=3,
            late=1,
            dead_lettered=2,
            outcomes={"approve": 1, "decline": 1},
            control=1,
            refused={"not_enough": 2, "never heard of": 1},
        )
    )


def sample(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_a_batch_is_counted() -> None:
    metrics = Metrics()
    metrics.batch(Batch())
    assert sample(metrics, "steward_events_total", result="accepted") == 3
    assert sample(metrics, "steward_events_total", result="duplicate") == 1
    assert sample(metrics, "steward_events_total", result="dead_lettered") == 2
    assert sample(metrics, "steward_late_events_total") == 1
    assert sample(metrics, "steward_decisions_total", decision="decline") == 1
    assert sample(metrics, "steward_control_sample_total") == 1
    assert sample(metrics, "steward_alerts_total", kind="fraud") == 1
    assert sample(metrics, "steward_redemptions_refused_total", reason="not_enough") == 2
    assert sample(metrics, "steward_redemptions_refused_total", reason="other") == 1
    assert sample(metrics, "steward_dead_letters_total", reason=NOT_JSON) == 1
    assert sample(metrics, "steward_dead_letters_total", reason="other") == 1
    assert sample(metrics, "steward_outputs_total", kind="decision") == 2
    assert sample(metrics, "steward_batch_events_sum") == 6
    assert sample(metrics, "steward_commit_bytes_sum") == 1000
    assert sample(metrics, "steward_stage_seconds_sum", stage="apply") == pytest.approx(0.004)
    assert sample(metrics, "steward_stage_seconds_sum", stage="total") == pytest.approx(0.010)


def test_no_event_makes_a_new_series() -> None:
    metrics = Metrics()
    batch = Batch()
    metrics.batch(batch)
    before = metrics.render().count(b"\nsteward_")
    batch.effects.outcomes = {"surprise": 1}
    batch.effects.outputs = [Output("dead_letter", b"", "", 0, b'{"reason":"%d"}' % n) for n in range(50)]
    metrics.batch(batch)
    assert metrics.render().count(b"\nsteward_") == before
    assert sample(metrics, "steward_decisions_total", decision="other") == 1


def test_hits_are_counted_by_rule_up_to_a_bound(monkeypatch) -> None:
    monkeypatch.setattr("engine.telemetry.metrics.RULE_SERIES_MAX", 3)
    metrics, batch = Metrics(), Batch()
    batch.effects.hits = {("a", "live"): 2, ("a", "shadow"): 1}
    batch.effects.observed = {"o": 4}
    metrics.batch(batch)
    batch.effects.hits = {("a", "live"): 3, ("b", "live"): 5, ("c", "live"): 7}
    metrics.batch(batch)
    found = {(rule, mode): sample(metrics, "steward_rule_hits_total", rule=rule, mode=mode) for rule, mode in [
        ("a", "live"), ("a", "shadow"), ("o", "observer"), ("other", "live"), ("b", "live"), ("c", "live"),
    ]}  # fmt: skip
    assert list(found.values()) == [5, 1, 8, 12, None, None]


def test_the_rule_sets_in_force_and_reloads() -> None:
    metrics = Metrics()
    metrics.rulesets({0: "ab", 1: "ab"})
    metrics.rulesets({1: "cd"})
    metrics.reload("loaded")
    assert sample(metrics, "steward_ruleset_info", shard="1", ruleset="cd") == 1
    assert sample(metrics, "steward_ruleset_info", shard="1", ruleset="ab") is None
    assert sample(metrics, "steward_ruleset_info", shard="0", ruleset="ab") is None
    assert sample(metrics, "steward_rules_reloads_total", result="loaded") == 1


def test_labels_and_the_fraud_model_of_a_shard() -> None:
    metrics, batch = Metrics(), Batch()
    batch.effects.labels = {"fraud": 2, "matured": 40}
    batch.effects.learning = Learning("gbt1-none", 12, None, 0)
    metrics.batch(batch)
    batch.effects.learning = Learning("gbt1-ab", 14, 90_000, 1)
    metrics.batch(batch)
    assert sample(metrics, "steward_labels_total", result="matured") == 80
    assert sample(metrics, "steward_labels_total", result="unknown") == 0
    shard = str(batch.shard)
    assert sample(metrics, "steward_fraud_model_info", shard=shard, version="gbt1-ab") == 1
    assert sample(metrics, "steward_fraud_model_info", shard=shard, version="gbt1-none") is None
    assert sample(metrics, "steward_fraud_model_rows", shard=shard) == 14
    assert sample(metrics, "steward_fraud_model_age_seconds", shard=shard) == 90
    assert sample(metrics, "steward_fraud_model_damaged", shard=shard) == 1


def test_every_reason_and_stage_is_there_from_the_start() -> None:
    text = Metrics().render().decode()
    assert all(f'steward_dead_letters_total{{reason="{reason}"}} 0.0' in text for reason in MEANINGS)
    assert all(f'steward_stage_seconds_count{{stage="{stage}"}} 0.0' in text for stage in STAGES)
    assert "process_resident_memory_bytes" in text


def test_gauges_and_counters_of_the_process() -> None:
    metrics = Metrics()
    metrics.lag({0: 10, 1: 20})
    metrics.lag({1: 5})
    assert sample(metrics, "steward_lag_events", partition="0") is None
    assert sample(metrics, "steward_lag_events", partition="1") == 5
    metrics.fenced()
    metrics.cache("features", 7, 4096)
    metrics.outbox(0, 3)
    metrics.outage("redis")
    metrics.sync("decided", 0.001)
    metrics.stage("relay", 0.25)
    assert sample(metrics, "steward_fenced_total") == 1
    assert sample(metrics, "steward_cache_entities", cache="features") == 7
    assert sample(metrics, "steward_cache_bytes", cache="features") == 4096
    assert sample(metrics, "steward_outbox_entries", shard="0") == 3
    assert sample(metrics, "steward_outages_total", service="redis") == 1
    assert sample(metrics, "steward_sync_seconds_count", result="decided") == 1
    assert sample(metrics, "steward_stage_seconds_sum", stage="relay") == 0.25


def test_shown_on_a_port_and_a_taken_one_is_not_an_error() -> None:
    metrics = Metrics()
    metrics.fenced()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        exposition = expose(metrics, f"127.0.0.1:{taken.getsockname()[1]}")
        try:
            assert exposition.port != taken.getsockname()[1]
            with urlopen(exposition.url, timeout=10) as answer:
                assert b"steward_fenced_total 1.0" in answer.read()
        finally:
            exposition.close()
    with pytest.raises(OSError, match="refused"):
        urlopen(exposition.url, timeout=10)


def test_a_host_that_is_not_ours_is_an_error() -> None:
    with pytest.raises(OSError, match="assign requested address"):
        expose(Metrics(), "192.0.2.1:0")
