"""Adaptive weighted rejection sampling."""

from __future__ import annotations

import math
from typing import Any

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


OPTIONS = [
    {},
    {"budget": 3},
    {"estimator": "known_mass", "top_m": 2, "extra": 2},
    {"estimator": "known_mass", "top_m": 7, "extra": 3, "budget": 9},
    {"estimator": "geometric"},
    {"estimator": "geometric", "accepts": 4, "budget": 12},
]


def twin_of(
    probs: list[float], check: Any, seed: int, position: int, options: dict[str, Any]
) -> tuple[int, float, int]:
    urn = twin.Race(probs, seed, position)
    options = {"estimator": "recursive"} | options
    estimator = options.pop("estimator")
    return (twin.geometric if estimator == "geometric" else twin.known_mass)(urn, check, **options)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_equal_to_the_twin(dtype: type[np.floating], options: dict[str, Any]) -> None:
    rng = np.random.default_rng(11)
    for seed in range(60):
        n_vocab = int(rng.integers(1, 200)) if seed % 10 else 1300
        logprobs = np.log(rng.dirichlet(np.full(n_vocab, 0.3))).astype(dtype)
        logprobs[rng.random(n_vocab) < 0.2] = -np.inf
        if not np.isfinite(logprobs).any():
            continue
        allowed = rng.random(n_vocab) < rng.choice([0.02, 0.3, 0.9])
        probs = np.exp(logprobs.astype(np.float64)).tolist()
        expected = twin_of(probs, allowed.tolist().__getitem__, seed, 5, options)
        token, log_weight, n_checks = tl.control.awrs(logprobs, allowed.__getitem__, tl.Rng(seed, 5), **options)
        assert (token, n_checks) == (expected[0], expected[2])
        assert math.isclose(math.exp(log_weight), expected[1], rel_tol=1e-9 if dtype == np.float64 else 1e-5)
        batched = Batched(allowed)
        again = tl.control.awrs(logprobs, batched, tl.Rng(seed, 5), **options)
        assert again[:2] == (token, log_weight)
        assert again[2] <= options.get("budget", n_vocab)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_what_is_known_is_not_asked(options: dict[str, Any]) -> None:
    """Equal to the twin; a known token is never put to the check, and costs none of the budget."""
    rng = np.random.default_rng(21)
    for seed in range(40):
        n_vocab = int(rng.integers(2, 700))
        probs = rng.dirichlet(np.full(n_vocab, 0.3))
        probs[rng.random(n_vocab) < 0.1] = 0.0
        allowed = rng.random(n_vocab) < rng.choice([0.02, 0.5])
        ids = rng.permutation(n_vocab)[:3].tolist()
        facts = {token: bool(allowed[token]) for token in ids}
        asked: list[int] = []

        def check(token: int, asked: list[int] = asked, allowed: np.ndarray = allowed) -> bool:
            asked.append(token)
            return bool(allowed[token])

        with np.errstate(divide="ignore"):
            logprobs = np.log(probs)
        expected = twin_of(probs.tolist(), allowed.tolist().__getitem__, seed, 3, {**options, "facts": facts})
        token, log_weight, n_checks = tl.control.awrs(logprobs, check, tl.Rng(seed, 3), **options, known=facts)
        assert (token, n_checks) == (expected[0], expected[2])
        assert math.isclose(math.exp(log_weight), expected[1], rel_tol=1e-9)
        assert n_checks == len(asked) <= options.get("budget", n_vocab)
        assert not set(asked) & set(ids)


def test_a_known_end_saves_the_search() -> None:
    """Where a text can only end and the end is unlikely, a budget leaves the weight without variance."""
    logprobs = np.log(np.array([2e-5, *np.full(3000, (1 - 2e-5) / 3000)]))
    for seed in range(5):
        token, log_weight, n_checks = tl.control.awrs(logprobs, lambda _: False, seed, budget=10, known={0: True})
        assert (token, n_checks) == (0, 10)
        assert math.isclose(log_weight, math.log(2e-5), rel_tol=1e-12)
    # Beyond the row and outside the mask nothing is known; only what is known has mass.
    assert tl.control.awrs(np.zeros(2), lambda _: False, 0, known={7: True}) == (-1, -math.inf, 2)
    assert tl.control.awrs(np.zeros(2), lambda t: t == 1, 0, mask=np.array([2], np.int32), known={0: True})[:2] == (
        1,
        0.0,
    )
    assert tl.control.awrs(np.zeros(1), lambda _: False, 0, known={0: True}) == (0, 0.0, 0)
    assert tl.control.awrs(np.zeros(1), lambda _: True, 0, known={0: False}) == (-1, -math.inf, 0)


