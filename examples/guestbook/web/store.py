"""The few words of redis' protocol that a guestbook needs."""
import os
import socket


def call(*words):
    with socket.create_connection((os.environ["REDIS_HOST"], 6379), timeout=2) as s:
        s.sendall(b"".join([b"*%d\r\n" % len(words)] + [b"$%d\r\n%s\r\n" % (len(w), w) for w in map(str.encode, words)]))
        return reply(s.makefile("rb"))


def reply(stream):
    line = stream.readline().rstrip()
    kind, rest = line[:1], line[1:]
    if kind == b"-":
        raise RuntimeError(rest.decode())
    if kind == b"$":
        return None if rest == b"-1" else stream.read(int(rest) + 2)[:-2].decode()
    if kind == b"*":
        return [reply(stream) for _ in range(int(rest))]
    return rest.decode()
