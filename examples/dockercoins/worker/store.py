"""The little of redis's protocol that worker needs."""

import socket


class StoreError(Exception):
    pass


class Store:
    def __init__(self, host, port=6379):
        self.address = (host, port)
        self.stream = None

    def command(self, *words):
        """Send one command and return its answer: a string, a number or None."""
        try:
            if self.stream is None:
                connection = socket.create_connection(self.address, timeout=5)
                self.stream = connection.makefile("rwb")
                connection.close()  # the stream holds it open
            parts = [f"*{len(words)}\r\n".encode()]
            for word in words:
                data = str(word).encode()
                parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
            self.stream.write(b"".join(parts))
            self.stream.flush()
            return self._answer()
        except OSError:
            self.stream = None
            raise

    def _answer(self):
        line = self.stream.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("redis closed the connection")
        kind, rest = line[:1], line[1:-2].decode()
        if kind == b"+":
            return rest
        if kind == b":":
            return int(rest)
        if kind == b"$":
            size = int(rest)
            if size < 0:
                return None
            return self.stream.read(size + 2)[:-2].decode()
        raise StoreError(rest)