def test_a_mask_is_a_factor_of_the_weight() -> None:
    """Within a mask the sampler sees the masked row alone."""
    rng = np.random.default_rng(5)
    logprobs = np.log(rng.dirichlet(np.full(700, 0.4)))
    inside = rng.random(700) < 0.3
    words = np.packbits(np.pad(inside, (0, 4)), bitorder="little").view(np.int32)
    masked = np.where(inside, logprobs, -np.inf)
    for seed in range(40):
        asked: list[int] = []

        def check(token: int, asked: list[int] = asked) -> bool:
            asked.append(token)
            return token % 3 == 0

        drawn = tl.control.awrs(logprobs, check, seed, mask=words)
        assert drawn == tl.control.awrs(masked, lambda token: token % 3 == 0, seed)
        assert inside[asked].all()
    exact = tl.control.awrs(logprobs, lambda _: True, 1, "known_mass", top_m=700, mask=words)
    assert math.isclose(math.exp(exact[1]), np.exp(logprobs[inside]).sum(), rel_tol=1e-12)


def test_a_proposal_is_corrected() -> None:
    """Drawn from another row, weighted for this one."""
    rng = np.random.default_rng(6)
    target, proposal = np.log(rng.dirichlet(np.ones(6), 2))
    plain = [tl.control.awrs(proposal, lambda token: token < 4, seed) for seed in range(50)]
    for seed, (token, log_weight, n_checks) in enumerate(plain):
        drawn = tl.control.awrs(target, lambda token: token < 4, seed, proposal=proposal)
        assert (drawn[0], drawn[2]) == (token, n_checks)
        assert math.isclose(drawn[1], log_weight + target[token] - proposal[token], abs_tol=1e-12)
    nothing = tl.control.awrs(target, lambda _: False, 3, proposal=proposal.astype(np.float32))
    assert nothing == (-1, -math.inf, 6)


def test_a_budget_is_kept_and_a_tolerance_ends_the_search() -> None:
    logprobs = np.log(np.full(4000, 1 / 4000))
    for budget in (1, 2, 5, 64):
        recorder = Only(-1)
        assert tl.control.awrs(logprobs, recorder, 3, budget=budget) == (-1, -math.inf, budget)
        assert len(recorder.seen) == budget
    _, _, n_checks = tl.control.awrs(logprobs, lambda _: False, 3, tolerance=0.25)
    assert n_checks == 3000
    peaked = np.log(np.array([1.0 - 1e-6, 5e-7, 5e-7]))
    assert tl.control.awrs(peaked, lambda token: token == 0, 3, tolerance=1e-5) == (0, peaked[0], 1)


