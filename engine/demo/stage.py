"""Everything the demo starts and must end: servers, the worker, the API. One directory, removed at the end."""

import json
import tempfile
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from engine.adapters.embedded import EmbeddedKafka, RedisServer
from engine.adapters.processes import ServerFailed, ServerProcess, free_port
from engine.config import Settings
from engine.config.load import CONFIG_FILE, CONFIG_VARIABLE
from engine.demo.children import StewardProcess, answers, port_near
from engine.generator.world import BASE, rates

SERVER_SECONDS: Final = 30.0
CHILD_SECONDS: Final = 180.0
PORT_TRIES_MAX: Final = 3
RATES: Final = "rates.json"  # of the generated amounts, for who gave none
COMPILING_AFTER_S: Final = 3.0
COMPILING: Final = "compiling kernels, first start only"
TUNED: Final = {
    # The embedded broker lets a join wait for most of the session timeout, longer still for a static member.
    "STEWARD_KAFKA_REBALANCE_TIMEOUT": "2s",
    "STEWARD_KAFKA_SESSION_TIMEOUT": "3s",
    "STEWARD_KAFKA_HEARTBEAT": "500ms",
    "STEWARD_KAFKA_INSTANCE_ID": "",
    # A fetch is not woken by new records there, so this is latency.
    "STEWARD_KAFKA_FETCH_WAIT": "5ms",
    "STEWARD_KAFKA_TRANSACTIONS": "off",
    # The demo shows the latency; it does not cut it off.
    "STEWARD_HTTP_DEADLINE": "5s",
    "STEWARD_LOG_FORMAT": "console",
    "STEWARD_LOG_LEVEL": "info",
}


class Stage:
    """Context manager over all processes of the demo. What it starts ends with this process, however that ends.

    Attributes:
        url: of the API, once `start` has returned.
    """

    def __init__(
        self, settings: Settings, environment: Mapping[str, str], config: Path | None, say: Callable[[str], None]
    ) -> None:
        """`environment` is this process's, `config` the settings file it was given; `say` is told what is done."""
        self._settings = settings
        named = config or (Path(environment[CONFIG_VARIABLE]) if environment.get(CONFIG_VARIABLE) else None)
        self._config = named or (Path(CONFIG_FILE) if Path(CONFIG_FILE).is_file() else None)
        self._inherited = {name: value for name, value in environment.items() if name.startswith("STEWARD_")}
        self._say = say
        self._directory = tempfile.TemporaryDirectory(prefix="steward-demo-")
        self._redis: RedisServer | None = None
        self._kafka: EmbeddedKafka | None = None
        self._children: list[ServerProcess] = []
        self.url = ""

    @property
    def bootstrap(self) -> str:
        """`host:port` of the broker."""
        assert self._kafka is not None
        return self._kafka.bootstrap

    def start_servers(self) -> None:
        """Start Redis and the broker. Raises `ServerFailed`, `FileNotFoundError`."""
        self._say("starting embedded Redis and Kafka")
        Path(self._directory.name, RATES).write_text(json.dumps(rates()), "utf-8")
        self._redis = RedisServer(directory=Path(self._directory.name) / "redis")
        self._redis.start(SERVER_SECONDS)
        self._kafka = EmbeddedKafka()
        self._kafka.start(SERVER_SECONDS)

    def start_engine(self) -> None:
        """Start the worker and the API, at once, and wait for both. Raises `ServerFailed`."""
        self._say("starting the worker and the API")
        hint = threading.Timer(COMPILING_AFTER_S, self._say, (COMPILING,))
        hint.daemon = True
        hint.start()
        try:
            with ThreadPoolExecutor(2) as pool:
                worker = pool.submit(self._start_worker)
                api = pool.submit(self._start_api)
                try:
                    api.result()
                    worker.result()
                except BaseException:
                    self._stop_children()  # the threads that wait for them end then
                    raise
        finally:
            hint.cancel()

    def environment(self, **more: str) -> dict[str, str]:
        """Settings of a child: what the user gave, and where the servers are."""
        assert self._redis is not None and self._kafka is not None
        given = {**TUNED, **self._inherited, **more}
        if self._settings.rules.directory is not None:
            given["STEWARD_RULES"] = str(self._settings.rules.directory.resolve())
        if self._settings.money.rates is not None:
            given["STEWARD_RATES"] = str(self._settings.money.rates.resolve())
        elif self._settings.money.base_currency == BASE:
            given["STEWARD_RATES"] = str(Path(self._directory.name) / RATES)
        if self._config is not None:
            given["STEWARD_CONFIG"] = str(self._config.resolve())
        given["TMPDIR"] = self._directory.name  # whatever they leave there goes with the rest
        return {**given, "STEWARD_REDIS": self._redis.url, "STEWARD_KAFKA": self._kafka.url}

    def _start_worker(self) -> None:
        port = free_port()
        environment = self.environment(STEWARD_WORKER_METRICS_ADDRESS=f"127.0.0.1:{port}")
        self._child("worker", environment, f"http://127.0.0.1:{port}/metrics").start(CHILD_SECONDS)

    def _start_api(self) -> None:
        host, _, port = self._settings.http.address.rpartition(":")
        for attempt in range(PORT_TRIES_MAX):
            chosen = port_near(int(port) + attempt)
            self.url = f"http://{host}:{chosen}"
            child = self._child("serve", self.environment(STEWARD_HTTP=f"{host}:{chosen}"), self.url + "/readyz")
            try:
                child.start(CHILD_SECONDS)
                return
            except ServerFailed as error:
                child.stop()
                if "is taken" not in str(error) or attempt == PORT_TRIES_MAX - 1:
                    raise

    def _child(self, name: str, environment: Mapping[str, str], probe: str) -> StewardProcess:
        directory = Path(self._directory.name) / name
        child = StewardProcess(name, [name], environment, lambda: answers(probe), directory)
        self._children.append(child)
        return child

    def failed(self) -> str | None:
        """The name and last words of a process that has ended by itself; `None` while all run."""
        for process in self._processes():
            if not process.alive():
                tail = process.log.read_text(errors="replace").splitlines()[-5:] if process.log.exists() else []
                return "\n".join([f"the {process.name} process has ended:", *tail])
        return None

    def close(self) -> None:
        """End the worker and the API together, then the servers, and remove the directory."""
        self._stop_children()
        for server in (self._kafka, self._redis):
            if server is not None:
                server.close()
        self._directory.cleanup()

    def _stop_children(self) -> None:
        with ThreadPoolExecutor(max(1, len(self._children))) as pool:
            list(pool.map(ServerProcess.stop, list(self._children)))

    def _processes(self) -> list[ServerProcess]:
        return [p for p in (self._redis, self._kafka, *self._children) if p is not None]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
