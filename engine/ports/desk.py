"""What analysts ask of a running engine: its rules, its lists, snoozes, and backtests."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol


class NotThere(Exception):
    """There is no rule or list of that name; the text says so to a person."""


class Unusable(Exception):
    """The request cannot be followed as it is.

    Attributes:
        errors: where it is about rule files, each fault: `file`, `line`, `column`, `message`, `hint`.
    """

    def __init__(self, detail: str, errors: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(detail)
        self.errors = list(errors)


class ListChange(NamedTuple):
    """A change of a list: `values` replaces all of it, then `remove`, then `add`.

    Attributes:
        expires: until when `values` and `add` hold, as an event's time is written; `None` for ever.
    """

    values: Sequence[str] | None = None
    add: Sequence[str] = ()
    remove: Sequence[str] = ()
    expires: int | str | None = None


class BacktestOrder(NamedTuple):
    """What to compare.

    Attributes:
        events: JSON, one event each; `None` where `source` names a history.
        candidate: files of the rules as they might be, name to text.
        baseline: those as they are; `None` for the rule set in force.
        sweep: as the argument of `steward rules backtest --sweep`.
    """

    events: Sequence[bytes] | None
    source: str
    candidate: Mapping[str, str]
    baseline: Mapping[str, str] | None
    sweep: Sequence[str]


class Desk(Protocol):
    """Every call may raise `StoreUnavailable`; those that change something, `LogUnavailable` too."""

    def now_ms(self) -> int:
        """Wall time, from which durations count."""

    async def rules(self) -> dict[str, Any]:
        """The rule sets in force with their rules, by shard and by worker; JSON-ready."""

    async def lists(self) -> list[dict[str, Any]]:
        """Every list: its name and size; JSON-ready."""

    async def list_values(self, name: str, after: str, limit: int) -> dict[str, Any]:
        """A list and those of its values that sort after `after`, at most `limit`. Raises `NotThere`."""

    async def change_list(self, name: str, change: ListChange) -> list[str]:
        """Announce a change to every shard; ids of the events. Raises `Unusable`."""

    async def snooze(self, rule: str, entity: str, value: str, until: int | str | None) -> list[str]:
        """Set a rule aside for one entity until a time, `None` ends it; ids of the events.

        Raises `NotThere`, `Unusable`.
        """

    async def resolve(self, alert_id: str, resolution: str, customer_id: str, payment_id: str | None) -> list[str]:
        """Announce what an alert turned out to be: `fraud`, `legitimate` or `dismissed`; ids of the events."""

    async def backtest(self, order: BacktestOrder) -> bytes:
        """The report as JSON. Raises `Unusable`, `engine.ports.sync.Busy` where one is running."""


class Backtester(Protocol):
    """Runs one backtest to its end."""

    async def run(self, order: BacktestOrder, baseline: Mapping[str, str]) -> bytes:
        """The report as JSON. Raises `Unusable`."""
