"""What the shipped campaigns lose to planted abuse of rewards, and whom they freeze wrongly.

    python -m load_tests.bench_abuse [--events 120000] [--customers 600] [--rate 800] [--abuse 0.05] [--seed 1]
                                     [--rules DIR] [--out FILE]

`steward gen --world engagement --abuse …` through one partition with all campaigns live, four times: as it is, where
settlements name what their requests did (device, address, e-mail), without a look at abuse and caps by identity (what
there was to get), and without planted abuse. Every merchant takes part in the coupons. For each kind of abuse: grants
of the campaigns that it is after, the share of them that is frozen, the share of accounts with such a grant of which at
least one is, and how much of these grants the accounts keep: what is not frozen and not taken back, what they owe
included. Honest is who is in no ring and has no payment that is fraud.
"""

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from engine.core.controls import stretches
from engine.core.partition import Partition
from engine.core.settings import CoreSettings
from engine.domain.outputs import Reward
from engine.domain.rates import Rates
from engine.engagement.marketing.abuse import FROZEN
from engine.generator import Settings, generate
from engine.generator.abuse import KINDS
from engine.generator.stream import START_MS
from engine.generator.world import rates
from engine.resources import rules_directory
from engine.ruleset.compiler import compile as compile_rules
from engine.ruleset.files import read
from engine.ruleset.ruleset import RuleSet

BATCH: Final = 2_000
COUPONS: Final = "spend_100_save_8"
AFTER: Final = {
    "farm": ("welcome",), "self_referral": ("referral",), "refund_cycling": ("base_earn", "new_category", "welcome"),
    "coupon_cluster": (COUPONS,),
}  # fmt: skip
"""The campaigns whose rewards each kind is after."""
NAMED: Final = ("device_id", "shipping_hash", "email_hash")
HAD: Final = ("the hold is over", "redeemed", "expired")
"""Why something leaves a bucket that nobody takes back."""
HONEST, FRAUD = "honest", "payment fraud"
_encode, _decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(Reward).decode


@dataclass(slots=True)
class Stream:
    """Records; and by customer the kind of abuse, or `FRAUD` where a payment of theirs is. Others are honest."""

    records: list[bytes] = field(default_factory=list)
    kinds: dict[str, str] = field(default_factory=dict)

    def of(self, customer: str) -> str:
        """What a customer is."""
        return self.kinds.get(customer, HONEST)


@dataclass(slots=True)
class Lot:
    """What one grant came to: whose, of which campaign, of which kind of reward; units, of them kept; frozen."""

    customer: str
    campaign: str
    reward: str
    units: float
    kept: float
    frozen: bool


def planted(events: int, settings: Settings) -> Stream:
    """A stream of the generator, its first event one that puts every merchant on the list of `COUPONS`."""
    stream, payments, frauds = Stream(), dict[str, str](), set[str]()
    fraud: set[str] = set()

    def label(line: str) -> None:
        payment, what, _ = line.split(",")
        if what == "fraud":
            fraud.add(payment)

    def abuser(line: str) -> None:
        customer, kind, _ = line.split(",")
        stream.kinds[customer] = kind

    shops: set[str] = set()
    for record in generate(events, settings, labels=label, abusers=abuser):
        stream.records.append(record)
        told = msgspec.json.decode(record)
        shops.add(told.get("merchant_id", ""))
        payments[told.get("payment_id", "")] = told["customer_id"]
    frauds = {payments[payment] for payment in fraud if payment in payments}
    stream.kinds = {**dict.fromkeys(frauds, FRAUD), **stream.kinds}
    takes_part = {"event_id": "list", "type": "control.list", "event_time": START_MS, "name": COUPONS,
                  "values": sorted(shops - {""})}  # fmt: skip
    stream.records.insert(0, _encode(takes_part))
    return stream


def naming(stream: Stream) -> Stream:
    """The same where settlements name what the requests of their payments did."""
    known: dict[str, dict[str, str]] = {}

    def named() -> Iterator[bytes]:
        for record in stream.records:
            told: dict[str, Any] = msgspec.json.decode(record)
            if told["type"] == "payment.requested":
                known[told["payment_id"]] = {name: told[name] for name in NAMED if name in told}
            elif told["type"] == "payment.settled":
                record = _encode({**known.get(told["payment_id"], {}), **told})
            yield record

    return Stream(list(named()), stream.kinds)


def unguarded(rules: Path) -> RuleSet:
    """The campaigns without a look at abuse, and with no caps but the customer's."""
    texts = {}
    for name, text in read(rules).items():
        if "campaigns:" in text:
            document = yaml.safe_load(text)
            for campaign in document["campaigns"]:
                campaign["on"] = campaign.pop(True)  # which is what YAML 1.1 takes the word for
                campaign.pop("tests", None)
                reward = campaign["then"].get("reward")
                campaign |= {"abuse": "off"} if reward not in (None, "tier") else {}
                caps = campaign.get("caps", ())
                campaign["caps"] = [cap for cap in caps if cap.get("by", "customer") == "customer"]
            text = json.dumps(document)  # which is YAML
        texts[name] = text
    return compile_rules(texts).launch()


