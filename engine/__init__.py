"""Steward: a real-time risk and engagement engine for payments."""

__version__ = "0.1.0"
