"""A counter in redis, in the few words of its protocol that this takes."""

import os
import socket
from urllib.parse import urlparse

url = urlparse(os.environ["REDIS_URL"])


def call(*words):
    """Sends one command on a connection of its own and returns the answer's first line."""
    with socket.create_connection((url.hostname, url.port), timeout=3) as conn:
        answers = conn.makefile("rb")
        for command in (("AUTH", url.password), words):
            conn.sendall(b"*%d\r\n" % len(command))
            for word in command:
                conn.sendall(b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode()))
            line = answers.readline().decode().rstrip()
            if line[:1] in ("", "-"):
                raise OSError("redis: " + (line[1:] or "no answer"))
    return line[1:]


def count():
    return int(call("INCR", "visits"))


def ping():
    return call("PING") == "PONG"
