"""One HTTP call of a test."""

import urllib.error
import urllib.request


def call(port: int, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """POST `body`, or GET without one; status and body of the answer, an error's too."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=body)
    if body is not None:
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=15) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
