"""What must hold when a run has come to its end, whatever went wrong on the way."""

import json
from collections import Counter
from collections.abc import Coroutine
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from engine.adapters.memory_log import MemoryRecord
from engine.core.controls import may_be_control
from engine.core.customers import customer_key
from engine.core.rewards import account_key
from engine.domain.outputs import Reward
from engine.engagement.base_earn import CAMPAIGN, Account
from engine.engagement.customer.codec import load
from engine.engagement.ledger.lots import POINTS
from engine.engagement.ledger.verify import BUCKETS, verify
from engine.ports.store import Commit
from engine.service.marks import take
from tests.service.simulator.alone import SoleSimulation
from tests.service.simulator.simulation import Simulation
from tests.service.simulator.world import Oracle, Told, source

T = TypeVar("T")


def check(simulation: Simulation) -> None:
    """Raises `AssertionError`."""
    for shard in simulation.records:
        oracle = simulation.world.oracle(shard).take(simulation.records[shard])
        outputs(simulation, shard, oracle)
        replies(simulation, shard, oracle)
        ledger(simulation, shard, oracle)
        state(simulation, shard, oracle)


def check_alone(simulation: SoleSimulation) -> None:
    """As `check`, over what the journal holds. Raises `AssertionError`."""
    records = simulation.records[0]
    oracle = simulation.world.oracle(0).take(records)
    outputs(simulation, 0, oracle)
    ledger(simulation, 0, oracle)
    answers(simulation, oracle)
    state(simulation, 0, oracle)


def answers(simulation: SoleSimulation, oracle: Oracle) -> None:
    """Every call is answered with what its event led to, or what the first of that identity did."""
    refused = {record.value for record in simulation.records[0] if oracle.told[record.offset].status == "rejected"}
    first: dict[tuple[str, str], Told] = {}
    for record in simulation.records[0]:
        told = oracle.told[record.offset]
        if told.status in ("decision", "accepted") and not may_be_control(record.value):
            assert _identity(record.value) not in first, "the oracle accepted an event twice"
            first[_identity(record.value)] = told
    for value, answer in simulation.answers:
        if answer.status == "rejected":
            assert value in refused, f"{value!r} was refused: {answer}"
        else:
            assert _identity(value) in first, f"{value!r} was answered and is lost"
            told = first[_identity(value)]
            assert answer.status in (told.status, "duplicate") and answer.body == told.body, f"{answer}, not {told}"


def outputs(simulation: Any, shard: int, oracle: Oracle) -> None:
    """Every output of the oracle, byte for byte: at least once; once and in order where the sink has a position."""
    made = [output.id for output in oracle.outputs]
    expected = list(dict.fromkeys(made))
    twice = [identity for identity, count in Counter(made).items() if count > 1]
    # A control event is announced until it is known to be there, so it may be there twice, and what it says too.
    assert simulation.announces or not twice, f"the oracle itself repeats {twice}"
    got = simulation.broker.ids(shard)
    once = list(dict.fromkeys(got))
    assert not set(once) - set(expected), f"shard {shard}: outputs out of nothing: {set(once) - set(expected)}"
    assert not set(expected) - set(once), f"shard {shard}: lost: {set(expected) - set(once)}"
    assert once == expected, f"shard {shard}: outputs came in another order"
    if simulation.transactional:
        assert got == once, f"shard {shard}: doubled: {[i for i, n in Counter(got).items() if n > 1]}"
    bodies = {output.id: output.data for output in oracle.outputs}
    for sent in simulation.broker.sent:
        if sent.shard == shard:
            assert sent.output.data == bodies[sent.output.id], f"shard {shard}: {sent.output.id} says something else"
            assert sent.ordinal in (None, made.index(sent.output.id), *([sent.ordinal] if twice else [])), (
                f"shard {shard}: {sent.output.id} has a wrong ordinal"
            )


