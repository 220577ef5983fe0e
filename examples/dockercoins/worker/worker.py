"""worker: takes random bytes from rng, has hasher hash them, and keeps count in redis.

A hash that starts with 0 is a coin.
"""

import os
import signal
import sys
import time
import urllib.request

from store import Store, StoreError

RNG = os.environ.get("RNG_URL", "http://rng")
HASHER = os.environ.get("HASHER_URL", "http://hasher")
PAUSE = 0.1  # seconds between two units of work


def work_once():
    with urllib.request.urlopen(f"{RNG}/32", timeout=5) as answer:
        data = answer.read()
    request = urllib.request.Request(f"{HASHER}/", data=data, headers={"Content-Type": "application/octet-stream"})
    with urllib.request.urlopen(request, timeout=5) as answer:
        return answer.read().decode().strip()


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # the first process of a container gets no default handler
    store = Store(os.environ.get("REDIS_HOST", "redis"))
    hashes = coins = 0
    reported = time.monotonic()
    print("worker starts", flush=True)
    while True:
        try:
            digest = work_once()
            store.command("INCR", "hashes")
            hashes += 1
            if digest.startswith("0"):
                store.command("INCR", "coins")
                coins += 1
                print(f"coin found: {digest[:8]}", flush=True)
            time.sleep(PAUSE)
        except (OSError, StoreError) as e:
            # The others may start later than this one, or be replaced.
            print(f"cannot work: {e}; trying again", file=sys.stderr, flush=True)
            time.sleep(1)
        if time.monotonic() - reported >= 10:
            print(f"{hashes} hashes, {coins} coins", flush=True)
            reported = time.monotonic()


if __name__ == "__main__":
    main()
