"""A Redis Cluster of three nodes without replicas on loopback, out of the installed redis-server."""

import time
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self

from redis import Redis

from engine.adapters.embedded import RedisServer, installed_redis_binary
from engine.adapters.processes import free_port
from engine.adapters.redis_keys import SLOTS

NODES: Final = 3
FORM_SECONDS: Final = 30.0
NODE_TIMEOUT_MS: Final = 2_000


class RedisCluster:
    """Starts the nodes, shares the slots out between them and waits until each of them sees the whole."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.nodes: list[RedisServer] = []

    @property
    def url(self) -> str:
        """What `RedisStore` connects to: any one node."""
        return f"redis-cluster://127.0.0.1:{self.nodes[0].port}"

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            clients = []
            for node in range(NODES):
                bus = free_port()  # by default 10,000 above the port, which may be no port at all
                settings = ("--cluster-enabled", "yes", "--cluster-port", str(bus))
                timeout = ("--cluster-node-timeout", str(NODE_TIMEOUT_MS))
                server = RedisServer(installed_redis_binary(), tcp=True, arguments=(*settings, *timeout))
                self.nodes.append(stack.enter_context(server).start())
                clients.append(stack.enter_context(Redis.from_url(server.url, protocol=2)))
                first, end = node * SLOTS // NODES, (node + 1) * SLOTS // NODES
                clients[node].execute_command("CLUSTER", "SET-CONFIG-EPOCH", node + 1)
                clients[node].execute_command("CLUSTER", "ADDSLOTSRANGE", first, end - 1)
                clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", server.port, bus)
            self.wait()
            self._stack = stack.pop_all()
        return self

    def wait(self) -> None:
        """Until every node sees every node and all slots are served."""
        deadline = time.monotonic() + FORM_SECONDS
        while not all(self._whole(node) for node in self.nodes):
            assert time.monotonic() < deadline, "the cluster did not form"
            time.sleep(0.05)

    def _whole(self, node: RedisServer) -> bool:
        with Redis.from_url(node.url, protocol=2) as client:
            info = client.execute_command("CLUSTER", "INFO")
        text = info if isinstance(info, dict) else dict(line.split(":", 1) for line in info.decode().split())
        return text["cluster_state"] == "ok" and int(text["cluster_known_nodes"]) == NODES

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
