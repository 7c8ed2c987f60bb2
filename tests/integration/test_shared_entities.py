"""Entities that customers of two partitions share, with real processes, Kafka and Redis."""

import asyncio
import json
import random
from collections.abc import Callable
from pathlib import Path

from engine.core.sharing import seen_names
from engine.partitions import core_settings
from tests.service import sharing
from tests.service.sharing import ONE, SETS, SMALL, Sharing
from tests.support.deployment import STEWARD, Deployment

KILLS = 4
EVENTS = 360


async def test_killed_workers_touch_each_shared_entity_once(deploy: Callable[..., Deployment], tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    for name, text in ONE.texts.items():
        (rules / name).write_text(text, encoding="utf-8")
    deployment = deploy(STEWARD_BATCH_EVENTS_MAX="8", STEWARD_RULES=str(rules), STEWARD_LABEL_MATURITY="1h")
    await deployment.create_topics()
    draw, world = random.Random(3), Sharing()
    values = [value for n in range(EVENTS) if (value := world.value(draw, n, n % 6)) and b"payment" in value]
    await deployment.produce(values)
    done = 0
    for _ in range(KILLS):
        worker = deployment.start(STEWARD)
        heads = await deployment.until(lambda heads, done=done: sum(max(0, h.offset) for h in heads.values()) > done)
        await asyncio.sleep(draw.random() * 0.05)
        worker.kill()
        done = sum(max(0, head.offset) for head in heads.values())
    deployment.start(STEWARD)
    logged = await deployment.events()
    await deployment.until(lambda heads: all(heads[s].offset == len(logged[s]) and not heads[s].outbox for s in heads))
    layout, logs = sharing.alone(logged.values(), core_settings(deployment.settings))
    machine = sharing.Crashing(ONE, SMALL, rulesets=SETS.get)
    machine.spread(2)
    machine.restore({})
    shared = [(key, value, home) for key, value in logs if (home := machine.home(key)) is not None]
    assert {home for _, _, home in shared} == {0, 1}
    wanted = sharing.touches(layout, [(key, value) for key, value, _ in shared])
    assert min(sharing.label_rows(wanted).values()) > 5  # what was told, and what has matured
    async with deployment._store() as store:
        for _ in range(100):  # the last batch's touches are delivered after its commit
            found = [(key, (await store.load(home, [key]))[0] or b"") for key, _, home in shared]
            if sharing.touches(layout, found) == wanted:
                break
            await asyncio.sleep(0.1)
        assert await store.layout() == layout
    assert sharing.touches(layout, found) == wanted
    decisions = [sent.event["data"] for sent in await deployment.outputs(ids=1) if sent.topic.endswith("decisions")]
    assert all(len(decision["seen"]) == len(seen_names(ONE)) for decision in decisions)
    assert len({json.dumps(decision["seen"]) for decision in decisions}) > 50
