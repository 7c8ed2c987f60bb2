"""Keeps the shards of this process under the rule set of its rules directory, while they run.

A changed directory is read and compiled beside the event loop; then each shard owned here is told by a `control.rules`
event on its own log, so that the change takes effect at one offset and every replay sees it there. A directory that
cannot be used changes nothing: the shards go on under the set they have, and one `control.rules_refused` event says
why. Nothing in this module ends the process.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec

from engine.ports.announce import Announcer
from engine.ports.clock import Clock
from engine.ports.log import LogUnavailable
from engine.ports.store import StoreMisconfigured, StoreUnavailable
from engine.ruleset.compiler import content_hash
from engine.ruleset.errors import RuleErrors
from engine.ruleset.ruleset import RuleSet
from engine.service.outage import Outage
from engine.service.rule_sets import RuleLibrary

RULES: Final = "control.rules"
REFUSED: Final = "control.rules_refused"
LOADED: Final = "loaded"
EMPTY: Final = "{}: the file is empty (a file that is not needed is deleted; an empty one is taken for half written)"
ERRORS_MAX: Final = 10  # lines of one refusal: the first few tell what to mend, `steward rules check` tells all
ERROR_CHARS_MAX: Final = 512
REPEAT_S: Final = 60.0
"""A shard that was told and has not adopted yet is told again after so long, then twice as long, and so on: it is far
behind on its log, or the rule set does not fit its state, which its dead letters say."""
REFRESH_S: Final = 600.0  # between two times the archive is given what is in force: it may have lost it, or forget it

logger = logging.getLogger("steward.rules")


class _Content(NamedTuple):
    """What one look at the directory found: `files`, and the `errors` that keep it from being used."""

    key: str
    files: Mapping[str, str] | None
    errors: tuple[str, ...] = ()


class _Told(NamedTuple):
    ruleset: str
    again_s: float  # when to say it again
    wait_s: float


@dataclass(slots=True)
class Status:
    """What an operator is told about the rules directory.

    Attributes:
        ruleset: hash of the last content that could be used, empty before the first look.
        errors: what is wrong with the content there now, a line each; empty where nothing is.
        loaded, refused: how many contents were taken and refused.
    """

    ruleset: str = ""
    errors: tuple[str, ...] = ()
    loaded: int = 0
    refused: int = 0


@dataclass(slots=True)
class _Progress:
    """Between two looks.

    `last` is the key of the content read last, `judged` of the one that was taken or refused; a content counts when
    two looks in a row find it, so that a file caught half written does not.
    """

    last: str
    judged: str = ""
    wanted: RuleSet | None = None
    refusal: _Content | None = None  # not announced yet
    told: dict[int, _Told] = field(default_factory=dict)
    refreshed_s: float = 0.0


class Reloader:
    """Polls one rules directory.

    Args:
        read: reads the files of the directory; runs in a thread. Raises `RuleErrors`.
        library: compiles and archives; its `first` is what was read when the process started.
        in_force: the hash in force by shard, of the shards that are owned and open now.
        announcer: takes the control events.
        now_ms: wall time, the event time of control events; no outcome depends on it.
        on_result: told `loaded` or `refused` for each content.

    Attributes:
        status: for operators.
    """

    def __init__(
        self,
        read: Callable[[], Mapping[str, str]],
        library: RuleLibrary,
        in_force: Callable[[], Mapping[int, str]],
        announcer: Announcer,
        *,
        clock: Clock,
        outage: Outage,
        every_s: float,
        now_ms: Callable[[], int],
        on_result: Callable[[str], None] = lambda result: None,
    ) -> None:
        self.status = Status()
        self._read = read
        self._library = library
        self._in_force = in_force
        self._announcer = announcer
        self._clock = clock
        self._outage = outage
        self._every_s = every_s
        self._now_ms = now_ms
        self._on_result = on_result
        self._progress = _Progress(last=library.first.hash)  # the process has just read it

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            await self.poll()
            await self._clock.sleep(self._every_s)

    async def poll(self) -> None:
        """One look at the directory, and what follows from it. What fails for now is tried again by the next one."""
        try:
            await self._look()
            await self._tell()
        except (LogUnavailable, StoreUnavailable, StoreMisconfigured) as error:
            self._outage.failed(error)
        except Exception:
            # A fault of ours must not end the watch: the rules in force stay, and the log says why.
            logger.exception("the rules directory could not be looked at")
        else:
            self._outage.worked()

    async def _look(self) -> None:
        progress = self._progress
        content = await asyncio.to_thread(self._content)
        settled, progress.last = content.key == progress.last, content.key
        if not settled or content.key == progress.judged:
            return
        if content.files is None or content.errors:
            self._refuse(content)
        else:
            try:
                ruleset = await self._library.add(content.files)
            except RuleErrors as errors:
                self._refuse(content._replace(errors=tuple(errors.lines())))
            except (StoreUnavailable, StoreMisconfigured):
                raise  # not judged: the next look does it
            except Exception as error:
                logger.exception("a rules directory made the compiler fail")
                self._refuse(content._replace(errors=(f"the rules cannot be compiled: {error!r}",)))
            else:
                self._take(ruleset)
        progress.judged = content.key

    def _content(self) -> _Content:
        try:
            files = dict(self._read())
            return _Content(content_hash(files), files, tuple(map(EMPTY.format, _blank(files))))
        except RuleErrors as faults:
            errors = tuple(faults.lines())
        except Exception as fault:
            errors = (f"the rules directory cannot be read: {fault!r}",)
        return _Content(hashlib.sha256("\n".join(errors).encode("utf-8", "replace")).hexdigest()[:16], None, errors)

    def _take(self, ruleset: RuleSet) -> None:
        progress, status = self._progress, self.status
        if progress.judged or ruleset.hash != self._library.first.hash:  # not what the process started with
            logger.info("rule set %s is read from the rules directory: %d rules", ruleset.hash, len(ruleset.rules))
            status.loaded += 1
            self._on_result(LOADED)
        progress.wanted, progress.refusal = ruleset, None
        progress.refreshed_s = self._clock.now_s()
        status.ruleset, status.errors = ruleset.hash, ()

    def _refuse(self, content: _Content) -> None:
        logger.error(
            "the rules directory cannot be used, the rules in force stay: %s", "; ".join(content.errors[:ERRORS_MAX])
        )
        self._progress.refusal = content
        self.status.errors = content.errors
        self.status.refused += 1
        self._on_result("refused")

    async def _tell(self) -> None:
        """Announce what the shards owned now do not know yet."""
        progress, now_s = self._progress, self._clock.now_s()
        in_force = dict(sorted(self._in_force().items()))
        progress.told = {shard: told for shard, told in progress.told.items() if shard in in_force}
        if progress.refusal is not None and in_force:
            shard = next(iter(in_force))
            await self._announcer.announce(shard, self._refused(progress.refusal, in_force[shard]))
            progress.refusal = None
        wanted = progress.wanted
        if wanted is None:
            return
        for shard, ruleset in in_force.items():
            told = progress.told.get(shard)
            told = told if told and told.ruleset == wanted.hash else _Told(wanted.hash, now_s, REPEAT_S)
            if ruleset == wanted.hash or now_s < told.again_s:
                continue
            await self._announcer.announce(shard, self._rules(shard, wanted.hash))
            progress.told[shard] = _Told(wanted.hash, now_s + told.wait_s, 2 * told.wait_s)
        if now_s - progress.refreshed_s >= REFRESH_S:
            await self._library.refresh([wanted.hash, *in_force.values()])
            progress.refreshed_s = now_s

    def _rules(self, shard: int, ruleset: str) -> bytes:
        now_ms = self._now_ms()
        fields = {"event_id": f"rules-{ruleset}-{shard}-{now_ms}", "type": RULES, "event_time": now_ms}
        return msgspec.json.encode({**fields, "ruleset": ruleset})

    def _refused(self, content: _Content, in_force: str) -> bytes:
        """Its id names the content and what stays in force: workers that share a directory make one alert of it."""
        errors = [line[:ERROR_CHARS_MAX] for line in content.errors[:ERRORS_MAX]]
        fields = {"event_id": f"rules-refused-{content.key}-{in_force}", "type": REFUSED, "event_time": self._now_ms()}
        return msgspec.json.encode({**fields, "ruleset": content.key, "errors": errors})


def _blank(files: Mapping[str, str]) -> list[str]:
    """Names of files without a word: as YAML they are good, and would silently take every rule of theirs away."""
    return [name for name, text in files.items() if not text.strip()]
