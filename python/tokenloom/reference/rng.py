"""Which random number belongs to this seed, position, token and purpose?

Philox4x32-10 (Salmon et al., SC 2011): ten rounds of multiply, swap and add-key on a 128-bit counter. The counter is
the address of the number, the key is the seed, so nothing has to be remembered between two draws.
"""

from __future__ import annotations

import math

SAMPLE, DRAFT, ACCEPT, RESIDUAL, AWRS = 0, 1, 2, 3, 4
RESAMPLE, XTC, DERIVE = 0x4000_0000, 0x4000_0001, 0x7FFF_FFFF
REFINEMENT_BIT = 1 << 31
_LOW = 0xFFFF_FFFF

Counter = tuple[int, int, int, int]


def philox4x32_10(counter: Counter, key: tuple[int, int]) -> Counter:
    """The bijection of the counter under this key."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        left, right = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (right >> 32) ^ c1 ^ k0, right & _LOW, (left >> 32) ^ c3 ^ k1, left & _LOW
        k0, k1 = (k0 + 0x9E3779B9) & _LOW, (k1 + 0xBB67AE85) & _LOW
    return c0, c1, c2, c3


def word(seed: int, position: int, token: int, purpose: int) -> int:
    """32 random bits."""
    counter = (token >> 2, position & _LOW, position >> 32, purpose)
    return philox4x32_10(counter, (seed & _LOW, seed >> 32))[token & 3]


def uniform(seed: int, position: int, token: int, purpose: int = SAMPLE) -> float:
    """A number in the open interval (0, 1): 64 bits, read as the middle of their cell."""
    bits = word(seed, position, token, purpose) << 32 | word(seed, position, token, purpose | REFINEMENT_BIT)
    return min((float(bits) + 0.5) * 2.0**-64, 1.0 - 2.0**-53)


def exponential(seed: int, position: int, token: int, purpose: int = SAMPLE) -> float:
    """A waiting time of mean 1; the smallest of a race are the best resolved."""
    return -math.log1p(-uniform(seed, position, token, purpose))


def derive(seed: int, stream: int) -> int:
    """An unrelated seed for stream number ``stream``."""
    low, high, *_ = philox4x32_10((stream & _LOW, stream >> 32, 0, DERIVE), (seed & _LOW, seed >> 32))
    return high << 32 | low