def test_particles_of_one_context_share_its_checks() -> None:
    rng = np.random.default_rng(8)
    logprobs = np.log(rng.dirichlet(np.full(900, 0.2), 2)).astype(np.float32)
    seen: list[list[int]] = [[], []]
    allowed = rng.random((2, 900)) < 0.2

    def check_of(context: int) -> Any:
        def check(token: int) -> bool:
            seen[context].append(token)
            return bool(allowed[context, token])

        return check

    contexts, seeds = [0, 1, 0, 0, 1, 0], np.arange(6)
    drawn = tl.control.awrs_batch(logprobs, [check_of(0), check_of(1)], seeds, 9, contexts)
    for i, context in enumerate(contexts):
        alone = tl.control.awrs(logprobs[context], allowed[context].__getitem__, tl.Rng(i, 9))
        assert (drawn.tokens[i], drawn.log_weights[i]) == alone[:2]
    assert all(len(tokens) == len(set(tokens)) for tokens in seen)
    assert drawn.n_checks.sum() == sum(map(len, seen))
    words = np.full((2, 29), -1, np.int32)
    masked = tl.control.awrs_batch(logprobs, [Batched(row) for row in allowed], seeds, 9, contexts, masks=words)
    np.testing.assert_array_equal(masked.tokens, drawn.tokens)
    assert len(tl.control.awrs_batch(logprobs, [check_of(0)] * 2, [], 0, []).tokens) == 0
    # Threads read rows, nothing more; what is drawn from other rows is weighed for these.
    with pytest.raises(ValueError, match="at least 1 thread"):
        tl.control.awrs_batch(logprobs, [check_of(0)] * 2, [1], 0, [0], threads=0)
    wide = np.log(rng.dirichlet(np.full(300_000, 0.2), 4)).astype(np.float32)
    one, two = (tl.control.awrs_batch(wide, [lambda t: t % 7 == 0] * 4, seeds[:4], 1, threads=n) for n in (1, 3))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
    proposals = np.log(rng.dirichlet(np.full(900, 0.2), 2))
    facts = [{5: bool(row[5])} for row in allowed]
    rows = [allowed[context].__getitem__ for context in (0, 1)]
    options: dict[str, Any] = {"estimator": "geometric", "budget": 40}
    drawn = tl.control.awrs_batch(logprobs, rows, seeds, 9, contexts, proposals=proposals, known=facts, **options)
    for i, context in enumerate(contexts):
        alone = tl.control.awrs(
            logprobs[context],
            rows[context],
            tl.Rng(i, 9),
            proposal=proposals[context],
            known=facts[context],
            **options,
        )
        assert (drawn.tokens[i], drawn.log_weights[i]) == alone[:2]
    with pytest.raises(ArrayError, match="expected proposals of shape"):
        tl.control.awrs_batch(logprobs, rows, seeds, 9, contexts, proposals=proposals[:1])
    with pytest.raises(ArrayError, match="known for each of 2 contexts, found 1"):
        tl.control.awrs_batch(logprobs, rows, seeds, 9, contexts, known=facts[:1])
    with pytest.raises(DistributionError, match="found nan at row 1"):
        tl.control.awrs_batch(np.full((2, 900), np.nan), rows, seeds, 9, contexts=[1] * 6, proposals=proposals)
    with pytest.raises(ArrayError, match="expected a context below 2"):
        tl.control.awrs_batch(logprobs, [check_of(0)] * 2, [1], 0, [2])
    with pytest.raises(ArrayError, match="a row for each of 1 checks"):
        tl.control.awrs_batch(logprobs, [check_of(0)], [1, 2], 0)
    with pytest.raises(DistributionError, match="row 1"):
        tl.control.awrs_batch(np.array([[0.0], [np.nan]]), [check_of(0)] * 2, [1, 2], 0)


def test_bad_batches_are_named() -> None:
    def free(token: int) -> bool:
        return True

    with pytest.raises(DistributionError, match="rows without tokens"):
        tl.control.awrs_batch(np.zeros((1, 0)), [free], [1], 0)
    with pytest.raises(ArrayError, match="a position for each or one for all"):
        tl.control.awrs_batch(np.zeros((1, 3)), [free], [1, 2], [1, 2, 3], [0, 0])
    with pytest.raises(ArrayError, match="one row of seeds"):
        tl.control.awrs_batch(np.zeros((1, 3)), [free], [[1]], 0)
    with pytest.raises(ParamsError, match="about token ids, found -1"):
        tl.control.awrs(np.zeros(3), free, 0, known={-1: True})
    assert len(tl.control.awrs_batch(np.zeros((0, 5)), [], [], 0).tokens) == 0


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
    with pytest.raises(ArrayError, match=r"expected proposal of shape \[2\]"):
        tl.control.awrs(np.zeros(2), lambda _: True, 0, proposal=np.zeros(3))
    with pytest.raises(ArrayError, match="expected mask of dtype int32"):
        tl.control.awrs(np.zeros(2), lambda _: True, 0, mask=np.zeros(2, np.int32))
    with pytest.raises(DistributionError, match="found nan at row 0, token 1"):
        tl.control.awrs(np.array([-np.inf, np.nan]), lambda _: True, 0, proposal=np.array([-np.inf, 0.0]))
    for options in (
        {"estimator": "exact"},
        {"top_m": 3},
        {"estimator": "known_mass", "extra": 0},
        {"estimator": "known_mass", "top_m": -1},
        {"estimator": "geometric", "accepts": 1},
        {"accepts": 3},
        {"estimator": "geometric", "accepts": 3, "budget": 2},
        {"budget": 0},
        {"tolerance": 1.0},
        {"tolerance": math.nan},
    ):
        with pytest.raises(ParamsError, match="expected"):
            tl.control.awrs(np.zeros(2), lambda _: True, 0, **options)  # type: ignore[arg-type]
