"""Campaigns are read as written; what is wrong or cannot be meant is refused with its place."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.ruleset import RuleErrors, RuleSet, compile, limits, report, testing
from engine.ruleset.campaigns.conditions import units
from engine.ruleset.campaigns.model import Campaign, Cap, Money, OfferSpec, Reward, Trigger
from engine.ruleset.formatter import reformat
from engine.ruleset.model import Case
from engine.ruleset.testing import row_of
from tests.ruleset.helpers import faults

DAY = 86_400_000


def file(then: str = "{reward: points, amount: 5}", more: str = "caps: [{times: 1}]", on: str = "payment.settled",
         when: str = "true") -> str:  # fmt: skip
    """A file with one campaign `c`: its key `on` in line 3, `then` in line 5, what follows from line 6 on."""
    lines = [f"  on: {on}", f"  when: {when}", f"  then: {then}", *(f"  {line}" for line in more.splitlines())]
    return "\n".join(["campaigns:", "- id: c", *lines]) + "\n"


def read(*args: str, **keys: str) -> Campaign:
    [campaign] = compile({"t.yaml": file(*args, **keys)}).campaigns
    return campaign


def test_a_campaign_says_nothing_more_than_it_must() -> None:
    found = read()
    assert (found.id, found.version, found.trigger) == ("c", 1, Trigger(events=("payment.settled",)))
    assert found.reward is not None
    assert (found.reward.kind, found.reward.amount.text, found.reward.most, found.reward.both) == (
        "points", "5", None, False,
    )  # fmt: skip
    assert (found.hold_ms, found.expires_months, found.occasion, found.reversal) == (14 * DAY, 0, "event", "R1")
    assert (found.caps, found.budget, found.quiet, found.holdout) == ((Cap("customer", 1),), None, None, 0.0)
    assert (found.offers, found.consent, found.group, found.score_max) == ((), "", "", 1.0)
    assert (found.file, found.line) == ("t.yaml", 2)


def test_a_campaign_says_everything() -> None:
    found = read(
        "{reward: cashback, amount: 0.02 * amount_base, most: 20, currency: EUR}",
        "version: 3\ndescription: d\nowner: o\ntags: [a, b]\noccasion: period\nhold: none\nexpires: 12 months\n"
        "caps: [{times: 2, per: week}, {amount: 50, per: 36h}, {by: device, times: 1}]\n"
        "budget: {amount: '1000.50', currency: EUR}\nvalid_from: 2026-01-01T00:00:00Z\n"
        "valid_to: 2026-02-01T00:00:00+01:00\nconsent: marketing\npriority: -3\ngroup: g\nholdout: 12.5%\n"
        "reversal: R2\nthreshold: 99.5\nscore_max: 0.4",
    )
    assert (found.version, found.description, found.owner, found.tags) == (3, "d", "o", ("a", "b"))
    assert found.reward is not None
    assert (found.reward.amount.text, found.reward.most, found.reward.currency) == ("0.02 * amount_base", 20.0, "EUR")
    assert (found.occasion, found.hold_ms, found.expires_months) == ("period", 0, 12)
    assert found.caps == (
        Cap("customer", 2, period="week"), Cap("customer", amount=50.0, per_ms=36 * 3_600_000), Cap("device", 1),
    )  # fmt: skip
    assert found.budget == Money(100_050, "EUR")
    assert (found.valid_from_ms, found.valid_to_ms) == (1_767_225_600_000, 1_769_900_400_000)
    assert [found.runs_at(t) for t in (1_767_225_599_999, 1_767_225_600_000, 1_769_900_400_000)] == [False, True, False]
    assert (found.consent, found.priority, found.group, found.holdout) == ("marketing", -3, "g", 0.125)
    assert (found.reversal, found.threshold, found.score_max) == ("R2", 99.5, 0.4)


@pytest.mark.parametrize(("on", "trigger"), [
    ("[payment.failed, payment.declined]", Trigger(events=("payment.failed", "payment.declined"))),
    ("alert.resolved", Trigger(events=("alert.resolved",))),
    ("{transition: activity, to: churned}",
     Trigger(dimension="activity", steps=(("potential", "churned"),))),
    ("{transition: activity, from: [active, potential], to: [churned, active]}",
     Trigger(dimension="activity", steps=(("potential", "churned"), ("potential", "active")))),
    ("{transition: value_tier, from: below, to: [low, mid, high]}",
     Trigger(dimension="value_tier", steps=(("low", "mid"), ("low", "high"), ("mid", "high")))),
    ("{transition: value_tier, from: above, to: low}",
     Trigger(dimension="value_tier", steps=(("mid", "low"), ("high", "low")))),
    ('{timer: birthday, at: "09:30"}', Trigger(timer="birthday", minute=570)),
    ("{timer: since_refund, after: 2d}", Trigger(timer="since_refund", after_ms=(2 * DAY,))),
    ("{timer: points_expiring, before: [7d, 30d, 7d]}", Trigger(timer="points_expiring", after_ms=(30 * DAY, 7 * DAY))),
    ("{timer: idle, gaps: 2.5}", Trigger(timer="idle", gaps=2.5)),
    ("{timer: window_closed}", Trigger(timer="window_closed")),
])  # fmt: skip
def test_triggers(on: str, trigger: Trigger) -> None:
    found = read(on=on).trigger
    assert (found.events, found.dimension, found.timer, found.after_ms, found.gaps, found.minute) == (
        trigger.events, trigger.dimension, trigger.timer, trigger.after_ms, trigger.gaps, trigger.minute,
    )  # fmt: skip
    assert set(found.steps) == set(trigger.steps)
    assert found.name


COUPON = 'coupon, value: "10%", most: 5, currency: EUR'


@pytest.mark.parametrize(("then", "value", "worth", "currency"), [
    ('{reward: coupon, value: "8.00", currency: EUR}', "8.00 EUR", 8.0, "EUR"),
    ("{reward: coupon, value: 8, currency: JPY}", "8 JPY", 8.0, "JPY"),
    (f"{{reward: {COUPON}}}", "10%, at most 5.00 EUR", 5.0, "EUR"),
    ('{reward: coupon, value: "2.5 %", most: 500, currency: JPY}', "2.5 %, at most 500 JPY", 500.0, "JPY"),
    ("{reward: coupon, value: a free coffee}", "a free coffee", 0.0, ""),
])  # fmt: skip
def test_what_a_coupon_is_worth(then: str, value: str, worth: float, currency: str) -> None:
    reward = read(then).reward
    assert reward is not None
    assert (reward.value, reward.worth, reward.currency, reward.amount.text) == (value, worth, currency, "1")
    offer = read(then.replace("reward", "offer", 1), "caps: [{times: 1}]\nconsent: marketing").offers[0]
    assert (offer.value, offer.worth, offer.currency) == (value, worth, currency)


def test_one_offer_and_several() -> None:
    one = read("{offer: survey, value: nps, channel: email, send: personal_hour, expires: 7d}",
               'caps: [{times: 1}]\nconsent: surveys\nquiet_hours: ["21:00", "08:00"]')  # fmt: skip
    assert one.reward is None
    assert one.offers == (OfferSpec("survey", "survey", "nps", "email", 7 * DAY),)
    assert (one.choose, one.send, one.consent, one.quiet, one.reversal) == (
        "first", "personal_hour", "surveys", (1260, 480), "R3",
    )  # fmt: skip
    several = read('{send: "10:00", offers: [{id: a, offer: coupon, value: x}, {id: b, offer: coupon, value: x}]}',
                   "caps: [{times: 1}]\nconsent: marketing")  # fmt: skip
    assert [spec.id for spec in several.offers] == ["a", "b"]
    assert (several.choose, several.send, several.offers[0].expires_ms) == ("bandit", "10:00", 14 * DAY)


def test_disabled_campaigns_are_checked_and_left_out() -> None:
    assert compile({"t.yaml": file(more="caps: [{times: 1}]\nenabled: false")}).campaigns == []
    assert faults(file(more="enabled: false"))


OFFER = "{offer: message, value: hello}"
CONSENT = "consent: marketing\n"


@pytest.mark.parametrize(("text", "fault"), [
    (file(on="payment.setled"), "3:7: there is no event type 'payment.setled' (did you mean 'payment.settled'?)"),
    (file(on="[]"), "3:7: 'on' names none"),
    (file(on="{transition: mood, to: low}"), "unknown 'transition' 'mood'"),
    (file(on="{transition: membership, to: diamond}"), "3:36: membership has no state 'diamond'"),
    (file(on="{transition: lifecycle, from: below, to: lost}"), "3:37: the states of lifecycle have no order"),
    (file(on="{transition: value_tier, from: below, to: low}"), "there is no such transition"),
    (file(on="{transition: value_tier, from: mid, to: mid}"), "there is no such transition"),
    (file(on="{transition: lifecycle, from: prospect, to: lost}"), "no such transition (prospect goes to new)"),
    (file(on="{timer: fullmoon}"), "unknown 'timer' 'fullmoon'"),
    (file(on="{timer: birthday}"), "the timer birthday needs 'at'"),
    (file(on='{timer: idle, gaps: 2, at: "09:00"}'), "the timer idle has no 'at'"),
    (file(on="{timer: idle, gaps: 0.5}"), "'gaps' must be from 1 to 100"),
    (file(on="{timer: birthday, at: 9h}"), "'at' must be a time of day"),
    (file(on="{timer: birthday, at: '24:00'}"), "'at' must be a time of day"),
    (file(on="{timer: since_refund, after: 4000d}"), "'after' must be above 0 and at most ten years"),
    (file(on="{timer: since_refund, after: soon}"), "3:36: 'soon' is not a duration"),
    (file(on="{timer: points_expiring, before: []}"), "'before' is 1 to 8 durations"),
    (file("{reward: praise, amount: 5}"), "5:18: unknown 'reward' 'praise'"),
    (file("{reward: points}"), "'then' needs 'amount'"),
    (file("{reward: points, amount: 0}"), "5:34: 'amount' must be above 0"),
    (file("{reward: points, amount: -5}"), "'amount' must be above 0"),
    (file("{reward: points, amount: 1e12}"), "'amount' must be above 0 and at most 1e+09"),
    (file("{reward: points, amount: currency}"), "'amount' must be a number, but this is text"),
    (file("{reward: points, amount: amuont}"), "5:34: unknown name 'amuont' (did you mean 'amount'?)"),
    (file("{reward: points, amount: 5, currency: EUR}"), "a reward of points has no 'currency'"),
    (file("{reward: points, amount: 5, value: x}"), "a reward of points has no 'value'"),
    (file("{reward: cashback, amount: 5}"), "cashback needs 'currency'"),
    (file("{reward: cashback, amount: 5, currency: EUO}"), "5:49: unknown currency 'EUO'"),
    (file("{reward: coupon}"), "'then' needs 'value'"),
    (file('{reward: coupon, value: "10%"}'), "a percentage has no bound of its own"),
    (file('{reward: coupon, value: "8.00"}'), "an amount of money needs 'currency'"),
    (file('{reward: coupon, value: "0", currency: EUR}'), "'value' must be above 0"),
    (file("{reward: coupon, value: a coffee, most: 5}"), "'most' bounds a value in per cent"),
    (file("{reward: coupon, value: a coffee, currency: EUR}"), "'currency' is of an amount or a percentage"),
    (file(f"{{reward: coupon, value: {'x' * 201}}}"), "'value' is longer than 200 characters"),
    (file("{}"), "'then' gives nothing"),
    (file("{rewrad: points}"), "'then' gives nothing"),
    (file("points"), "'then' must be a mapping"),
    (file("{offers: []}", CONSENT), "1 to 15 offers are needed"),
    (file("{offers: [{id: none, offer: x}]}", CONSENT), "'none' is no id of its own"),
    (file("{offers: [{id: a, offer: x}, {id: a, offer: y}]}", CONSENT), "5:38: 'a' is no id of its own"),
    (file("{offers: [{id: A B, offer: x}]}", CONSENT), "'A B' is no name"),
    (file("{offer: message, send: noon}", CONSENT), "'noon' is no time to send"),
    (file("{offer: message, choose: first}", CONSENT), "unknown key 'choose'"),
    (file(more="caps: [{}]"), "a cap has either 'times' or 'amount'"),
    (file(more="caps: [{times: 1, amount: 5}]"), "a cap has either 'times' or 'amount'"),
    (file(more="caps: [{times: 0}]"), "'times' must be from 1 to 1e+07"),
    (file(more="caps: [{times: 1.5}]"), "'times' must be a whole number"),
    (file(more="caps: [{times: 201, per: 30d}]"), "6:18: at most 200 times in an elapsed time"),
    (file(more="caps: [{by: planet, times: 1}]"), "unknown 'by' 'planet'"),
    (file(more="caps: [{times: 1, per: fortnight}]"), "6:26: 'fortnight' is not a duration"),
    (file(more="caps: [" + "{times: 1}, " * 9 + "]"), "more than 8 caps"),
    (file(more="caps: [{times: 1}]\nhold: -3d"), "7:9: "),
    (file(more="caps: [{times: 1}]\nexpires: 12 days"), "'expires' is counted in whole months"),
    (file(more="caps: [{times: 1}]\nexpires: 0 months"), "'expires' is counted in whole months"),
    (file(more="caps: [{times: 1}]\nholdout: 60%"), "7:12: 'holdout' must be from 0 % to 50 %"),
    (file(more="caps: [{times: 1}]\nholdout: 0.1"), "'holdout' must be from 0 % to 50 %"),
    (file(more="caps: [{times: 1}]\nversion: 0"), "'version' must be from 1"),
    (file(more="caps: [{times: 1}]\nreversal: R4"), "unknown 'reversal' 'R4'"),
    (file(more="caps: [{times: 1}]\noccasion: whim"), "unknown 'occasion' 'whim'"),
    (file(more="caps: [{times: 1}]\nscore_max: 2"), "'score_max' must be from 0 to 1"),
    (file(more="caps: [{times: 1}]\nscore_max: 0.555"), "7:14: scores of payments are remembered in hundredths"),
    (file(more="caps: [{times: 1}]\ngroup: Group one"), "'Group one' is no name"),
    (file("{reward: points, amount: 5, both: true}", on="{timer: idle, gaps: 2}"),
     "5:9: 'both' goes with an event: idle comes to one customer alone"),
    (file("{reward: points, amount: 5, both: true}", on="{transition: lifecycle, to: active}"),
     "5:9: 'both' goes with an event: lifecycle comes to one customer alone"),
    (file("{reward: tier, both: true}", on="{transition: membership, to: gold}"), "'both' goes with an event"),
    (file(more="caps: [{times: 1}]\nbudgt: 5"), "7:3: unknown key 'budgt' of a campaign (did you mean 'budget'?)"),
    (file(OFFER, CONSENT + 'caps: [{times: 1}]\nquiet_hours: ["08:00"]'), "'quiet_hours' are two times of day"),
    (file(when="amuont > 1"), "4:9: unknown name 'amuont'"),
    (file(when="amount"), "4:9: a condition is needed here"),
    (file(when="customer.lifecycel == 'new'"), "unknown name 'customer.lifecycel' (did you mean 'lifecycle'?)"),
    (file(when="customer.payments == 'one'"), "the comparison can never hold"),
    (file(when="custmer.payments > 1"), "score.fraud_top, customer.NAME and lists.NAME have a dot"),
    (file(when="customer.payments"), "a condition is needed here, but this is a number"),
    ("campaigns: {}", "1:12: 'campaigns' must be a list"),
    ("campaigns: [x]", "1:13: a campaign must be a mapping"),
    ("campaigns: [{on: payment.settled}]", "a campaign needs 'id'"),
    (file() + "- id: c\n  on: payment.settled\n  when: true\n  then: {reward: tier}\n",
     "7:7: the campaign 'c' is declared twice (first in t.yaml:2)"),
    (file() + "rules: [{id: c, when: true, then: {score: 1}}]\n", "the campaign 'c' is declared twice"),
])  # fmt: skip
def test_faults_have_their_place(text: str, fault: str) -> None:
    assert any(fault in line for line in faults(text)), faults(text)


MONEY = "caps: [{times: 1}]\nbudget: {amount: '100', currency: EUR}"


@pytest.mark.parametrize(("text", "fault"), [
    (file(more=""), "5:9: a reward of points without a cap of the customer may be given without end"),
    (file('{reward: cashback, amount: 5, currency: EUR}', "caps: [{by: device, times: 1}]"), "caps by others do not"),
    (file(OFFER, CONSENT), "offers without a cap of the customer"),
    (file(OFFER, "caps: [{times: 1}]"), "5:9: an offer of message is a message and needs 'consent'"),
    (file(more="caps: [{times: 1}]\nbudget: {amount: '100'}"), "7:11: a budget of money needs 'currency'"),
    (file(more="caps: [{times: 1}]\nbudget: {points: 5, currency: EUR}"), "a budget is of points or of money"),
    (file(more="caps: [{times: 1}]\nbudget: {points: 0}"), "'points' must be from 1"),
    (file(more=MONEY), "7:11: a reward of points has a budget of points"),
    (file("{reward: cashback, amount: 1, currency: USD}", MONEY), "the budget is in EUR, but what is given is in USD"),
    (file("{reward: cashback, amount: 1, currency: EUR}", "caps: [{times: 1}]\nbudget: {points: 5}"),
     "a budget of points does not go with cashback"),
    (file(OFFER, CONSENT + MONEY), "nothing here costs money"),
    (file("{reward: coupon, value: coffee}", MONEY), "nothing here costs money"),
    (file(f"{{reward: {COUPON}}}", MONEY.replace("EUR", "USD")), "the budget is in USD, but what is given is in EUR"),
    (file(f"{{reward: {COUPON}}}", MONEY.replace("'100'", "'100.001'")), "'100.001' is no amount of EUR above 0"),
    (file(f"{{reward: {COUPON}}}", MONEY.replace("'100'", "'-100'")), "'-100' is no amount of EUR above 0"),
    (file(f"{{reward: {COUPON}}}", MONEY.replace("'100'", "1e9")), "is no amount of EUR above 0"),
    (file("{reward: tier}", "budget: {points: 5}", on="{transition: membership, to: gold}"), "a tier costs nothing"),
    (file("{reward: tier}", ""), "a gift of a tier goes with a transition of the membership"),
    (file(OFFER, CONSENT + 'caps: [{times: 1}]\nquiet_hours: ["08:00", "08:00"]'), "leave no hour of the day"),
    (file('{offer: message, send: "22:00"}', CONSENT + 'caps: [{times: 1}]\nquiet_hours: ["21:00", "08:00"]'),
     "22:00 falls into the quiet hours"),
    (file('{offer: message, send: "12:00"}', CONSENT + 'caps: [{times: 1}]\nquiet_hours: ["08:00", "21:00"]'),
     "12:00 falls into the quiet hours"),
    (file(more='caps: [{times: 1}]\nquiet_hours: ["21:00", "08:00"]'), "7:3: a reward has no 'quiet_hours'"),
    (file(OFFER, CONSENT + "caps: [{times: 1}]\nhold: 3d"), "8:3: an offer has no 'hold'"),
    (file(more="caps: [{times: 1}]\nvalid_from: 2026-02-01T00:00:00Z\nvalid_to: 2026-01-01T00:00:00Z"),
     "8:13: 'valid_to' must be after 'valid_from'"),
    (file(more="caps: [{times: 1}]\noccasion: period"), "the occasion is a period, but no cap of the customer has one"),
    (file(more="caps: [{times: 1}]\nthreshold: 5"), "only a reversal of R2 has a threshold"),
    (file(more="caps: [{times: 1}, {by: referrer, times: 1}]"), "a cap by referrer goes with 'both'"),
    (file(OFFER, CONSENT + "caps: [{times: 1}, {amount: 5}]"), "a cap by amount goes with a reward"),
    (file(on="{timer: window_closed}", more="caps: [{times: 1}, {by: device, times: 1}]"),
     "window_closed brings no event, so no device to cap by"),
    (file(on="alert.resolved", more="caps: [{times: 1}, {by: card, times: 1}]"), "so no card to cap by"),
    (file(more="caps: [{times: 1}, {by: device, times: 201}]"), "6:42: at most 200 times by device"),
    (file(more="caps: [{times: 1, required: true}]"), "'required' is of what an event may not name"),
    (file(OFFER, CONSENT + "caps: [{times: 1}]\nabuse: {accounts_per_card: 1}"), "abuse is looked for in rewards"),
    (file(more="caps: [{times: 1}]\nabuse: {accounts_per_cart: 1}"), "7:11: unknown key 'accounts_per_cart'"),
    (file(more="caps: [{times: 1}]\nabuse: yes"), "7:10: 'abuse' must be a mapping"),
    (file(more="caps: [{times: 1}]\nabuse: {accounts_per_device: 0}"), "'accounts_per_device' must be from 1 to 1000"),
    (file(more="caps: [{times: 1}]\nabuse: {new_account: {days: 0}}"), "'days' must be from 1 to 365"),
    (file(more="caps: [{times: 1}]\nabuse: {refund_cycling: {rate: 2}}"), "'rate' must be from 0.01 to 1"),
    (file(more="caps: [{times: 1}]\nabuse: {self_referral: true}"), "'self_referral' goes with 'both'"),
    (file(on="{timer: window_closed}", more="caps: [{times: 1}]\nabuse: {accounts_per_card: 1}"),
     "window_closed brings no event, so there is no 'accounts_per_card'"),
    (file(on="alert.resolved", more="caps: [{times: 1}]\nabuse: {new_account: {days: 3}}"),
     "alert.resolved brings no event, so there is no 'new_account'"),
    (file(on="{timer: window_closed}", when="amount > 1"), "4:9: window_closed brings no event, so amount is always"),
    (file(on="{transition: lifecycle, to: lost}", when="count(by=customer, window='1h') > 1"),
     "lifecycle brings no event"),
    (file("{reward: points, amount: amount}", on="{timer: window_closed}"), "5:9: window_closed brings no event"),
    (file(on="{timer: window_closed}", when="score.fraud < 0.5"), "so score.fraud is always missing"),
    (file(when="false"), "4:9: this never holds"),
    (file(when="customer.lifecycle == 'lapsed'"), "4:9: lifecycle has no state 'lapsed' (one of prospect, new,"),
    (file(when="not ('sliver' == customer.membership)"), "4:9: membership has no state 'sliver' (did you mean"),
    (file(when="customer.activity in ['active', 'gone']"), "4:9: activity has no state 'gone'"),
    (file('{reward: coupon, value: "8.005", currency: EUR}'), "8.005 is more precise than EUR"),
    (file('{reward: coupon, value: "500%", most: 5, currency: EUR}'), "a share of a price is above 0 %"),
    (file(when="1 > 2"), "4:9: this never holds"),
    (file(when="amount > 10 and amount < 5"), "4:9: this never holds: what it asks of amount leaves nothing"),
    (file(when="currency == 'EUR' and not lat > 1 and currency == 'USD'"), "what it asks of currency leaves nothing"),
    (file(when="amount > 1 and (lat > 2 or customer.payments > 5) and customer.payments < 3 and lat < 1"),
     "what it asks of lat leaves nothing"),
])  # fmt: skip
def test_what_cannot_be_meant_is_refused(text: str, fault: str) -> None:
    assert any(fault in line for line in faults(text)), faults(text)


def test_all_faults_of_a_campaign_are_found_at_once() -> None:
    text = file("{reward: praise}", "hold: long\nbudget: 5\nholdout: 90%", on="payment.setled", when="amuont > 1")
    assert [line.split(":")[1] for line in faults(text)] == ["3", "4", "5", "6", "7", "8"]


def test_only_campaigns_look_at_the_customer() -> None:
    [fault] = faults("rules: [{id: r, when: customer.payments > 1, then: {score: 1}}]")
    assert "a rule cannot look at the customer (only campaigns can)" in fault
    [fault] = faults("features: [{name: f, expr: customer.payments}]")
    assert "a derived feature cannot look at the customer" in fault


@pytest.mark.parametrize("key", ["description", "consent", "group", "id"])
def test_texts_have_a_limit(key: str) -> None:
    text = file().replace("id: c", f"id: {'x' * 5_000}") if key == "id" else file(more=f"{key}: {'x' * 5_000}")
    assert faults(text)


def test_there_is_a_limit_to_campaigns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CAMPAIGNS_MAX", 2)
    one = file().removeprefix("campaigns:\n")
    text = "campaigns:\n" + "".join(one.replace("id: c", f"id: c{place}") for place in range(3))
    [fault] = faults(text)
    assert "12:3: more than 2 campaigns" in fault


def test_the_content_hash_covers_campaigns() -> None:
    before = compile({"t.yaml": file()})
    assert compile({"t.yaml": file("{reward: points, amount: 6}")}).hash != before.hash
    assert compile({"t.yaml": file()}).hash == before.hash


MESSY = """campaigns:
- tests: [{amount: 12, expect: granted, customer: {payments: 2}, given: {amount: 12}}]   # why
  caps: [ {per: day, times: 1} ]
  when: 'customer.payments >= 2'
  then: {amount: 'floor(amount)', reward: "points"}
  id: c
  # which
  on: payment.settled
