"""What a failed Redis call means: wait, or stop.

Redis reports one and the same fault in several wordings: as a prefix of the reply (`OOM command not allowed…`) or,
from within a script of Redis 6, in its middle (`ERR Error running script … -OOM command not allowed…`).
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from redis.exceptions import AuthenticationError, AuthorizationError, RedisClusterException, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from engine.ports.store import StoreMisconfigured, StoreUnavailable

UNAVAILABLE: Final = {
    "ASK": "a cluster slot is being moved",
    "BUSY": "a script is running too long",
    "CLUSTERDOWN": "the cluster is down",
    "LOADING": "the server is loading its data",
    "MASTERDOWN": "the replica has lost its primary",
    "MISCONF": "the server cannot write its data to disk",
    "MOVED": "a cluster slot has moved",
    "NOREPLICAS": "too few replicas are connected",
    "OOM": "the server's memory is full (maxmemory)",
    "READONLY": "the server is a replica",
    "TRYAGAIN": "a cluster slot is being moved",
    "UNBLOCKED": "the server changed its role",
}
MISCONFIGURED: Final = {
    "NOAUTH": "the server asks for a password: put it into the URL",
    "NOPERM": "the user may not do this: allow the commands and keys listed in docs/state.md",
    "WRONGPASS": "user or password are wrong",
}
# redis-py cuts off the prefix of the replies it has a class for.
BY_CLASS: Final = {
    "AskError": "ASK",
    "BusyLoadingError": "LOADING",
    "ClusterDownError": "CLUSTERDOWN",
    "ClusterError": "TRYAGAIN",  # redirected again and again: what a slot that is being moved looks like
    "MasterDownError": "MASTERDOWN",
    "MovedError": "MOVED",
    "NoPermissionError": "NOPERM",
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "TryAgainError": "TRYAGAIN",
}
_CODE: Final = re.compile(rf"(?:^|[\s-])({'|'.join([*UNAVAILABLE, *MISCONFIGURED])})(?=\s)")


def translate(error: Exception, where: str) -> Exception:
    """The port's exception for one of the client's, naming the server (`where`, without secrets)."""
    found = _CODE.search(str(error))
    code = BY_CLASS.get(type(error).__name__) or (found.group(1) if found else "")
    if code in MISCONFIGURED:
        return StoreMisconfigured(f"Redis at {where}: {MISCONFIGURED[code]} ({error})")
    if code in UNAVAILABLE:
        return StoreUnavailable(f"Redis at {where}: {UNAVAILABLE[code]} ({error})")
    causes = list(_causes(error))
    if any(isinstance(cause, (AuthenticationError, AuthorizationError)) for cause in causes):
        return StoreMisconfigured(f"Redis at {where}: user or password are wrong ({error})")
    if any(isinstance(cause, (RedisTimeoutError, TimeoutError)) for cause in causes):
        return StoreUnavailable(f"Redis at {where}: no answer in time ({error})")
    if isinstance(error, (RedisConnectionError, OSError, RedisClusterException)):
        return StoreUnavailable(f"Redis at {where}: no connection ({error})")
    return StoreMisconfigured(f"Redis at {where}: unexpected reply ({error})")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it was raised from: while connecting, redis-py wraps one in another."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Raise the port's exceptions instead of the client's."""
    try:
        yield
    except (RedisError, RedisClusterException, OSError, TimeoutError) as error:
        raise translate(error, where) from error
