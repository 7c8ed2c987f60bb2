"""YAML and expressions to checked, compiled rules; and their evaluation over a micro-batch."""

from engine.ruleset.compiler import compile
from engine.ruleset.errors import RuleError, RuleErrors
from engine.ruleset.model import OUTCOMES, AnomalyConfig, Derived, FraudConfig, ModelsConfig, Rule
from engine.ruleset.ruleset import Frame, RuleSet
from engine.ruleset.verdict import Hits, Verdict, Verdicts

__all__ = [
    "OUTCOMES", "AnomalyConfig", "Derived", "Frame", "FraudConfig", "Hits", "ModelsConfig", "Rule", "RuleError",
    "RuleErrors", "RuleSet", "Verdict", "Verdicts", "compile",
]  # fmt: skip
