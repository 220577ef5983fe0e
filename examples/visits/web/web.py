"""Says how often the page was visited, and by a signed cookie how often by you."""

import hashlib
import hmac
import os
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import store

greeting = os.environ["GREETING"]
key = os.environ["VISITS_KEY"].encode()


def signature(number):
    return hmac.new(key, str(number).encode(), hashlib.sha256).hexdigest()[:16]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/healthz":
            self.answer(200, "ok")
        elif self.path == "/":
            mine = self.yours() + 1
            self.answer(200, f"{greeting}: {store.count()}, {mine} of them yours\n", f"visits={mine}.{signature(mine)}")
        else:
            self.answer(404, "no such page\n")

    def yours(self):
        cookie = SimpleCookie(self.headers.get("Cookie", "")).get("visits")
        number, _, signed = (cookie.value if cookie else "0.").partition(".")
        return int(number) if number.isdigit() and hmac.compare_digest(signature(number), signed) else 0

    def answer(self, status, text, cookie=None):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        if cookie:
            self.send_header("Set-Cookie", cookie)
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code="-", size="-"):
        if self.path != "/healthz":
            super().log_request(code, size)


print("serving on 8000")
ThreadingHTTPServer(("", 8000), Handler).serve_forever()
