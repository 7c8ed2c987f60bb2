"""A real Apache Kafka for tests and benchmarks: one node in KRaft mode on loopback, with data in a temporary place.

The jars come from Maven Central by `scripts/setup-kafka.sh`. As a command, `python -m tests.support.kafka` runs one
until Ctrl-C.
"""

import base64
import shutil
import signal
import socket
import struct
import subprocess
import uuid
from pathlib import Path
from typing import Final, Self

from engine.adapters.embedded import exchange
from engine.adapters.processes import ServerFailed, ServerProcess, free_port

ROOT: Final = Path(__file__).resolve().parents[2]
PORT_TRIES_MAX: Final = 3
FORMAT_SECONDS: Final = 60.0
HEAP: Final = ("-Xms128m", "-Xmx512m")
METADATA: Final = struct.pack(">ihhihi", 14, 3, 0, 1, -1, 0)  # size, key, version, correlation, no client, no topics
BROKERS_AT: Final = 8  # of the answer: after its size and the correlation id
LOG_LEVEL: Final = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
SETTINGS: Final = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "broker.session.timeout.ms": "3000",  # how long a killed broker waits to be let in again
    "broker.heartbeat.interval.ms": "500",
    "log.cleaner.dedupe.buffer.size": "4194304",
}


def _jars() -> Path:
    pom = (ROOT / "scripts/kafka/pom.xml").read_text(encoding="utf-8")
    version = pom.partition("<kafka.version>")[2].partition("<")[0]
    jars = ROOT / ".cache/kafka" / version
    if not (jars / ".complete").exists() or shutil.which("java") is None:
        raise FileNotFoundError("Apache Kafka is not here yet: run scripts/setup-kafka.sh (needs Java 17 and Maven)")
    return jars


class ApacheKafka(ServerProcess):
    """One broker. `start` returns when it takes requests; it may be killed and started again with its data."""

    def __init__(self, directory: Path | None = None, settings: dict[str, str] | None = None) -> None:
        """`settings` are added to, or replace, those of `SETTINGS`."""
        super().__init__("apache-kafka", directory)
        self._settings = {**SETTINGS, **(settings or {})}
        self.port = 0
        self._controller_port = 0

    @property
    def bootstrap(self) -> str:
        """`host:port`, as Kafka clients take it."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """As `STEWARD_KAFKA` takes it."""
        return f"kafka://{self.bootstrap}"

    def start(self, deadline_seconds: float = 90.0) -> Self:
        """Start, or start again on the same ports with the data that is there. Raises `ServerFailed`."""
        java = ["java", *HEAP, LOG_LEVEL, "-cp", f"{_jars()}/*"]
        formatted = self.port != 0
        for attempt in range(PORT_TRIES_MAX):
            try:
                if not formatted:
                    self._format(java)
                self.launch([*java, "kafka.Kafka", self._config], self._answers, deadline_seconds)
                return self
            except ServerFailed as error:
                self.stop()
                if formatted or "Address already in use" not in str(error) or attempt == PORT_TRIES_MAX - 1:
                    raise
        raise AssertionError("unreachable")

    @property
    def _config(self) -> Path:
        return self.directory / "server.properties"

    def _format(self, java: list[str]) -> None:
        """Choose free ports, write the configuration and an empty log directory for a new cluster."""
        self.port, self._controller_port = free_port(), free_port()
        data = self.directory / "data"
        shutil.rmtree(data, ignore_errors=True)
        settings = {
            **self._settings,
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self._controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "log.dirs": str(data),
        }
        self._config.write_text("".join(f"{name}={value}\n" for name, value in settings.items()), encoding="utf-8")
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
        command = [*java, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(self._config)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=FORMAT_SECONDS, check=False)
        if done.returncode:
            raise ServerFailed(f"{self.name}: storage not formatted:\n{done.stdout}{done.stderr}")

    def _answers(self) -> bool:
        """Whether metadata names a broker: the port is open somewhat before the broker takes part."""
        answer = exchange(socket.AF_INET, ("127.0.0.1", self.port), METADATA)
        return len(answer) >= BROKERS_AT + 4 and struct.unpack_from(">i", answer, BROKERS_AT)[0] > 0


if __name__ == "__main__":
    with ApacheKafka() as kafka:
        print(f"STEWARD_KAFKA={kafka.start().url}", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
