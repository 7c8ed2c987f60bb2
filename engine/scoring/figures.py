"""Figures in sentences: short, and the same wherever they are written."""

import math


def number(value: float) -> str:
    """Three significant digits without an exponent; `missing` for NaN."""
    if math.isnan(value):
        return "missing"
    if math.isinf(value):
        return "beyond all numbers" if value > 0 else "below all numbers"
    return f"{float(f'{value:.3g}'):.15g}" if abs(value) >= 1e-4 or value == 0 else f"{value:.3g}"


def percent(share: float) -> str:
    """A share in per cent, finer where it is small."""
    return f"{100.0 * share:.1f} %" if share >= 0.01 else f"{100.0 * share:.2f} %"