def granted(ruleset: RuleSet, records: list[bytes]) -> list[Lot]:
    """What a partition grants, and what of it is left."""
    core = CoreSettings(rates=Rates.from_dict(rates()))
    partition, lots = Partition(ruleset, core, backed=False), dict[str, Lot]()
    for start, end in stretches(records, BATCH):
        effects = partition.apply(partition.decode(records[start:end]), lambda index: {})
        for output in effects.outputs:
            if output.kind == "reward":
                _book(lots, _decode(output.data))
    return list(lots.values())


def _book(lots: dict[str, Lot], entry: Reward) -> None:
    """Take in an entry: what is taken back, or pays a debt, is not kept; what is owed for ever is."""
    units = float(entry.delta)
    if entry.available_at is not None:  # grants
        frozen = entry.why.endswith(FROZEN)
        lots[entry.lot_id] = Lot(entry.customer_id, entry.campaign_id, entry.kind, units, units, frozen)
    elif units < 0 and entry.bucket != "debt" and entry.lot_id in lots and entry.why not in HAD:
        lots[entry.lot_id].kept += units


def figures(stream: Stream, lots: Iterable[Lot]) -> dict[str, Any]:
    """By kind: accounts given something, grants, share frozen, and what is kept; and of all that is frozen, whose."""
    by: dict[str, list[Lot]] = defaultdict(list)
    for lot in lots:
        by[stream.of(lot.customer)].append(lot)
    found = {kind: _kind(AFTER.get(kind), some) for kind, some in sorted(by.items())}
    frozen = Counter(stream.of(lot.customer) for some in by.values() for lot in some if lot.frozen)
    abusive = sum(frozen[kind.name] for kind in KINDS)
    return {
        "kinds": found,
        "frozen": dict(frozen),
        "precision": _share(abusive, abusive + frozen[HONEST]),
        "honest_frozen_share": _share(frozen[HONEST], len(by[HONEST])),
    }


def _kind(after: tuple[str, ...] | None, lots: list[Lot]) -> dict[str, Any]:
    wanted = [lot for lot in lots if after is None or lot.campaign in after]
    accounts = {lot.customer for lot in wanted}
    given, kept = Counter[str](), Counter[str]()
    for lot in wanted:
        given[lot.reward] += lot.units
        kept[lot.reward] += 0 if lot.frozen else lot.kept
    return {
        "accounts": len(accounts),
        "grants": len(wanted),
        "frozen": sum(lot.frozen for lot in wanted),
        "recall": _share(sum(lot.frozen for lot in wanted), len(wanted)),
        "accounts_found": _share(len({lot.customer for lot in wanted if lot.frozen}), len(accounts)),
        "given": {reward: round(units, 2) for reward, units in sorted(given.items())},
        "kept": {reward: round(units, 2) for reward, units in sorted(kept.items())},
    }


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def measure(events: int, settings: Settings, rules: Path) -> dict[str, Any]:
    """All four runs."""
    shipped = compile_rules(dict(read(rules))).launch()
    stream = planted(events, settings)
    honest = planted(events, replace(settings, abuse=0.0))
    return {
        "as it is": figures(stream, granted(shipped, stream.records)),
        "settlements name the device": figures(stream, granted(shipped, naming(stream).records)),
        "unguarded": figures(stream, granted(unguarded(rules), stream.records)),
        "nothing planted": figures(honest, granted(shipped, honest.records)),
    }


def table(found: dict[str, Any]) -> Iterator[str]:
    """The figures for people."""
    for name, run in found.items():
        yield f"\n{name}: frozen of {run['frozen']}, precision {run['precision']}"
        yield f"{'':16} accounts  grants  frozen  recall   found  kept of given"
        for kind, row in run["kinds"].items():
            kept = ", ".join(
                f"{row['kept'][reward]:,.0f} of {units:,.0f} {reward}" for reward, units in row["given"].items()
            )
            yield (
                f"{kind:16} {row['accounts']:8,} {row['grants']:7,} {row['frozen']:7,} {_figure(row['recall'])}"
                f" {_figure(row['accounts_found'])}  {kept}"
            )


def _figure(share: float | None) -> str:
    return "      –" if share is None else f"{share:7.1%}"


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=120_000)
    parser.add_argument("--customers", type=int, default=600)
    parser.add_argument("--rate", type=float, default=800.0)
    parser.add_argument("--abuse", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rules", type=Path, default=rules_directory(), help="rules directory (the shipped one)")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    settings = Settings(seed=args.seed, customers=args.customers, rate=args.rate, abuse=args.abuse, world="engagement")
    found = measure(args.events, settings, args.rules)
    print("\n".join(table(found)))
    if args.out:
        args.out.write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