"""
TIDY = """campaigns:
  - id: c
    # which
    on: payment.settled
    when: customer.payments >= 2
    then: {reward: points, amount: floor(amount)}
    caps: [{times: 1, per: day}]
    tests:  # why
      - {given: {amount: 12}, customer: {payments: 2}, expect: granted, amount: 12}
"""


def test_the_formatter_orders_keys_and_changes_no_meaning() -> None:
    once = reformat("t.yaml", MESSY)
    assert reformat("t.yaml", once) == once
    assert [line.split(":")[0].strip(" -") for line in once.splitlines() if ":" in line][:7] == [
        "campaigns", "id", "on", "when", "then", "caps", "tests",
    ]  # fmt: skip
    assert "# which" in once
    assert "# why" in once
    before, after = (compile({"t.yaml": text}) for text in (MESSY, once))
    assert testing.run_campaigns(after)[0].ok
    assert before.campaigns[0].when.text == after.campaigns[0].when.text
    assert before.campaigns[0].caps == after.campaigns[0].caps


def evaluated(ruleset: RuleSet, given: dict[str, float], customer: dict[str, Any]) -> tuple[bool, float]:
    row = row_of(ruleset, Case({"type": "payment.settled"}, given, {}, 0, {}, {}, True, 1))
    row.customer = customer.get
    return ruleset.conditions.holds(0, row), ruleset.conditions.amount(0, row)


@pytest.mark.parametrize(("when", "customer", "holds"), [
    ("customer.payments == 1", {"payments": 1.0}, True),
    ("customer.payments == 1", {}, False),
    ("missing(customer.payments)", {}, True),
    ("not (customer.payments > 1)", {}, True),
    ("customer.lifecycle == 'lost'", {"lifecycle": "lost"}, True),
    ("customer.lifecycle != 'lost'", {}, False),
    ("customer.lifecycle in ['lost', 'at_risk']", {"lifecycle": "at_risk"}, True),
    ("customer.referred", {"referred": True}, True),
    ("not customer.muted", {"muted": True}, False),
    ("missing(customer.country)", {"country": "FR"}, False),
    ("coalesce(customer.nps, 10) > 6", {}, True),
    ("9 <= customer.peak_hour <= 20", {"peak_hour": 20.0}, True),
])  # fmt: skip
def test_conditions_read_the_customer(when: str, customer: dict[str, Any], holds: bool) -> None:
    ruleset = compile({"t.yaml": file(when=when)})
    assert evaluated(ruleset, {}, customer)[0] is holds


@pytest.mark.parametrize(("amount", "given", "found"), [
    ("amount", {"amount": 12.5}, 12.5),
    ("amount", {}, 0.0),
    ("amount - 20", {"amount": 12.5}, 0.0),
    ("1 / amount", {"amount": 0.0}, 0.0),
    ("amount * 1000", {"amount": 12.5}, 50.0),
])  # fmt: skip
def test_amounts_are_finite_and_bounded(amount: str, given: dict[str, float], found: float) -> None:
    ruleset = compile({"t.yaml": file(f"{{reward: points, amount: {amount}, most: 50}}")})
    assert evaluated(ruleset, given, {})[1] == found


@pytest.mark.parametrize(("kind", "amount", "exponent", "whole"), [
    ("points", 12.99, 2, 12), ("points", 13.0 - 1e-12, 2, 13), ("cashback", 1.8474, 2, 184), ("cashback", 0.29, 2, 29),
    ("cashback", 0.009, 2, 0), ("cashback", 184.7, 0, 184), ("coupon", 1.0, 2, 1), ("points", 0.99, 2, 0),
])  # fmt: skip
def test_the_ledger_has_whole_units(kind: str, amount: float, exponent: int, whole: int) -> None:
    node = compile({"t.yaml": file()}).campaigns[0].reward
    assert node is not None
    assert units(Reward(kind, node.amount), amount, exponent) == whole


TESTED = "caps: [{amount: 10, per: day}]\nvalid_to: 2026-06-01T00:00:00Z\ntests:\n  - %s"


@pytest.mark.parametrize(("test", "ok"), [
    ("{customer: {payments: 2}, given: {amount: 7}, expect: granted, amount: 7}", True),
    ("{customer: {payments: 2}, given: {amount: 7}, expect: granted}", True),
    ("{customer: {payments: 2}, given: {amount: 7}, expect: granted, amount: 8}", False),
    ("{customer: {payments: 2}, given: {amount: 70}, expect: granted, amount: 10}", True),
    ("{customer: {payments: 1}, given: {amount: 7}, expect: granted}", False),
    ("{customer: {payments: 1}, given: {amount: 7}, expect: nothing}", True),
    ("{customer: {payments: 2}, given: {amount: 0.5}, expect: nothing}", True),
    ("{customer: {payments: 2}, expect: nothing}", True),
    ("{customer: {payments: 2}, given: {amount: 7, event_time: 2026-06-01T00:00:00Z}, expect: nothing}", True),
])  # fmt: skip
def test_tests_in_files_say_what_is_granted(test: str, ok: bool) -> None:
    text = file("{reward: points, amount: amount}", TESTED % test, when="customer.payments >= 2")
    [outcome] = testing.run_campaigns(compile({"t.yaml": text}))
    assert outcome.ok is ok


@pytest.mark.parametrize(("on", "test", "fault"), [
    ("payment.settled", "{expect: hit}", "unknown 'expect' 'hit'"),
    ("payment.settled", "{given: {}}", "a test needs 'expect'"),
    ("payment.settled", "{expect: nothing, amount: 5}", "and nothing is expected"),
    ("payment.settled", "{expect: granted, customer: {paymnets: 5}}", "unknown name 'customer.paymnets'"),
    ("payment.settled", "{expect: granted, customer: {payments: many}}", "customer.payments is a number"),
    ("payment.settled", "{expect: granted, customer: {payments: true}}", "customer.payments is a number"),
    ("payment.settled", "{expect: granted, customer: {referred: 1}}", "customer.referred is true or false"),
    ("payment.settled", "{expect: granted, customer: {lifecycle: 1}}", "customer.lifecycle is text"),
    ("payment.settled", "{expect: granted, customer: {payments: [1]}}", "must be a single value"),
    ("payment.settled", "{expect: granted, given: {amuont: 1}}", "unknown name 'amuont'"),
    ("{timer: window_closed}", "{expect: granted, given: {amount: 1}}", "there is no event, so no 'amount'"),
])  # fmt: skip
def test_faults_of_tests_have_their_place(on: str, test: str, fault: str) -> None:
    found = faults(file(more=f"caps: [{{times: 1}}]\ntests:\n  - {test}", on=on))
    assert any(line.startswith("t.yaml:8:") and fault in line for line in found), found


def test_the_commands_count_test_and_warn_of_campaigns(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(file("{reward: points, amount: amount}", TESTED % "{given: {amount: 7}, expect: nothing}"))
    checked, tested = report.check(path), report.run_tests(path)
    assert checked.ok
    assert "1 campaign;" in checked.text
    assert checked.text.splitlines()[1:] == ["warning: t.yaml:2: campaign c has no owner, no description"]
    assert not tested.ok
    assert tested.text.splitlines()[0] == "t.yaml:9: campaign c: expected nothing, got 7"
    assert tested.text.splitlines()[-1] == "1 test, 1 failed"
    path.write_text(file())
    assert report.run_tests(path).text.splitlines() == ["without a test: c", "0 tests, 0 failed"]
    path.write_text(file(more=""))
    assert not report.check(path).ok


@pytest.mark.parametrize("make", [
    lambda: "campaigns:\n" + "- {id: x}\n" * 10_000,
    lambda: file("{reward: points, amount: " + "1 + " * 2_000 + "1}"),
    lambda: file(more="caps: [{times: 1}]\ntests: [" + "{expect: granted}, " * 20_000 + "]"),
    lambda: file(more="caps: [{times: 1}]\nbudget: {amount: '" + "9" * 100_000 + "', currency: EUR}"),
    lambda: file("{offers: [" + "{id: a, offer: b}, " * 20_000 + "]}", CONSENT),
    lambda: file(on="{timer: birthday, at: '\u0669\u0669:00'}"),
    lambda: file(when="customer.__class__ == 'x'"),
    lambda: file(when="customer.payments.real == 1"),
    lambda: file(when="customer() == 1"),
    lambda: file(when="customer == 1"),
])  # fmt: skip
def test_hostile_files_are_refused(make: Callable[[], str]) -> None:
    with pytest.raises(RuleErrors) as raised:
        compile({"t.yaml": make()})
    assert all(error.line for error in raised.value.errors)


DEVICE, CARD, ADDRESS, NEW, CYCLING = (
    "SHARED_DEVICE_CLUSTER", "SHARED_CARD_CLUSTER", "SHARED_ADDRESS_CLUSTER", "NEW_ACCOUNT_FARMING", "REFUND_CYCLING",
)  # fmt: skip


@pytest.mark.parametrize(("abuse", "codes"), [
    ("", [DEVICE, CARD, NEW, CYCLING]),
    ("off", []),
    ("{}", [DEVICE, CARD, NEW, CYCLING]),
    ("{accounts_per_device: off, new_account: off, accounts_per_address: 4}", [CARD, ADDRESS, CYCLING]),
    ("{new_account: {accounts_per_device: off}, refund_cycling: off}", [DEVICE, CARD]),
    ("{accounts_per_device: off, accounts_per_card: off, new_account: off, refund_cycling: {min: 9}}", [CYCLING]),
])  # fmt: skip
def test_abuse_is_looked_for_unless_a_campaign_says_otherwise(abuse: str, codes: list[str]) -> None:
    said = f"caps: [{{times: 1}}]\nabuse: {abuse}" if abuse else "caps: [{times: 1}]"
    found = read(more=said)
    assert [one.code for one in found.abuse] == codes
    assert not found.self_referral
    assert (DEVICE in codes or NEW in codes) == ("distinct(of=customer_id, by=device, window='7d')" in found.uses)


def test_without_an_event_only_the_customers_own_record_is_looked_at() -> None:
    for on in ("{timer: window_closed}", "alert.resolved"):
        assert [one.code for one in read(on=on).abuse] == [CYCLING]
    assert read("{reward: points, amount: 5, both: true}").self_referral
    assert read("{reward: tier}", "hold: none", on="{transition: membership, to: gold}").abuse == ()
    assert read(OFFER, CONSENT + "caps: [{times: 1}]").abuse == ()


def test_a_test_in_a_file_tells_what_is_frozen_from_what_is_granted(tmp_path: Path) -> None:
    many = "with: {\"distinct(of=customer_id, by=device, window='7d')\": 4}"
    cycles = "customer: {refunds_90d: 3, refund_rate_90d: 0.5}"
    lines = [f"caps: [{{times: 1}}]\ntests:\n- {{{many}, expect: frozen, amount: 5}}\n- {{expect: granted}}",
             f"- {{{cycles}, expect: frozen}}", "- {customer: {refunds_90d: 2, refund_rate_90d: 1}, expect: granted}",
             f"- {{{many}, expect: granted}}", "- {expect: frozen}", f"- {{{many}, expect: nothing}}"]  # fmt: skip
    ruleset = compile({"t.yaml": file(more="\n".join(lines))})
    assert [one.ok for one in testing.run_campaigns(ruleset)] == [True, True, True, True, False, False, False]
    (tmp_path / "t.yaml").write_text(file(more="\n".join(lines)))
    text = report.run_tests(tmp_path).text
    for line in ("expected a grant, got 5, frozen for SHARED_DEVICE_CLUSTER", "expected a grant that is frozen, got 5"):
        assert line in text
