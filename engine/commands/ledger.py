"""`steward ledger`: the proof that every balance is the sum of its entries."""

import argparse
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from engine.commands.common import Unusable, lines_of, settings, settings_arguments, whole

if TYPE_CHECKING:
    from engine.config import Settings
    from engine.domain.outputs import Reward
    from engine.engagement.ledger.verify import Proof

NAME: Final = "steward ledger verify"
SUMMARY: Final = "prove that every balance is the sum of its entries"
FILE: Final = "rewards.ndjson"
PROVEN, DIFFERENT = 0, 1
SHOWN: Final = 20


def arguments(parser: argparse.ArgumentParser) -> None:
    """The verb, where the entries are, and whether a state is there to compare with."""
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    told = f"{SUMMARY}; exit code 0 proven, 1 differences found, 2 unusable input"
    verb = verbs.add_parser("verify", help=SUMMARY, description=told)
    settings_arguments(verb)
    verb.add_argument(
        "sources",
        nargs="*",
        metavar="FILE|DIR",
        help=f"{FILE}, an export of its topic, or what replay wrote (the topic)",
    )
    verb.add_argument("--kafka", metavar="URL", help="kafka://host:port[,host:port]")
    verb.add_argument("--redis", metavar="URL", help="compare with the balances of the state there (STEWARD_REDIS)")
    verb.add_argument("--no-state", action="store_true", help="do not, though one is configured")
    verb.add_argument("--limit", type=whole(1, 1_000_000), default=SHOWN, metavar="N", help="show so many differences")
    verb.add_argument("--json", action="store_true", help="the result as JSON")


def run(args: argparse.Namespace) -> int:
    """Add up, compare, tell."""
    loaded = settings(args, {"STEWARD_KAFKA": args.kafka, "STEWARD_REDIS": args.redis})
    from engine.engagement.ledger.verify import verify

    proof = verify(_entries(args.sources, loaded))
    against = not args.no_state and loaded.redis.url != "embedded"
    if against:
        _compare(proof, loaded)
    if args.json:
        print(json.dumps(_told(proof, against, args.limit), indent=2))
    else:
        _show(proof, against, args.limit)
    return PROVEN if proof else DIFFERENT


def _entries(sources: list[str], loaded: "Settings") -> "Iterator[Reward]":
    import msgspec

    from engine.domain.outputs import Reward

    class _Envelope(msgspec.Struct):
        specversion: str
        data: Reward

    plain, wrapped = msgspec.json.Decoder(Reward), msgspec.json.Decoder(_Envelope)
    for place, line in _lines(sources, loaded):
        try:
            try:
                yield plain.decode(line)
            except msgspec.ValidationError:
                yield wrapped.decode(line).data
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Unusable(f"{NAME}: {place}: not a ledger entry: {error}") from error


def _lines(sources: list[str], loaded: "Settings") -> Iterator[tuple[str, bytes]]:
    if not sources:
        yield from _topic(loaded)
    for source in sources:
        yield from lines_of(source, FILE, NAME)


def _topic(loaded: "Settings") -> list[tuple[str, bytes]]:
    """The topic of rewards as it is now."""
    import asyncio

    from engine.adapters.kafka_reader import read_topic
    from engine.bootstrap import build_kafka_options
    from engine.ports.log import LogUnavailable

    if not loaded.kafka.url.startswith("kafka://"):
        raise Unusable(f"{NAME}: name a file or directory, or a Kafka (--kafka, STEWARD_KAFKA)")
    topic = loaded.topics.rewards

    async def read() -> list[tuple[str, bytes]]:
        found = read_topic(build_kafka_options(loaded), topic)
        return [(f"{topic}/{partition}/{record.offset}", record.value or b"") async for partition, record in found]

    try:
        return asyncio.run(read())
    except LogUnavailable as error:
        raise Unusable(f"{NAME}: {error}") from error


def _compare(proof: "Proof", loaded: "Settings") -> None:
    import asyncio

    from engine.engagement.customer.codec import DamagedCustomer
    from engine.ports.store import StoreMisconfigured, StoreUnavailable

    try:
        asyncio.run(_with_state(proof, loaded))
    except (StoreMisconfigured, StoreUnavailable, DamagedCustomer) as error:
        raise Unusable(f"{NAME}: {error}") from error


async def _with_state(proof: "Proof", loaded: "Settings") -> None:
    from engine.bootstrap import build_store
    from engine.engagement.ledger.verify import compare
    from engine.service.customers.balances import balances
    from engine.service.customers.places import shards_of

    store = build_store(loaded)
    try:
        await store.start()
        customers = sorted({account[0] for account in proof.balances})
        number = await shards_of(store)
        if not number:
            raise Unusable(
                f"{NAME}: the store at {loaded.redis.url} holds no state (--no-state proves the entries alone)"
            )
        compare(proof, await balances(store, number, customers))
    finally:
        await store.close()


def _told(proof: "Proof", against: bool, limit: int) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "proven": bool(proof),
        "entries": proof.entries,
        "repeats": proof.repeats,
        "customers": len({account[0] for account in proof.balances}),
        "compared_with_state": against,
        "balances": _sums(proof),
        "differences": len(proof.faults),
        "first": [asdict(fault) for fault in proof.faults[:limit]],
    }


def _sums(proof: "Proof") -> list[dict[str, Any]]:
    """All accounts of a kind and currency together."""
    from decimal import Decimal

    from engine.engagement.ledger.verify import BUCKETS

    found: dict[tuple[str, str], dict[str, Decimal]] = {}
    counts: dict[tuple[str, str], int] = {}
    for (_, kind, currency), buckets in sorted(proof.balances.items()):
        total = found.setdefault((kind, currency), dict.fromkeys(BUCKETS, Decimal(0)))
        counts[kind, currency] = counts.get((kind, currency), 0) + 1
        for bucket, amount in buckets.items():
            total[bucket] += amount
    return [
        {"kind": kind, "currency": currency or None, "accounts": counts[kind, currency],
         **{bucket: str(amount) for bucket, amount in total.items()}}
        for (kind, currency), total in found.items()
    ]  # fmt: skip


def _show(proof: "Proof", against: bool, limit: int) -> None:
    from rich.console import Console
    from rich.table import Table

    told = _told(proof, against, limit)
    table = Table(title="Balances", title_justify="left")
    for header in ("kind", "currency", "accounts", "pending", "active", "debt"):
        table.add_column(header, justify="left" if header in ("kind", "currency") else "right")
    for row in told["balances"]:
        table.add_row(*(str("" if value is None else value) for value in row.values()))
    Console().print(table)
    print(f"{proof.entries:,} entries of {told['customers']:,} customers, {proof.repeats:,} repeats")
    for fault in proof.faults[:limit]:
        where = " ".join(part for part in (fault.customer_id, fault.lot_id, fault.entry_id) if part)
        print(f"{where}: {fault.what}", file=sys.stderr)
    if len(proof.faults) > limit:
        print(f"and {len(proof.faults) - limit:,} more", file=sys.stderr)
    print("every balance is the sum of its entries" if proof else f"{len(proof.faults):,} differences", end="")
    print(", as the state has it" if proof and against else "")
