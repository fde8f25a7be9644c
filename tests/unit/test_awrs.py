"""Adaptive weighted rejection sampling."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tokenloom as tl
from tokenloom.errors import ArrayError, DistributionError, ParamsError
from tokenloom.reference import awrs as twin


class Batched:
    """A check that takes many tokens at once."""

    def __init__(self, allowed: np.ndarray) -> None:
        self.allowed = allowed
        self.sizes: list[int] = []

    def check_many(self, ids: np.ndarray) -> np.ndarray:
        assert ids.dtype == np.uint32
        self.sizes.append(len(ids))
        return self.allowed[ids]


class Only:
    """Allows one token and remembers what it was asked."""

    def __init__(self, token: int) -> None:
        self.token = token
        self.seen: list[int] = []

    def __call__(self, token: int) -> bool:
        self.seen.append(token)
        return token == self.token


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equal_to_the_twin(dtype: type[np.floating]) -> None:
    rng = np.random.default_rng(11)
    for seed in range(300):
        n_vocab = int(rng.integers(1, 200))
        logprobs = np.log(rng.dirichlet(np.full(n_vocab, 0.3))).astype(dtype)
        logprobs[rng.random(n_vocab) < 0.2] = -np.inf
        if not np.isfinite(logprobs).any():
            continue
        allowed = rng.random(n_vocab) < rng.choice([0.02, 0.3, 0.9])
        probs = np.exp(logprobs.astype(np.float64)).tolist()
        expected = twin.recursive(probs, twin.race_order(probs, seed, 5), allowed.tolist().__getitem__)
        token, log_weight, n_checks = tl.control.awrs(logprobs, allowed.__getitem__, tl.Rng(seed, 5))
        assert (token, n_checks) == (expected[0], expected[2])
        assert math.isclose(math.exp(log_weight), expected[1], rel_tol=1e-9)
        batched = Batched(allowed)
        assert tl.control.awrs(logprobs, batched, tl.Rng(seed, 5))[:2] == (token, log_weight)
        assert batched.sizes[0] == min(2, np.isfinite(logprobs).sum())


def test_without_a_rejection_it_is_plain_sampling() -> None:
    logits = np.random.default_rng(0).normal(size=(1, 5000)).astype(np.float32) * 3
    for seed in range(50):
        plain = tl.sample.sample(logits, tl.sample.Params(), seeds=[seed], positions=[7])
        token, log_weight, n_checks = tl.control.awrs(logits[0], lambda _: True, tl.Rng(seed, 7))
        assert (token, n_checks) == (plain.tokens[0], 2)
        assert math.isclose(log_weight, np.logaddexp.reduce(logits[0].astype(np.float64)), abs_tol=1e-9)


def test_every_token_has_its_turn() -> None:
    """Far beyond the first selection, and 10,000 nats below the best token."""
    n_vocab = 5000
    logprobs = -np.arange(n_vocab, dtype=np.float64) * 2
    for target in (0, 63, 64, 1400, n_vocab - 1):
        recorder = Only(target)
        token, log_weight, n_checks = tl.control.awrs(logprobs, recorder, 1)
        assert token == target
        assert n_checks == len(recorder.seen) == len(set(recorder.seen))
        assert math.isclose(log_weight, logprobs[target], abs_tol=1e-9)
    token, log_weight, n_checks = tl.control.awrs(logprobs.astype(np.float32), lambda _: False, 1)
    assert (token, log_weight, n_checks) == (-1, -math.inf, n_vocab)


def test_a_tiny_rest_is_still_weighed() -> None:
    """A rejected mass of 1 - 1e-12 leaves the weight exact, where 1 - R would have lost four digits."""
    logprobs = np.log(np.array([1.0, 3e-13, 7e-13]))
    weights = {tl.control.awrs(logprobs, lambda token: token > 0, seed)[1] for seed in range(20)}
    assert all(math.isclose(weight, math.log(1e-12), rel_tol=1e-12) for weight in weights)
    spread = np.full(1000, math.log(1e-13))
    spread[0] = 0.0
    _, log_weight, _ = tl.control.awrs(spread, lambda token: token > 0, 4)
    assert math.isclose(log_weight, math.log(999e-13), rel_tol=1e-12)


def test_tokens_without_mass_are_not_checked() -> None:
    logprobs = np.array([-np.inf, -1.0, -np.inf])
    assert tl.control.awrs(logprobs, [False, True, False].__getitem__, 0) == (1, -1.0, 1)
    assert tl.control.awrs(logprobs, lambda _: False, 0) == (-1, -math.inf, 1)


def test_objects_with_check() -> None:
    class State:
        def check(self, token: int) -> bool:
            return token == 2

    assert tl.control.awrs(np.zeros(4), State(), 0)[0] == 2


def test_what_a_check_raises_comes_through() -> None:
    class StopError(Exception):
        pass

    def check(token: int) -> bool:
        raise StopError(token)

    with pytest.raises(StopError):
        tl.control.awrs(np.zeros(4), check, 0)
    with pytest.raises(TypeError, match="callable or to have check_many"):
        tl.control.awrs(np.zeros(4), 3, 0)

    class Short:
        def check_many(self, ids: np.ndarray) -> list[bool]:
            return [True]

    with pytest.raises(ArrayError, match="expected the result of check_many to be 2 verdicts, found 1"):
        tl.control.awrs(np.zeros(4), Short(), 0)


def test_bad_rows_and_options() -> None:
    for row, message in (
        ([0.0, np.nan], "found NaN at row 0, token 1"),
        ([np.inf, 0.0], "found inf at row 0, token 0"),
        ([-np.inf, -np.inf], "row 0"),
        ([], "row 0"),
    ):
        with pytest.raises(DistributionError, match=message):
            tl.control.awrs(np.array(row), lambda _: True, 0)
    with pytest.raises(ArrayError, match="one row"):
        tl.control.awrs(np.zeros((2, 2)), lambda _: True, 0)
    with pytest.raises(ArrayError, match="float32 or float64"):
        tl.control.awrs(np.zeros(2, dtype=np.int32), lambda _: True, 0)
    with pytest.raises(ParamsError, match="estimator"):
        tl.control.awrs(np.zeros(2), lambda _: True, 0, estimator="exact")  # type: ignore[arg-type]
