"""A report as tables for people: the terminal and the page show the same."""

from typing import Any, Final, NamedTuple

from engine.ruleset.model import OUTCOMES
from engine.service.backtest.record import SIDES

NOTHING: Final = "–"
AMOUNTS_SHOWN: Final = 2


class Section(NamedTuple):
    """A table with a heading; `note` stands under it."""

    title: str
    note: str
    headers: list[str]
    rows: list[list[str]]


def sections(report: dict[str, Any]) -> list[Section]:
    """Every table of a report but its sweeps, in reading order."""
    base = report["history"]["base_currency"]
    return [
        _totals(report, base),
        _matrix(report, base),
        _rules(report, base),
        _changes(report),
        *_overlaps(report),
        _examples(report),
    ]


def summary(report: dict[str, Any]) -> list[str]:
    """What was compared, in a few lines."""
    history, changed = report["history"], report["rules_changed"]
    events = f"{history['events']:,} events ({history['duplicates']:,} duplicates, {history['dead_lettered']:,} dead)"
    known = f"{history['decisions_labelled']:,} decisions on labelled payments"
    mature = f"without a label a payment counts as legitimate once older than {history['maturity_days']:g} days"
    sets = f"baseline {report['baseline']['ruleset']}, candidate {report['candidate']['ruleset']}"
    rules = ", ".join(f"{len(changed[name])} {name}" for name in ("new", "removed", "changed"))
    same = f"{report['reasons_changed']:,} more have the same outcome for other rules"
    return [
        f"{events}, {history['decisions']:,} decisions over {history['days']:g} days",
        f"{known}; {mature}, as unknown before (as of {history['as_of']})",
        f"{sets}: {rules} rules",
        f"{report['decisions_changed']:,} decisions changed; {same}",
    ]


def sweep_section(sweep: dict[str, Any], base: str) -> Section:
    """The table of a sweep."""
    headers = ["value", "hits", "hits/day", "fraud", "honest", "precision", "recall", "caught", "honest amount"]
    headers += ["set recall", "set insult rate"]
    rows = []
    for point in sweep["points"]:
        row = [f"{point['value']:g}" + (" *" if point["current"] else ""), count(point["hits"])]
        row += [f"{point['hits_a_day']:g}", count(point["true_positives"]), count(point["false_positives"])]
        row += [percent(point["precision"]), percent(point["recall"])]
        row += [amounts(point["caught"], base), amounts(point["honest"], base)]
        rows.append([*row, percent(point["set_recall"]), percent(point["set_insult_rate"])])
    title = f"Sweep of {sweep['rule']}: #{sweep['position']}, {sweep['number']:g} in {sweep['within']}"
    return Section(title, "* is the value in force. The rule is taken as live, whatever its mode.", headers, rows)


def count(value: int) -> str:
    """A count."""
    return f"{value:,}"


def percent(value: float | None) -> str:
    """A share."""
    return NOTHING if value is None else f"{100 * value:.2f}%"


def amounts(by_currency: dict[str, str], base: str) -> str:
    """Amounts, the base currency first; the rest is in the JSON."""
    if not by_currency:
        return NOTHING
    order = sorted(by_currency, key=lambda code: (code != base, code))
    shown = [f"{_grouped(by_currency[code])} {code}" for code in order[:AMOUNTS_SHOWN]]
    more = len(order) - AMOUNTS_SHOWN
    return ", ".join(shown) + (f" +{more}" if more > 0 else "")


def _grouped(amount: str) -> str:
    whole, point, rest = amount.partition(".")
    return f"{int(whole):,}{point}{rest}"


def _totals(report: dict[str, Any], base: str) -> Section:
    totals = [report[side]["totals"] for side in SIDES]
    rows = [[f"decisions: {name}", *(count(side["outcomes"][name]) for side in totals)] for name in OUTCOMES]
    rows.append(["alerts a day", *(f"{side['alerts_a_day']:g}" for side in totals)])
    for name, label in (("fraud", "fraudulent"), ("legitimate", "honest"), ("unknown", "unknown yet")):
        rows.append([f"payments: {label}", *(count(side[name]) for side in totals)])
    rows.append(["fraud not approved", *(count(side["true_positives"]) for side in totals)])
    rows.append(["precision", *(percent(side["precision"]) for side in totals)])
    rows.append(["recall", *(percent(side["recall"]) for side in totals)])
    rows.append(["amount caught", *(amounts(side["caught"], base) for side in totals)])
    rows.append(["amount missed", *(amounts(side["missed"], base) for side in totals)])
    for name in reversed(OUTCOMES[1:]):
        parts = [side["insulted"][name] for side in totals]
        told = [
            count(part["count"]) + (f" ({amounts(part['amount'], base)})" if part["count"] else "") for part in parts
        ]
        rows.append([f"honest, {name}", *told])
    rows.append(["insult rate", *(percent(side["insult_rate"]) for side in totals)])
    return Section("Totals", "", ["", *SIDES], rows)


