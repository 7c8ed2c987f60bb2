"""The figures by their definitions, in loops."""

from collections.abc import Sequence


def roc_auc(fraud: Sequence[bool], score: Sequence[float]) -> float:
    pairs = [(bad, good) for f, bad in zip(fraud, score) if f for g, good in zip(fraud, score) if not g]
    return sum(1.0 if bad > good else 0.5 if bad == good else 0.0 for bad, good in pairs) / len(pairs)


def average_precision(fraud: Sequence[bool], score: Sequence[float]) -> float:
    """Scikit-learn's: the sum over distinct thresholds of precision times the gain in recall."""
    total, before, area = sum(fraud), 0, 0.0
    for threshold in sorted(set(score), reverse=True):
        shown = [f for f, s in zip(fraud, score) if s >= threshold]
        area += sum(shown) / len(shown) * (sum(shown) - before) / total
        before = sum(shown)
    return area


def card_precision(
    day: Sequence[int], card: Sequence[int], fraud: Sequence[bool], score: Sequence[float], shown: int
) -> list[float]:
    found: set[int] = set()
    shares = []
    for today in sorted(set(day)):
        best: dict[int, float] = {}
        compromised: set[int] = set()
        for d, c, f, s in zip(day, card, fraud, score):
            if d == today and c not in found:
                best[c] = max(best.get(c, s), s)
                if f:
                    compromised.add(c)
        top = sorted(best, key=lambda c: (-best[c], c))[:shown]
        hits = [c for c in top if c in compromised]
        shares.append(len(hits) / shown)
        found |= set(hits)
    return shares


def handbook_unknown(
    day: Sequence[int], card: Sequence[int], fraud: Sequence[bool], start: int, days: int = 7
) -> list[int]:
    """Rows of the test week by the handbook: a week of training, a week of delay, known compromised cards removed."""
    known = {c for d, c, f in zip(day, card, fraud) if f and start - 14 <= d < start - 7}
    rows = []
    for today in range(start, start + days):
        known |= {c for d, c, f in zip(day, card, fraud) if f and d == today - 8}
        rows += [i for i, (d, c) in enumerate(zip(day, card)) if d == today and c not in known]
    return sorted(rows)
