"""`steward gen`."""

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from engine.commands.common import Unusable, directory, settings, settings_arguments, usable_rules, whole

if TYPE_CHECKING:
    from engine.generator.lift import Lift

SUMMARY: Final = "write a labelled stream of payments with injected fraud, NDJSON on standard output"
FILES: Final = {
    "labels": ("payment_id,label,pattern of every payment", "payment_id,label,pattern\n"),
    "incidents": ("kind,subject,start,end of outages and silences", "kind,subject,start,end\n"),
    "abusers": ("customer_id,kind,ring of the accounts of --abuse", "customer_id,kind,ring\n"),
    "rates": ("the exchange rates of the amounts, as STEWARD_RATES reads them", ""),
}
"""Files beside the stream: what goes into each, and its first line."""
TOLD: Final = ("labels", "incidents", "abusers")
"""Those that the stream tells as it goes."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the stream looks like; every default is the generator's own."""
    settings_arguments(parser)
    parser.add_argument("--events", type=whole(0, 2**32 - 1), default=10_000, help="how many events (10000)")
    parser.add_argument("--seed", type=whole(0, 2**63 - 1), default=0, help="everything follows from it (0)")
    parser.add_argument("--customers", type=whole(10, 2**26), help="accounts that exist at the start")
    parser.add_argument("--rate", type=float, help="about this many events a day")
    parser.add_argument("--fraud-rate", type=float, help="share of payments that are fraud")
    parser.add_argument("--late-share", type=float, help="share of events sent out of order")
    parser.add_argument("--duplicate-share", type=float, help="share of events sent twice")
    parser.add_argument("--incident-rate", type=float, help="acquirer outages and silent sources a day")
    parser.add_argument("--drift-day", type=float, metavar="N", help="fraud changes its habits N days after the start")
    parser.add_argument("--world", choices=("payments", "engagement"), help="engagement: customers come back, lapse, …")
    parser.add_argument(
        "--lift", type=float, metavar="N", help="customers whom --campaign reached buy for so much more: 0.05 is 5 %%"
    )
    parser.add_argument(
        "--abuse", type=float, metavar="SHARE", help="of payments that are of accounts after rewards: 0.02 is 2 %% (0)"
    )
    parser.add_argument("--campaign", metavar="ID", help="of --rules: its holdout, version and start say who and when")
    parser.add_argument(
        "--rules", type=directory, metavar="DIR", help="rules directory of --campaign (the shipped one)"
    )
    for name, (said, _) in FILES.items():
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help=f"write {said} here")


def run(args: argparse.Namespace) -> int:
    """Write the stream."""
    from engine.generator.stream import Settings, generate
    from engine.generator.world import rates

    names = ("seed", "customers", "rate", "fraud_rate", "late_share", "duplicate_share", "incident_rate", "drift_day",
             "world", "abuse")  # fmt: skip
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if args.abusers is not None and not args.abuse:
        raise Unusable("steward gen: --abusers tells of those whom --abuse plants; give that, such as --abuse 0.02")
    try:
        chosen = Settings(**given, lift=_lift(args))
    except ValueError as error:
        raise Unusable(f"steward gen: {error}") from error
    with ExitStack() as stack:
        files = {name: _opened(stack, getattr(args, name), header) for name, (_, header) in FILES.items()}
        if files["rates"] is not None:
            files["rates"](json.dumps(rates()) + "\n")
        stream = generate(args.events, chosen, **{name: files[name] for name in TOLD})
        sys.stdout.buffer.writelines(stream)
        sys.stdout.buffer.flush()
    return 0


def _lift(args: argparse.Namespace) -> "Lift | None":
    """The effect to plant, as the campaign's file and the engine's settings have it. Raises `Unusable`."""
    if args.lift is None and args.campaign is None:
        return None
    if args.lift is None or args.campaign is None or args.world != "engagement":
        raise Unusable("steward gen: --lift, --campaign and --world engagement belong together")
    from engine.generator.lift import Lift
    from engine.partitions import load_ruleset

    loaded = settings(args, {"STEWARD_RULES": args.rules})
    with usable_rules():
        known = {campaign.id: campaign for campaign in load_ruleset(loaded).campaigns}
    campaign = known.get(args.campaign)
    if campaign is None:
        raise Unusable(f"steward gen: the rules have no campaign {args.campaign!r}")
    if "payment.settled" not in campaign.trigger.events:
        raise Unusable(
            f"steward gen: {args.campaign} is set off by {campaign.trigger.name}; whom a campaign reaches is known "
            "beforehand only of one that payment.settled sets off"
        )
    everyone = loaded.campaigns.holdout
    if not campaign.holdout and not everyone:
        raise Unusable(f"steward gen: {args.campaign} holds nobody out, so that nothing would show; give it a holdout")
    start_ms = campaign.valid_from_ms or 0
    return Lift(args.lift, campaign.key, campaign.holdout, everyone, loaded.campaigns.salt, start_ms)


def _opened(stack: ExitStack, path: Path | None, header: str) -> Callable[[str], object] | None:
    """What writes a line to the file, its header written; `None` where no file is asked for."""
    if path is None:
        return None
    try:
        file = stack.enter_context(path.open("w", encoding="ascii"))
    except OSError as error:
        raise Unusable(f"steward gen: cannot write {path}: {error.strerror}") from error
    file.write(header)
    return file.write
