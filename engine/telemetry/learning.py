"""What a process tells Prometheus about labels and the fraud models that learn from them."""

from collections.abc import Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

LABELS: Final = ("fraud", "legitimate", "matured", "repeated", "unknown")

CountedLearning = tuple[str, int, int | None, int]
"""`engine.core.effects.Learning`: version, labelled rows, age in ms of event time, parts that were damaged."""


class LearningMetrics:
    """Counters and gauges of one process, in its registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = Counter(
            "steward_labels", "Labels and matured payments, by what became of them", ["result"], registry=registry
        )
        self._labels = {name: labels.labels(name) for name in LABELS}
        self._versions: dict[str, str] = {}
        self._model = Gauge(
            "steward_fraud_model_info", "Always 1; the fraud model at work", ["shard", "version"], registry=registry
        )
        self._rows = Gauge(
            "steward_fraud_model_rows", "Labelled decisions held to learn from", ["shard"], registry=registry
        )
        self._age = Gauge(
            "steward_fraud_model_age_seconds", "Event time since the model was learned", ["shard"], registry=registry
        )
        self._damaged = Gauge(
            "steward_fraud_model_damaged", "Parts of the stored model that were put aside", ["shard"], registry=registry
        )

    def batch(self, shard: str, labels: Mapping[str, int], learning: CountedLearning | None) -> None:
        """Count one batch of a shard."""
        for result, count in labels.items():
            self._labels[result].inc(count)
        if learning is None:
            return
        version, rows, age_ms, damaged = learning
        before = self._versions.get(shard)
        if before != version:
            if before is not None:
                self._model.remove(shard, before)
            self._versions[shard] = version
            self._model.labels(shard, version).set(1)
        self._rows.labels(shard).set(rows)
        self._damaged.labels(shard).set(damaged)
        if age_ms is not None:
            self._age.labels(shard).set(age_ms / 1000)
