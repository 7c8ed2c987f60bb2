"""What goes wrong in a run, and what becomes of each request to a server: all of it drawn from the seed."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar

T = TypeVar("T")

TIMEOUT_S: Final = 2.0  # a caller waits so long for an answer
SESSION_S: Final = 6.0  # a worker that is silent for so long loses its partitions
SILENT: Final = 0.25  # of the disturbed runs leave a kind of fault out, so that others show what it would hide


class Killed(BaseException):
    """The process died here."""


@dataclass(frozen=True, slots=True)
class Faults:
    """How often each thing goes wrong: a probability a request, but where it says otherwise.

    Attributes:
        kill: the process dies around it. pause: the process stands still, for as long as drawn.
        lost: the request or its answer does not arrive. slow: it takes up to a minute, past the caller's patience.
        rollbacks: how often the store goes back to earlier commits, in the whole run.
        rebalances: how often partitions change hands for no reason, in the whole run.
        crash: the process dies between two stages of a batch, a probability a batch.
    """

    kill: float = 0.0
    pause: float = 0.0
    lost: float = 0.0
    slow: float = 0.0
    rollbacks: int = 0
    rebalances: int = 0
    crash: float = 0.0

    @classmethod
    def drawn(cls, draw: random.Random) -> "Faults":
        """Some faults at some rates: each kind is absent from some runs."""

        def rate(most: float) -> float:
            return 0.0 if draw.random() < SILENT else most * draw.random()

        return cls(
            kill=rate(0.03),
            pause=rate(0.03),
            lost=rate(0.15),
            slow=rate(0.06),
            rollbacks=round(rate(4.0)),
            rebalances=round(rate(4.0)),
            crash=rate(0.06),
        )


NONE: Final = Faults()


class Process:
    """One worker process as its servers see it: it makes requests, stands still, dies.

    A request leaves the process and reaches the server, or not; what it does there happens whether or not the process
    still waits, lives or owns anything, and possibly much later.
    """

    def __init__(self, draw: random.Random, faults: Faults) -> None:
        self.draw = draw
        self.faults = faults
        self.dead = False
        self.paused_until_s = 0.0
        self.seen_s = 0.0  # when the others last heard of it

    def calm(self) -> None:
        """From now on nothing goes wrong."""
        self.faults = NONE

    async def gate(self) -> None:
        """Where a process may be found dead or standing still."""
        loop = asyncio.get_running_loop()
        while not self.dead and self.paused_until_s > loop.time():  # noqa: ASYNC110 - the time is known
            await asyncio.sleep(self.paused_until_s - loop.time())
        if self.dead:
            raise Killed
        self.seen_s = loop.time()

    def disturb(self) -> bool:
        """May end the process or make it stand still; says whether a request fails."""
        if self.dead or self.draw.random() < self.faults.kill:
            self.die()
        if self.draw.random() < self.faults.pause:
            length_s = self.draw.choice((0.1, 3.0, 20.0, 60.0))
            self.paused_until_s = asyncio.get_running_loop().time() + length_s
        return self.draw.random() < self.faults.lost

    def crash(self) -> None:
        """May end the process in the middle of its own work."""
        if self.dead or self.draw.random() < self.faults.crash:
            self.die()

    def die(self) -> None:
        self.dead = True
        raise Killed

    async def request(self, action: Callable[[], Coroutine[Any, Any, T]], failure: type[Exception]) -> T:
        """Have `action` done by a server; `failure` where no answer comes."""
        await self.gate()
        lost = self.disturb()
        await self.gate()  # a pause may begin with the request made up and not yet sent
        there_s, back_s = self._delay_s(), self._delay_s()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        arrives = not lost or self.draw.random() < 0.5
        if arrives:
            loop.call_later(there_s, _serve, action, answer)
        patience_s = TIMEOUT_S * (0.5 + self.draw.random())
        if lost or there_s + back_s > patience_s:
            await asyncio.sleep(patience_s)
            await self.gate()
            raise failure("simulated")
        await asyncio.sleep(there_s + back_s)
        self.disturb()
        await self.gate()
        return answer.result()

    def _delay_s(self) -> float:
        if self.draw.random() < self.faults.slow:
            return self.draw.choice((0.5, 1.5, 10.0, 60.0)) * self.draw.random()
        return self.draw.random() * 0.004


def _serve(action: Callable[[], Coroutine[Any, Any, T]], answer: "asyncio.Future[T]") -> None:
    """Do what a request asks for, at one instant: the servers here never wait for anything."""
    try:
        action().send(None)
    except StopIteration as done:
        answer.set_result(done.value)
    except Exception as error:
        answer.set_exception(error)
        answer.exception()  # seen, also where nobody waits for it any more
    else:
        raise AssertionError("a server waited")
