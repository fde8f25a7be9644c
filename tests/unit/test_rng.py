"""Counter-based random numbers: the published vectors, the address, the Python object."""

import copy
import pickle

import pytest
import tokenloom as tl
from tokenloom.reference import rng as twin

PURPOSES = (0, 1, 2, 3, 4, 0x4000_0000)


@pytest.mark.parametrize("seed", [0, 1, 2**32, 2**64 - 1])
@pytest.mark.parametrize("position", [0, 7, 2**40 + 3])
def test_numbers_equal_the_readable_twin(seed, position):
    rng = tl.Rng(seed, position)
    for purpose in PURPOSES:
        for token in (0, 1, 2, 3, 4, 131_071, 2**32 - 1):
            assert rng.uniform(token, purpose) == twin.uniform(seed, position, token, purpose)
            # log1p comes from the C library: the last bit is its own.
            expected = twin.exponential(seed, position, token, purpose)
            assert rng.exponential(token, purpose) == pytest.approx(expected, rel=1e-15)
    assert rng.derive(position).seed == twin.derive(seed, position)


def test_twin_matches_the_published_vectors():
    # Random123 1.14, tests/kat_vectors, philox4x32 10.
    assert twin.philox4x32_10((0, 0, 0, 0), (0, 0)) == (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)
    counter, key = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0)
    assert twin.philox4x32_10(counter, key) == (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)


def test_an_rng_is_a_value():
    rng = tl.Rng(3, position=5)
    assert (rng.seed, rng.position) == (3, 5)
    assert pickle.loads(pickle.dumps(rng)) == copy.deepcopy(rng) == copy.copy(rng) == rng == tl.Rng(3).at(5)
    assert len({rng, tl.Rng(3, 5), tl.Rng(3)}) == 2
    assert repr(rng) == "Rng(seed=3, position=5)"
    with pytest.raises(AttributeError):
        rng.seed = 4


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((-1,), ValueError, "a seed between 0 and"),
        ((2**64,), ValueError, "a seed between 0 and"),
        ((0, -1), ValueError, "a position between 0 and"),
        (("1",), TypeError, "an int seed"),
    ],
)
def test_bad_addresses_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        tl.Rng(*arguments)


def test_bad_purpose_is_named():
    with pytest.raises(ValueError, match=r"a purpose below 2\*\*31, found 2147483648"):
        tl.Rng(0).uniform(0, purpose=2**31)
