"""A web server on loopback that serves ranges and fails as a test's script says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Site:
    """What is served.

    files     body by path
    script    what goes wrong, one for each request from the first: a number of bytes after which the connection is
              cut, an error status as text, "stall" (half, then nothing until the test ends), "whole" (no ranges),
              "elsewhere" (another range than asked), "unsized" (no length is sent); None: nothing
    always    the same for every request after the script
    version   the ETag
    kind      the content type
    requests  (path, range, If-Range) as they came
    sent      bytes of bodies in all
    gate      what every answer waits for
    ended     set when the test ends
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.script: list[int | str | None] = []
        self.always: int | str | None = None
        self.version = '"one"'
        self.kind = "application/octet-stream"
        self.requests: list[tuple[str, str | None, str | None]] = []
        self.sent = 0
        self.gate: threading.Event | None = None
        self.ended = threading.Event()
        self.url = ""


@contextmanager
def serving() -> Iterator[Site]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            asked, condition = self.headers.get("Range"), self.headers.get("If-Range")
            site.requests.append((self.path, asked, condition))
            fault = site.script.pop(0) if site.script else site.always
            if site.gate:
                site.gate.wait(60)
            if self.path.startswith("/moved/"):
                self.send_response(302)
                self.send_header("Location", self.path.removeprefix("/moved"))
                self.end_headers()
                return
            body = site.files.get(self.path)
            if body is None or (isinstance(fault, str) and fault.isdecimal()):
                self.send_error(int(fault) if body is not None else 404)
                return
            start, status = 0, 200
            if asked and fault != "whole" and condition in (None, site.version):
                start, status = int(asked.removeprefix("bytes=").removesuffix("-")), 206
            if start >= len(body) > 0:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.end_headers()
                return
            self.send_response(status)
            if status == 206:
                first = start + 1 if fault == "elsewhere" else start
                self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
            self.send_header("Content-Type", site.kind)
            self.send_header("ETag", site.version)
            if fault != "unsized":
                self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            end = start + fault if isinstance(fault, int) else len(body)
            end = len(body) // 2 if fault == "stall" else end
            site.sent += len(body[start:end])
            self.wfile.write(body[start:end])
            self.wfile.flush()
            if fault == "stall":
                site.ended.wait(600)

    class Server(ThreadingHTTPServer):
        daemon_threads = False

        def handle_error(self, *_):
            pass  # the client went away

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        site.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield site
        finally:
            site.ended.set()
            server.shutdown()
            thread.join()
