"""Letters between shards, put on the input log by the relay of the shard that wrote them."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from engine.domain.outputs import LETTER
from engine.ports.announce import Announcer
from engine.ports.log import LogUnavailable
from engine.ports.sink import Sink, SinkOutput, SinkUnavailable


class Postbox(Announcer, Protocol):
    """The input log, as letters need it: by the key of a customer, or by the number of a shard."""

    async def write(self, key: bytes, value: bytes, headers: Sequence[tuple[str, bytes]]) -> int:
        """See `engine.ports.sync.EventWriter`."""


class _Addressed(msgspec.Struct):
    receiver: int


_ADDRESSED = msgspec.json.Decoder(_Addressed)


class LetterSink(Sink):
    """Puts letters on the log, at least once each and in order; passes over every other output.

    It stands before the other sinks (`engine.adapters.fan_out`), outside of their transactions: who reads the log reads
    what is not committed too, and what letters say may come twice.
    """

    def __init__(self, postbox: Postbox) -> None:
        self._postbox = postbox

    async def send(self, shard: int, first: int, outputs: Sequence[SinkOutput]) -> None:
        """See `Sink.send`."""
        for output in outputs:
            if output.kind == LETTER:
                try:
                    await self._post(output)
                except LogUnavailable as error:
                    raise SinkUnavailable(str(error)) from error

    async def _post(self, letter: SinkOutput) -> None:
        if letter.key:
            await self._postbox.write(letter.key, letter.data, ())
        else:
            await self._postbox.announce(_ADDRESSED.decode(letter.data).receiver, letter.data)
