"""The demo as a user runs it: it ends by itself or when told to, and leaves nothing behind."""

import asyncio
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from rich.console import Console

from engine.core.decode import Decoder
from engine.demo import screen
from engine.demo.calls import payment, results
from engine.demo.children import port_near
from engine.demo.responses import milliseconds
from engine.demo.tally import Tally, percentile
from engine.demo.traffic import begins_ms, stream

END_SECONDS = 240.0


@contextmanager
def demo(directory: Path, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """`steward demo` with `directory` as the place for temporary files."""
    environment = {**os.environ, "TMPDIR": str(directory)}
    command = [sys.executable, "-m", "engine.cli", "demo", *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def processes_of(directory: Path) -> list[str]:
    """Command lines of processes that were started with `directory` for temporary files."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and str(directory).encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:  # it has just ended, or is not ours to read
            continue
    return found


@pytest.fixture
def place(tmp_path: Path) -> Path:
    directory = tmp_path / "d"
    directory.mkdir()
    return directory


def test_it_ends_by_itself_after_so_many_events_with_a_taken_port(place):
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 8080))
            taken.listen()
        except OSError:
            pass  # somebody else has it: just as good
        with demo(place, "--events", "1500", "--rate", "1500") as process:
            output, _ = process.communicate(timeout=END_SECONDS)
    assert process.returncode == 0, output
    assert "http://127.0.0.1:8080 " not in output
    assert re.search(r"events sent\s+│ 1,500", output)
    assert int(re.findall(r"decisions (\d+)", output)[-1]) > 100
    assert processes_of(place) == []
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(("number", "after"), [(signal.SIGTERM, "starting the worker"), (signal.SIGINT, "events ")])
def test_a_signal_ends_it_cleanly(place, number, after):
    with demo(place) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if after in line:
                break
        process.send_signal(number)
        rest, _ = process.communicate(timeout=END_SECONDS)
    assert process.returncode == 0, rest
    assert "Traceback" not in rest
    assert processes_of(place) == []
    assert list(place.iterdir()) == []


def test_the_tally_counts_what_was_caught_and_what_was_missed():
    tally = Tally()
    tally.label("p1,fraud,card_testing\n")
    tally.label("p2,fraud,bust_out\n")
    tally.label("p3,legitimate,\n")
    for number, outcome in ((1, "decline"), (2, "approve"), (3, "review"), (4, "approve")):
        tally.leaves(f"e{number}", "payment.requested", "2026-01-01T00:00:00.000Z")
        body = b'{"event_id":"e%d","payment_id":"p%d","decision":"%b"}' % (number, number, outcome.encode())
        tally.arrived("decision", body)
    tally.leaves("e5", "account.login", "2026-01-01T00:00:01.000Z")
    assert (tally.caught, tally.missed, tally.false_alarms) == (1, 1, 1)
    assert (tally.sent, tally.decisions, tally.waiting) == (5, 4, {})
    assert "fraud caught 1 of 2" in screen.line(tally)


def test_percentiles_and_ports():
    assert percentile([], 0.5) is None
    assert [percentile([3.0, 1.0, 2.0], share) for share in (0.0, 0.5, 0.99)] == [1.0, 2.0, 3.0]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert port_near(port) != port


def told(**fields):
    return msgspec.json.encode(fields)


def test_the_tally_knows_points_by_bucket_and_where_customers_stand():
    tally = Tally()
    for delta, bucket in (("200", "pending"), ("-150", "pending"), ("150", "active"), ("-20", "active")):
        tally.arrived("reward", told(kind="points", delta=delta, bucket=bucket))
    tally.arrived("reward", told(kind="cashback", delta="1.25", bucket="pending"))
    for before, after in ((None, "prospect"), ("prospect", "new"), ("prospect", "new"), ("new", "active")):
        tally.arrived("lifecycle", told(dimension="lifecycle", **{"from": before, "to": after}))
    assert tally.rewards == 5
    assert tally.points == {"pending": 50, "active": 130}
    assert {state: count for state, count in tally.states["lifecycle"].items() if count} == {"new": 1, "active": 1}
    rows = dict(screen._rows(tally, 1.0))
    assert rows["rewards"] == "5 ledger entries   points pending 50  active 130"
    assert rows["lifecycle"] == "new 1  active 1"
    assert rows["membership"] == "none yet"


def offer(number, status="issued", holdout=False):
    return told(offer_id=f"off_{number}", customer_id=f"c{number % 7}", send_at="2026-01-01T10:00:00.000Z",
                status=status, holdout=holdout)  # fmt: skip


def test_some_offers_are_viewed_and_some_of_those_used_after_they_were_sent():
    tally = Tally()
    for number in range(1000):
        tally.arrived("offer", offer(number))
    for number in range(1000, 1100):
        tally.arrived("offer", offer(number, holdout=True))
    responses = tally.responses
    assert (responses.issued, responses.held_out) == (1000, 100)
    assert responses.due("2026-01-01T09:59:59.999Z") == []
    early = responses.due("2026-01-01T13:00:00.000Z")
    answers = early + responses.due("2026-01-02T10:00:00.000Z")
    assert 0 < len(early) < len(answers)
    times = [answer.event_time for answer in answers]
    assert times == sorted(times)
    seen = {kind: [one.offer_id for one in answers if one.type == kind] for kind in ("offer.viewed", "offer.redeemed")}
    assert (responses.viewed, responses.redeemed) == tuple(map(len, seen.values()))
    assert 500 < responses.viewed < 700
    assert 150 < responses.redeemed < 270
    assert set(seen["offer.redeemed"]) <= set(seen["offer.viewed"])
    assert Decoder().decode([msgspec.json.encode(answer) for answer in answers]).rejects == []
    assert responses.due("2027-01-01T00:00:00.000Z") == []


def test_an_offer_that_is_withdrawn_is_not_answered():
    tally = Tally()
    for number in range(200):
        tally.arrived("offer", offer(number))
        tally.arrived("offer", offer(number, status="withdrawn"))
    assert tally.responses.withdrawn == 200
    assert tally.responses.due("2026-01-03T10:00:00.000Z") == []


def campaign(name, grants=0, offers=0, held_out=0, effect=None):
    counts = {"grants": grants, "granted": "700", "offers": offers, "customers": 3, "held_out": held_out}
    return {"campaign_id": name, "kind": "points", "currency": None, **counts, "cost": 7.0, "effect": effect}


def test_results_of_campaigns_are_asked_for_and_shown():
    answers = [campaign("idle"), campaign("nudge", offers=2, held_out=1), campaign("earn", grants=9, effect={
        "relative": {"estimate": 0.05, "low": 0.01, "high": 0.09}})]  # fmt: skip
    keys, again = [], asyncio.Event()

    async def handler(request):
        keys.append(request.headers.get("X-API-Key"))
        if len(keys) == 2:  # the first answer has been taken in
            again.set()
        return web.json_response({"campaigns": answers})

    async def run():
        tally, app = Tally(), web.Application()
        app.router.add_get("/v1/campaigns", handler)
        async with TestServer(app) as server:
            asking = asyncio.create_task(results(str(server.make_url("")).rstrip("/"), "secret", tally))
            await again.wait()
            asking.cancel()
        return tally

    tally = asyncio.run(asyncio.wait_for(run(), 30))
    assert keys[0] == "secret"
    assert [one["campaign_id"] for one in tally.campaigns] == ["earn", "nudge", "idle"]
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(screen.page("http://x", tally, "note"))
    text = console.export_text()
    assert re.search(r"earn +9 +700 points +0 +3 +0 +7.00 +\+1.0% to \+9.0%", text)
    assert re.search(r"nudge +0 +– +2 +3 +1 +7.00 +–", text)
    assert "idle" not in text


def test_the_demo_lives_in_the_time_of_its_stream():
    """The clock of a shard goes by its events: a call from the future would hold back every timer."""
    tally = Tally()
    start_ms = begins_ms(2000)
    first = json.loads(next(stream(2000, 7, start_ms, tally)))
    tally.event_time = first["event_time"]
    body = payment(1, "run", tally.event_time)
    assert body["event_time"] == first["event_time"]
    assert 0 <= milliseconds(first["event_time"]) - start_ms < 86_400_000
    assert Decoder().decode([json.dumps(body).encode()]).rejects == []
