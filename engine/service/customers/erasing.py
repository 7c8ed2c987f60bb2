"""What an erasure takes and what it leaves, why and until when: told to whoever asks for one."""

import re
from typing import Any, Final, NamedTuple

from engine.core.customers import customer_key
from engine.core.rewards import account_key
from engine.core.settings import CoreSettings
from engine.domain.ops import KEY_CUSTOMER
from engine.domain.times import DAY_MS
from engine.engagement.customer.customer import Customer

ERASED: Final = (
    "profile, consent, answers to surveys, states",
    "payments, sums by month, habits, ranks",
    "open offers (withdrawn), counters of caps, measured effects, suspicions",
    "lots of the ledger: what was left of them is taken back, and entries say so",
    "features by the customer alone",
)
"""Gone with the event, where the rule set has campaigns; features in any case."""
PREFIX: Final = "erased-"
_PSEUDONYM: Final = re.compile(PREFIX + "[0-9a-f]{32}")


class Stays(NamedTuple):
    """Something that an erasure leaves."""

    what: str
    why: str
    until: str


def stays(core: CoreSettings) -> list[Stays]:
    """What an erasure leaves, hashes and numbers all of it but for the last."""
    admission, labels = core.admission, core.labels
    ids = f"{admission.dedupe_ms // DAY_MS} days, of payments {admission.payment_ms // DAY_MS}"
    cases = f"{max(labels.horizon_ms, labels.maturity_ms) // DAY_MS} days after each decision"
    return [
        Stays("hashes of event and payment ids", "a repeated event must not bring back what was erased", ids),
        Stays("cases of decisions: hashes, scores, inputs of models, no names", "a label of fraud may still come, and "
              "erasing an account must not hide it", cases),
        Stays("what devices, cards and pairs of a customer and something else remember, by hashes", "it is about them, "
              "and protects others", "the windows of their features"),
        Stays("business keys and debts of the ledger, under the digest of the id", "nothing is granted or refunded "
              "twice; what is owed is owed", "for ever"),
        Stays("events and ledger entries that were put out", "they are the books of whoever keeps them; the pseudonym "
              "may stand in place of the id", "as the law says that binds you"),
        Stays("the id in a timer that would have woken the customer", "it only wakes, and finds nothing", "it fires"),
    ]  # fmt: skip


def pseudonym(customer_id: str) -> str:
    """What may stand for the id in books kept elsewhere: the digest that the state has it under, for ever the same. The
    id does not follow from it but by trying ids."""
    return PREFIX + account_key(customer_id)[1:].hex()


def answer(customer_id: str, event_id: str, core: CoreSettings) -> dict[str, Any]:
    """To a demand for an erasure that the log holds."""
    return {"event_id": event_id, "pseudonym": pseudonym(customer_id), "erased": list(ERASED), "stays": left(core)}


def left(core: CoreSettings) -> list[dict[str, str]]:
    """The same as `stays`, JSON-ready."""
    return [one._asdict() for one in stays(core)]


def is_erased(customer: Customer) -> bool:
    """Whether a customer was erased, and their record has heard nothing since: it has seen time, and is new."""
    return customer.clock_ms > 0 and not customer.registered_ms


def keys_of(customer: str) -> tuple[bytes, bytes]:
    """State keys of account and record of a customer, by id or pseudonym."""
    if _PSEUDONYM.fullmatch(customer):
        account = KEY_CUSTOMER + bytes.fromhex(customer.removeprefix(PREFIX))
        return account, account + customer_key("").removeprefix(account_key(""))
    return account_key(customer), customer_key(customer)
