"""`steward customer`: what is held of one customer, and their erasure."""

import argparse
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engine.commands.common import Unusable, settings, settings_arguments, usable_rules

if TYPE_CHECKING:
    from engine.config import Settings
    from engine.service.customers.desk import StoredCustomers

NAME: Final = "steward customer"
SUMMARY: Final = "one customer: profile, features, ledger, payments; everything that is held; erasure"
VERBS: Final = {
    "show": "profile, states, features and balances",
    "history": "ledger and payments",
    "export": "everything that is held, as one JSON object",
    "erase": "put an account.erased event onto the log",
}
UNKNOWN: Final = 1


def arguments(parser: argparse.ArgumentParser) -> None:
    """A verb and a customer."""
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, text in VERBS.items():
        verb = verbs.add_parser(name, help=text, description=text)
        settings_arguments(verb)
        verb.add_argument("customer", metavar="ID", help="customer_id")
        if name == "erase":
            verb.add_argument("--kafka", metavar="URL", help="kafka://host:port[,host:port]: the log of the workers")
            verb.add_argument(
                "--out", metavar="FILE", help="write the event there (- for standard output), not to Kafka"
            )
            verb.add_argument("--yes", action="store_true", help="do not ask")
            continue
        verb.add_argument("--redis", metavar="URL", help="redis://host:port/0, redis-cluster://host:port")
        if name == "export":
            verb.add_argument("--out", type=Path, metavar="FILE", help="write it there (standard output)")


def run(args: argparse.Namespace) -> int:
    """Read or erase; 1 where nothing is stored of the customer."""
    if args.verb == "erase":
        return _erase(args)
    loaded = settings(args, {"STEWARD_REDIS": args.redis})
    if loaded.redis.url == "embedded":
        raise Unusable(f"{NAME}: name the Redis (STEWARD_REDIS or --redis); that of `serve` is asked over HTTP")
    from engine.ports.customers import UnknownCustomer

    try:
        found = _read(loaded, _QUESTIONS[args.verb], args.customer)
    except UnknownCustomer as error:
        print(f"{NAME}: {error}", file=sys.stderr)
        return UNKNOWN
    text = json.dumps(found, indent=2, ensure_ascii=False)
    if args.verb == "export" and args.out is not None:
        try:
            args.out.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise Unusable(f"{NAME}: {args.out}: {error.strerror}") from error
    else:
        print(text)
    return 0


async def _show(customers: "StoredCustomers", customer_id: str) -> dict[str, Any]:
    return {**await customers.profile(customer_id), "features": await customers.features(customer_id)}


async def _history(customers: "StoredCustomers", customer_id: str) -> dict[str, Any]:
    ledger, payments = await customers.ledger(customer_id), await customers.payments(customer_id)
    return {"ledger": ledger, "payments": payments}


async def _export(customers: "StoredCustomers", customer_id: str) -> dict[str, Any]:
    return await customers.export(customer_id)


_Question = Callable[["StoredCustomers", str], Awaitable[dict[str, Any]]]
_QUESTIONS: Final[dict[str, _Question]] = {"show": _show, "history": _history, "export": _export}


def _read(loaded: "Settings", question: _Question, customer_id: str) -> dict[str, Any]:
    import asyncio

    from engine.ports.store import StoreMisconfigured, StoreUnavailable

    try:
        with usable_rules():
            return asyncio.run(_ask(loaded, question, customer_id))
    except (StoreMisconfigured, StoreUnavailable) as error:
        raise Unusable(f"{NAME}: {error}") from error


async def _ask(loaded: "Settings", question: _Question, customer_id: str) -> dict[str, Any]:
    from engine.adapters.redis_rules import RedisRules
    from engine.bootstrap import build_asked, build_redis_options, build_store
    from engine.partitions import rule_library
    from engine.service.customers.places import shards_of

    store, library = build_store(loaded), rule_library(loaded)
    archive = RedisRules(loaded.redis.url, prefix=loaded.redis.prefix, options=build_redis_options(loaded))
    library.archive = archive
    try:
        await store.start()
        shards = await shards_of(store)
        customers = build_asked(loaded, store, library, None, lambda: shards).customers
        return await question(customers, customer_id)
    finally:
        await archive.close()
        await store.close()


def _erase(args: argparse.Namespace) -> int:
    loaded = settings(args, {"STEWARD_KAFKA": args.kafka})
    from engine.bootstrap import unix_ms
    from engine.core.decode import Decoder
    from engine.service.customers.desk import erasure

    if args.out is None and not loaded.kafka.url.startswith("kafka://"):
        raise Unusable(
            f"{NAME} erase: name the Kafka of the workers (--kafka, STEWARD_KAFKA) or a file (--out); "
            "`serve` without Kafka is told by DELETE /v1/customers/ID"
        )
    event_id, record = erasure(args.customer, unix_ms())
    for refused in Decoder().decode([record]).rejects:
        raise Unusable(f"{NAME} erase: {refused.reason}: {refused.detail}")
    if not args.yes and not _sure(args.customer):
        raise Unusable(f"{NAME} erase: nothing was erased; say --yes where nobody can be asked")
    if args.out is not None:
        _write(args.out, record)
    else:
        _send(loaded, args.customer, record)
    from engine.partitions import core_settings
    from engine.service.customers.erasing import answer

    told = answer(args.customer, event_id, core_settings(loaded))
    print(f"{event_id}: the log holds the erasure of {args.customer}", file=sys.stderr)
    for one in told["erased"]:
        print(f"erased: {one}", file=sys.stderr)
    for one in told["stays"]:
        print(f"stays: {one['what']}; {one['why']} (until: {one['until']})", file=sys.stderr)
    print(f"pseudonym for books kept elsewhere: {told['pseudonym']}", file=sys.stderr)
    return 0


def _sure(customer_id: str) -> bool:
    if not sys.stdin.isatty():
        return False
    return input(f"Erase {customer_id}? What is forgotten does not come back. Type the id again: ") == customer_id


def _write(name: str, record: bytes) -> None:
    if name == "-":
        sys.stdout.buffer.write(record + b"\n")
        sys.stdout.buffer.flush()
        return
    try:
        with Path(name).open("ab") as file:
            file.write(record + b"\n")
    except OSError as error:
        raise Unusable(f"{NAME} erase: {name}: {error.strerror}") from error


def _send(loaded: "Settings", customer_id: str, record: bytes) -> None:
    import asyncio

    from engine.adapters.kafka_writer import KafkaWriter
    from engine.bootstrap import build_kafka_options
    from engine.ports.log import LogUnavailable

    async def send() -> None:
        writer = KafkaWriter(build_kafka_options(loaded))
        await writer.start()
        try:
            await writer.write(customer_id.encode(), record, ())
        finally:
            await writer.close()

    try:
        asyncio.run(send())
    except LogUnavailable as error:
        raise Unusable(f"{NAME} erase: {error}") from error
