"""What is asked about one customer of a running engine or of its store."""

from typing import Any, Protocol


class UnknownCustomer(Exception):
    """Nothing is stored of a customer of that id."""

    def __init__(self, customer_id: str) -> None:
        super().__init__(f"nothing is stored of a customer {customer_id!r}")


class Customers(Protocol):
    """Every call raises `UnknownCustomer` where nothing is stored, and may raise `StoreUnavailable`. What is returned
    is JSON-ready."""

    async def profile(self, customer_id: str) -> dict[str, Any]:
        """Who they are and where they stand: profile, states, figures, balances, open offers."""

    async def features(self, customer_id: str, at_ms: int | None = None) -> dict[str, Any]:
        """The values of the features by customer, at a time; None: that of their latest event."""

    async def ledger(self, customer_id: str) -> dict[str, Any]:
        """Balances, and the lots they are made of."""

    async def payments(self, customer_id: str) -> dict[str, Any]:
        """Payments, sums by month, and the decisions whose outcome is still open or remembered."""

    async def export(self, customer_id: str) -> dict[str, Any]:
        """Everything that is held, the four above included."""

    async def erase(self, customer_id: str) -> dict[str, Any]:
        """Put an `account.erased` event onto the log; returns, once it is held safely, its id, what it erases and what
        stays and why, and the pseudonym for books kept elsewhere. May raise `LogUnavailable`."""
