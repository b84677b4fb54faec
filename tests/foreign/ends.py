"""What the Python programs here have in common: see README.md."""

import random
import sys

# Sizes around the padding of streams, and those of a call.
SIZES = [1, 2, 3, 4, 5, 160, 999, 1200]


def arguments():
    """Transport, host, port, username, password, and the file with the CA's certificate."""
    transport, host, port, username, password, ca = sys.argv[1:]
    return transport, host, int(port), username, password, ca


def messages():
    """The same bytes each time, different for each message."""
    source = random.Random(3478)
    return [source.randbytes(size) for size in SIZES]


def report(sent):
    print(f"relayed {sum(map(len, sent))} bytes each way")
