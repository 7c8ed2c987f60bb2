"""The last net: records that the core fails on, though it should never fail.

Every bad event is refused by the decoder, with its own reason. If a fault of ours raises all the same, the batch is
taken apart, and the record that raises goes to the dead letters, so that one record cannot stop a partition. A worker
that fails on record after record is broken itself, and stops instead of refusing everything.
"""

import hashlib
from typing import Final

import msgspec

from engine.core.effects import Effects, Output
from engine.core.redact import redact
from engine.domain.ids import output_id
from engine.domain.outputs import DeadLetter
from engine.ports.log import LogRecord
from engine.service.machine import Source

REASON: Final = "processing_failed"
REFUSED_MAX: Final = 3  # of one batch; more is no longer a matter of the records


class MachineFault(Exception):
    """The core raised; the cause is attached. The shard's memory is dropped: open it again."""


def refusal(record: LogRecord, source: Source, fault: MachineFault) -> Effects:
    """The effects of a record that cannot be processed: a dead letter, and nothing else.

    The detail names the kind of the error only: its text could quote the event.
    """
    digest = hashlib.sha256(record.value or b"").hexdigest()
    letter = DeadLetter(REASON, type(fault.__cause__).__name__, source, digest, redact(record.value))
    place = [f"{name}={value}" for name, value in sorted(source.items())]
    output = Output("dead_letter", b"", output_id("dead_letter", *place, digest), 0, msgspec.json.encode(letter))
    return Effects(outputs=[output], dead_lettered=1)
