"""A stand-in for vLLM's process: its endpoints, its way to start, to drain and to fail.

python stand_in.py PORT [--fail=CODE] [--drain=SECONDS] [--ignore-sigterm] [--model=NAME] [--copies=N]
    [--models=BODY]
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

port, *flags = sys.argv[1:]
given = dict(flag.lstrip("-").partition("=")[::2] for flag in flags)
models = [{"id": given.get("model", "bot")}] * int(given.get("copies", "1"))
PAGES = {
    "/health": b"",
    "/v1/models": given.get("models", json.dumps({"data": models})).encode(),
    "/metrics": b'vllm:generation_tokens_total{engine="0"} 3.0\nvllm:prompt_tokens_total{engine="0"} 2.0\n',
}
ended = threading.Event()
slow: list[BaseHTTPRequestHandler] = []
"""Slow requests that are under way."""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/slow":
            slow.append(self)
            time.sleep(float(given.get("drain", "0")))
            slow.remove(self)
        body = str(len(slow)).encode() if self.path == "/under-way" else PAGES.get(self.path, b"done")
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


if "fail" in given:
    print("ERROR 11-21 08:00:00 [core.py:1] ValueError: no such model", flush=True)
    sys.exit(int(given["fail"]))
if "ignore-sigterm" in given:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
server = ThreadingHTTPServer(("127.0.0.1", int(port)), Handler)
server.daemon_threads = False  # as vLLM, wait for requests that are under way
threading.Thread(target=server.serve_forever, daemon=True).start()
ended.wait()
server.shutdown()
server.server_close()
