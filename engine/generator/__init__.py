"""The labelled payment generator behind `steward gen`: seeded, in event-time order, with planted fraud."""

from engine.generator.stream import Settings, generate

__all__ = ["Settings", "generate"]
