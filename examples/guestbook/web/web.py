from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs
import html
import os

import store

GREETING = os.environ.get("GREETING", "guestbook")


class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/healthz":
            return self.answer(200, "ok\n", "text/plain")
        entries = "".join(f"<li>{html.escape(e)}</li>" for e in store.call("LRANGE", "entries", "0", "-1"))
        self.answer(200, f"<h1>{html.escape(GREETING)}</h1><ul>{entries}</ul><form method=post><input name=entry autofocus></form>", "text/html")

    def do_POST(self):
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        for entry in form.get("entry", []):
            store.call("RPUSH", "entries", entry)
        self.send_response(303)
        self.send_header("Location", "/")
        self.end_headers()

    def answer(self, code, text, kind):
        body = text.encode()
        self.send_response(code)
        self.send_header("Content-Type", kind + "; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


print("guestbook listens on 8000")
ThreadingHTTPServer(("", 8000), Page).serve_forever()
