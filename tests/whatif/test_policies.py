"""What other policies would have brought: against the truth of a simulation in which every arm's worth is known."""

import random

import pytest

from engine.engagement.marketing.choosing import INPUTS, NONE, Bandits, Chosen
from engine.ruleset.compiler import compile as compile_rules
from engine.service.whatif.policies import CHOICES_MIN, judged

KEY = "next:1"
WORTH = (40.0, 90.0, 60.0)
CAMPAIGNS = """
campaigns:
  - id: next
    on: payment.settled
    when: amount > 0
    then:
      choose: bandit
      offers:
        - {id: small, offer: message, value: a, expires: 7d}
        - {id: large, offer: message, value: b, expires: 7d}
    consent: marketing
    caps: [{times: 1}]
"""


def bandits(choices: int) -> Bandits:
    draw, made = random.Random(2), Bandits()
    made.adopt(KEY, compile_rules({"c.yaml": CAMPAIGNS}).campaigns[0])
    context = bytes([255] + [0] * (INPUTS - 1))
    for _ in range(choices):
        choice = made.choose(KEY, context, draw.random(), explore=True)
        minor = round(100 * draw.gauss(WORTH[choice.arm], 20.0))
        made.learn([(KEY, Chosen(0, choice.arm, choice.propensity, context, 0), minor)])
    return made


def test_each_arm_is_worth_what_it_is() -> None:
    told = judged(bandits(4_000))[KEY]
    assert told["arms"] == ["small", "large", NONE]
    for name, worth in zip(told["arms"], WORTH, strict=True):
        one = told["policies"][name]
        for way in ("ips", "snips", "doubly_robust"):
            assert one[way]["value"] == pytest.approx(worth, abs=4 * one[way]["error"] + 1.0)
    assert told["policies"]["learned"]["snips"]["value"] == pytest.approx(max(WORTH), abs=2.0)
    assert told["mean"] < max(WORTH)


def test_a_few_choices_say_nothing() -> None:
    assert judged(bandits(CHOICES_MIN - 1)) == {KEY: {"choices": CHOICES_MIN - 1, "arms": ["small", "large", NONE]}}
