"""A third party to try `process: http` with: confirms orders, fails one request in ten, and counts.

    python3 scripts/local/third_party.py [--port 8099] [--fail 10] [--retry-after 0]

It listens on 127.0.0.1 alone and prints its address. `GET /figures` tells what came: requests, failures, how many
different idempotency keys, and the most requests that came within any second.
"""

import argparse
import json
import sys
import threading
import time
from bisect import bisect_left
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Figures:
    """What came, and when."""

    def __init__(self, fail: int, retry_after_s: int) -> None:
        self.fail = fail
        self.retry_after_s = retry_after_s
        self.lock = threading.Lock()
        self.arrived: list[float] = []
        self.keys: dict[str, int] = {}
        self.confirmed = 0
        self.failed = 0

    def take(self, at: float, key: str) -> bool:
        """Counts a request; whether it is to be confirmed."""
        with self.lock:
            self.arrived.append(at)
            self.keys[key] = self.keys.get(key, 0) + 1
            fails = self.fail > 0 and len(self.arrived) % self.fail == 0
            self.failed += fails
            self.confirmed += not fails
            return not fails

    def tell(self) -> dict:
        with self.lock:
            arrived = sorted(self.arrived)
            return {
                "requests": len(arrived),
                "confirmed": self.confirmed,
                "failed": self.failed,
                "keys": len(self.keys),
                "most_of_a_key": max(self.keys.values(), default=0),
                "most_in_a_second": most_within(arrived, 1.0),
                "seconds": round(arrived[-1] - arrived[0], 3) if arrived else 0,
            }


def most_within(moments: list[float], seconds: float) -> int:
    """The most moments, which are in order, in any time of that length."""
    return max((bisect_left(moments, at + seconds) - i for i, at in enumerate(moments)), default=0)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one packet: apart, the second waits for the first to be acknowledged.
    wbufsize = -1
    disable_nagle_algorithm = True
    figures: Figures

    def do_GET(self) -> None:
        self.answer(200, self.figures.tell())

    def do_POST(self) -> None:
        at = time.monotonic()
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if not self.figures.take(at, self.headers.get("idempotency-key", "")):
            self.answer(503, {"error": "one in ten fails"}, {"Retry-After": str(self.figures.retry_after_s)})
            return
        try:
            order = json.loads(body)
        except ValueError as error:
            self.answer(400, {"error": str(error)})
            return
        self.answer(200, {"order": self.path.rsplit("/", 1)[-1], "confirmed": True, "request": order.get("request")})

    do_PUT = do_POST

    def answer(self, status: int, document: dict, headers: dict[str, str] | None = None) -> None:
        body = (json.dumps(document) + "\n").encode()
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json", "Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Says nothing of single requests."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8099, help="0 for any that is free (8099)")
    parser.add_argument("--fail", type=int, default=10, help="one request in so many fails, 0 for none (10)")
    parser.add_argument("--retry-after", type=int, default=0, help="seconds that whoever failed is to wait (0)")
    arguments = parser.parse_args()
    Handler.figures = Figures(arguments.fail, arguments.retry_after)
    server = ThreadingHTTPServer(("127.0.0.1", arguments.port), Handler)
    server.daemon_threads = True
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print(json.dumps(Handler.figures.tell()), file=sys.stderr)


if __name__ == "__main__":
    main()
