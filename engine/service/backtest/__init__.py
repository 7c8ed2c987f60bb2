"""Backtest: what another rule set would have done with a history."""

from engine.service.backtest.labels import Labels, LabelsError
from engine.service.backtest.run import Backtest, Options, backtest
from engine.service.backtest.sweep_target import SweepError, parse

__all__ = ["Backtest", "Labels", "LabelsError", "Options", "SweepError", "backtest", "parse"]
