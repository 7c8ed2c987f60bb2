"""What the service asks of the core: a partition as a machine that is fed batches."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from engine.core.effects import Effects

Source = dict[str, Any]


class RuleSets(Protocol):
    """Where rule sets are fetched from (`engine.service.rule_sets.RuleLibrary`), so that a partition finds them."""

    async def fetch(self, ruleset: str) -> object | None:
        """Have the rule set of a hash at hand; None where nobody knows it. Raises `StoreUnavailable`."""


class ModelShelf(Protocol):
    """Where fraud models come from and go to (`engine.service.model_library.ModelLibrary`)."""

    async def fetch(self, model: str) -> object | None:
        """Have the snapshot of a hash at hand; None where nobody knows it. Raises `StoreUnavailable`."""

    async def add(self, shard: int, snapshots: Sequence[bytes]) -> None:
        """Archive what a shard has published. Raises `StoreUnavailable`."""


class PartitionMachine(Protocol):
    """The deterministic state machine of one shard (`engine.core.partition.Partition`); no I/O, no clock.

    `probe` is told the name of each stage of `apply` as it ends.
    """

    probe: Callable[[str], None]

    @property
    def ruleset_hash(self) -> str:
        """Content hash of the rule set in force."""

    @property
    def waiting(self) -> int | None:
        """Event time the shard has come to, where timers wait for it to go on; None where none do."""

    def spread(self, shards: int) -> None:
        """There are so many shards, which share entities: said before anything else, where there are several."""

    def home(self, key: bytes) -> int | None:
        """The shard that holds a state key which `missing` or `load` named; None for this one."""

    def named(self, decoded: Any) -> list[str]:
        """Hashes of the rule sets that a batch puts in force."""

    def layout_for(self, agreed: bytes | None, rulesets: Sequence[str], head_state: dict[bytes, bytes]) -> bytes | None:
        """What shards should agree on for rule sets, or for that of a head where none is named; None for nothing."""

    def take_layout(self, layout: bytes) -> None:
        """What they have agreed on."""

    def in_force(self, head_state: dict[bytes, bytes]) -> str | None:
        """Hash of the rule set that `restore` will ask for; None where it needs none but its own."""

    def restore(self, head_state: dict[bytes, bytes]) -> None:
        """Start over from the small state of the shard, as the store holds it; `{}` for a new one."""

    def decode(self, records: Sequence[bytes | None], offsets: Sequence[int] = ()) -> Any:
        """Turn raw events, at `offsets` of the log, into columns and rejects. Changes nothing."""

    def unknown(self, decoded: Any) -> list[str]:
        """Hashes of the rule sets that a batch names and that are not at hand; to be fetched before `missing`."""

    def unknown_models(self, decoded: Any) -> list[str]:
        """Likewise, hashes of the snapshots of fraud models."""

    def missing(self, decoded: Any) -> list[bytes]:
        """State keys that must be loaded before `apply`. Adopts the control events of the batch."""

    def load(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> list[bytes]:
        """Take the values of `missing`, in the same order. Returns what is missing now, as those values show.

        Raises `engine.features.sharing.UnknownTouches`: another layout has been agreed on since; and
        `engine.core.admission.TornState`: what is stored is not all of one moment.
        """

    def apply(self, decoded: Any, source: Callable[[int], Source], explain: frozenset[int] = frozenset()) -> Effects:
        """Process a batch.

        `source(index)` is where the record came from, for dead letters; `explain` names the records whose decisions
        are to be explained.
        """

    def evict(self) -> None:
        """Bound what is held in memory; only between a commit and the next batch."""