def _matrix(report: dict[str, Any], base: str) -> Section:
    rows = []
    for line in report["matrix"]:
        row = [line["baseline"], line["candidate"], count(line["count"])]
        for label in ("fraud", "legitimate", "unknown"):
            row.append(count(line[label]["count"]))
        rows.append([*row, amounts(line["fraud"]["amount"], base), amounts(line["legitimate"]["amount"], base)])
    headers = ["baseline", "candidate", "decisions", "fraud", "honest", "unknown", "fraud amount", "honest amount"]
    return Section("Decisions, from the baseline's to the candidate's", "", headers, rows)


def _rules(report: dict[str, Any], base: str) -> Section:
    by_side = [{line["rule"]: line for line in report[side]["rules"]} for side in SIDES]
    rows = []
    for rule in {**by_side[1], **by_side[0]}:
        lines = [side.get(rule) for side in by_side]
        if lines[0] == lines[1] and lines[0] is not None:
            rows.append(_rule("both", lines[0], base))
            continue
        rows += [_rule(name, line, base) for name, line in zip(SIDES, lines, strict=True) if line is not None]
    headers = ["rule", "set", "mode", "asks for", "hits", "alone", "fraud", "honest", "unknown", "precision", "recall"]
    headers += ["caught", "review", "step_up", "decline", "honest amount", "alerts/day"]
    note = "review, step_up and decline count the honest payments so treated while the rule was in force."
    return Section("Rules", note, headers, rows)


def _rule(side: str, line: dict[str, Any], base: str) -> list[str]:
    row = [
        line["rule"],
        side,
        line["mode"],
        line["decision"] or NOTHING,
        count(line["hits"]),
        count(line["hits_alone"]),
    ]
    row += [count(line[name]) for name in ("true_positives", "false_positives", "unknown")]
    row += [percent(line["precision"]), percent(line["recall"]), amounts(line["caught"], base)]
    row += [count(line["insulted"][name]["count"]) for name in OUTCOMES[1:]]
    return [*row, amounts(line["honest"], base), f"{line['alerts_a_day']:g}"]


def _changes(report: dict[str, Any]) -> Section:
    changed = report["rules_changed"]
    rows = [[rule, "new", "", ""] for rule in changed["new"]]
    rows += [[rule, "removed", "", ""] for rule in changed["removed"]]
    for entry in changed["changed"]:
        for part in entry["differences"]:
            rows.append([entry["rule"], part["what"], _told(part["baseline"]), _told(part["candidate"])])
    note = "The anomaly detector or its inputs changed." if changed["model_changed"] else ""
    return Section("Rules that differ", note, ["rule", "what", *SIDES], rows)


def _told(value: Any) -> str:
    text = NOTHING if value is None else str(value)
    return text if len(text) <= 300 else f"{text[:300]}…"


def _overlaps(report: dict[str, Any]) -> list[Section]:
    """Pairs of rules; once where both sets have the same."""
    found = []
    same = report["baseline"]["overlap"] == report["candidate"]["overlap"]
    for side in SIDES[1:] if same else SIDES:
        rows = [[*pair["rules"], count(pair["both"]), f"{pair['jaccard']:.3f}"] for pair in report[side]["overlap"]]
        title = f"Rules that hit the same decisions: {'both sets' if same else side}"
        found.append(Section(title, "", ["rule", "and", "both hit", "Jaccard"], rows))
    return found


def _examples(report: dict[str, Any]) -> Section:
    rows = []
    for example in report["examples"]:
        row = [example["event_id"], example["customer_id"], example["event_time"]]
        row += [f"{example['amount']} {example['currency']}", example["label"]]
        rows.append([*row, *(_why(example[side]) for side in SIDES)])
    headers = ["event", "customer", "time", "amount", "label", *SIDES]
    return Section("Examples of changed decisions", "", headers, rows)


def _why(side: dict[str, Any]) -> str:
    reasons = "; ".join(f"{reason['code']} ({reason['rule']}): {reason['detail']}" for reason in side["reasons"])
    decision: str = side["decision"]
    return f"{decision}: {reasons}" if reasons else decision
