"""rng: random bytes over HTTP. GET /32 answers 32 of them."""

import os
import signal
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from limits import DELAY, MAX_BYTES


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = self.path.strip("/")
        if path == "":
            self.reply(200, f"RNG running on {socket.gethostname()}\n".encode())
        elif path.isdigit() and int(path) <= MAX_BYTES:
            time.sleep(DELAY)  # good random numbers take their time
            self.reply(200, os.urandom(int(path)), "application/octet-stream")
        else:
            self.reply(404, f"ask for /N, with N up to {MAX_BYTES}\n".encode())

    def reply(self, status, body, kind="text/plain"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code="-", size="-"):
        pass  # ten requests a second would drown the rest


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # the first process of a container gets no default handler
    port = int(os.environ.get("PORT", "8080"))
    print(f"rng listens on {port}", flush=True)
    ThreadingHTTPServer(("", port), Handler).serve_forever()