def replies(simulation: Simulation, shard: int, oracle: Oracle) -> None:
    """Whoever waits for a record is told what the oracle says of it, and a repeat what the first was told."""
    first: dict[tuple[str, str], bytes] = {}
    wanted = {}
    for record in simulation.records[shard]:
        told = oracle.told[record.offset]
        if record.headers and told.status == "duplicate":
            wanted[record.offset] = ("duplicate", first.get(_identity(record.value), b"null"))
        elif record.headers:
            wanted[record.offset] = told
            if told.status == "decision":
                first[_identity(record.value)] = told.body
    got: dict[int, set[tuple[str, bytes]]] = {}
    for channel, payload in simulation.store.replies:
        if channel == f"node{shard}":
            reply = json.loads(payload)
            body = payload[payload.index(b'"body":') + 7 : -1]
            got.setdefault(int(reply["request"]), set()).add((reply["status"], body))
    assert set(got) == set(wanted), f"shard {shard}: answered {sorted(got)}, asked {sorted(wanted)}"
    for offset, (status, body) in wanted.items():
        assert {answer[0] for answer in got[offset]} == {status}, f"shard {shard}, offset {offset}: {got[offset]}"
        if status != "rejected":
            assert got[offset] == {(status, body)}, f"shard {shard}, offset {offset}: {got[offset]}, not {body!r}"


def _identity(value: bytes | None) -> tuple[str, str]:
    body = json.loads(value or b"")
    return body["customer_id"], body["event_id"]


def ledger(simulation: Any, shard: int, oracle: Oracle) -> None:
    """The entries that a consumer got add up to the balance in the store, customer by customer."""
    entries = {sent.output.id: json.loads(sent.output.data) for sent in simulation.broker.sent
               if sent.shard == shard and sent.output.kind == "reward"}  # fmt: skip
    sums: Counter[str] = Counter()
    for entry in entries.values():
        if entry["campaign_id"] == CAMPAIGN:  # built in
            sums[entry["customer_id"]] += int(entry["delta"])
    held = simulation.store._shards[shard].state
    granted = [msgspec.convert(entry, Reward) for entry in entries.values() if entry["campaign_id"] != CAMPAIGN]
    balances = {}
    for customer in {entry.customer_id for entry in granted}:
        points = load(held.get(customer_key(customer), b""))[0].ledger.balance((POINTS, ""))
        balances[customer, "points", ""] = dict(zip(BUCKETS, map(Decimal, points), strict=True))
    proof = verify(granted, balances)
    assert not proof.faults, f"shard {shard}: {proof.faults[0]}"
    for customer in sorted(sums):
        account = Account.restore(held.get(account_key(customer)))
        balance = sum(payment.kept for payment in account.payments.values())
        assert balance == sums[customer], f"{customer}: {sums[customer]} points in entries, {balance} in the store"


def state(simulation: Any, shard: int, oracle: Oracle) -> None:
    """The stored state does to further events what the oracle's does: outputs and every feature, byte for byte."""
    draw, last = simulation.draw, simulation.records[shard][-1].offset + 1
    partition = simulation.world.reopened(shard)
    head = run_now(simulation.store.open(shard))
    kept = dict(head.state)
    assert take(kept, simulation.partitions) == len(oracle.outputs), "the count of outputs is wrong"
    partition.restore(kept)
    probes = [MemoryRecord(last + i, value) for i, value in enumerate(simulation.world.probes(draw, shard))]
    before = len(oracle.outputs), len(oracle.features)
    oracle.take(probes)
    found, features = [], []
    for part in filter(None, (probes[:4], probes[4:-1], probes[-1:])):
        decoded = partition.decode([record.value for record in part])
        keys = partition.missing(decoded)
        while keys:
            keys = partition.load(keys, run_now(simulation.store.load(shard, keys)))
        effects = partition.apply(decoded, lambda row, part=part: source(shard, part[row].offset))  # type: ignore[misc]
        fence = {"lineage": head.lineage, "next_lineage": head.lineage}
        run_now(simulation.store.commit(Commit(shard, part[0].offset, part[-1].offset + 1, effects.ops, **fence)))
        found += effects.outputs
        features += effects.features
    assert found == oracle.outputs[before[0] :], f"shard {shard}: the state leads to other outputs"
    assert features == oracle.features[before[1] :], f"shard {shard}: the state leads to other features"


def run_now(call: Coroutine[Any, Any, T]) -> T:
    """The result of a call of the memory store, which never waits."""
    try:
        call.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("the memory store waited")
