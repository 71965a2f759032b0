"""Seeds from several numbers, so that each source of randomness of each step has its own."""

import hashlib


def mixed_seed(*numbers: int) -> int:
    """Return a seed made of several numbers, in the range of torch and NumPy: 32 bits of their SHA-256."""
    digest = hashlib.sha256(",".join(map(str, numbers)).encode()).digest()
    return int.from_bytes(digest[:4], "big")
