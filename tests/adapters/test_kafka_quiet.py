import asyncio
import logging
import os
from pathlib import Path

import pytest

from engine.adapters.kafka_quiet import ComplaintFilter, be_patient
from engine.adapters.worker_slot import WorkerSlot


def test_equal_complaints_are_written_once_and_connections_become_a_call(caplog: pytest.LogCaptureFixture) -> None:
    complaints = ComplaintFilter()
    told: list[str] = []
    complaints.on_connection = told.append
    complaints.install()
    try:
        client, sender = logging.getLogger("aiokafka"), logging.getLogger("aiokafka.producer.sender")
        for number in range(1000):
            client.error("Unable connect to node with id %s: %s", 1, "refused")
            sender.warning("Got error produce response on %s", number)
    finally:
        complaints.remove()
    assert [record.message for record in caplog.records] == ["Got error produce response on 0"]
    assert told == ["Unable connect to node with id 1: refused"] * 1000
    sender.warning("Got error produce response on %s", 7)
    assert len(caplog.records) == 2


async def test_a_failed_metadata_update_is_followed_by_a_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    answers = [False, False, True]

    class Client:
        async def _metadata_update(self, *_: object) -> bool:
            return answers.pop(0)

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    client = Client()
    be_patient(client)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    assert [await client._metadata_update(None, []) for _ in range(3)] == [False, False, True]
    assert len(waits) == 2


def test_workers_of_one_machine_get_different_names_and_a_free_one_is_used_again(tmp_path: Path) -> None:
    with WorkerSlot("g", tmp_path) as first, WorkerSlot("g", tmp_path) as second, WorkerSlot("h", tmp_path) as other:
        assert len({first.name, second.name, other.name}) == 3
        assert first.name.endswith("-g-0")
        assert second.name.endswith("-g-1")
    with WorkerSlot("g", tmp_path) as again:
        assert again.name == first.name


def test_a_name_that_a_killed_worker_left_is_taken_before_one_that_was_given_back(tmp_path: Path) -> None:
    with WorkerSlot("g", tmp_path), WorkerSlot("g", tmp_path) as killed, WorkerSlot("g", tmp_path) as runs:
        os.dup2(os.open(os.devnull, os.O_RDONLY), killed._file)  # the kernel lets go of the lock, and nobody else does
        with WorkerSlot("g", tmp_path) as successor:
            assert successor.name == killed.name
            with WorkerSlot("g", tmp_path) as another:
                assert another.name not in (killed.name, runs.name)
        killed._file = os.open(tmp_path / "other", os.O_CREAT | os.O_RDWR)
    with WorkerSlot("g", tmp_path) as first:
        assert first.name.endswith("-g-0")
