"""`/metrics` on a port of its own, for a process without an HTTP API."""

import errno
import logging
from dataclasses import dataclass
from threading import Thread
from typing import Final
from wsgiref.simple_server import WSGIServer

from prometheus_client import start_http_server

from engine.telemetry.metrics import Metrics

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Exposition:
    """A running metrics server; it answers from a thread, so that a busy event loop does not hide it."""

    server: WSGIServer
    thread: Thread
    host: str
    port: int

    @property
    def url(self) -> str:
        """Where to scrape."""
        return f"http://{self.host}:{self.port}/metrics"

    def close(self) -> None:
        """Stop answering and free the port."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def expose(metrics: Metrics, address: str) -> Exposition:
    """Serve `metrics` at `host:port`; a taken port is not an error, a free one is used and logged.

    Raises `OSError` where the host itself cannot be listened on.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        server, thread = start_http_server(int(port), host, metrics.registry)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        server, thread = start_http_server(0, host, metrics.registry)
        _LOG.warning("port %s is taken, metrics are on port %s", port, server.server_port)
    return Exposition(server, thread, host, server.server_port)
