"""Draws by checks: the masked draw's tokens, its law, and what a check may raise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tokenloom as tl
from tokenloom.errors import ArrayError, ConstraintError, DistributionError
from tokenloom.reference import control as twin
from tokenloom.sample import Params, sample

RANKS = {bytes([byte]): byte for byte in range(256)} | {b"ab": 256, b"true": 257, b"12": 258, b'":': 259}


@pytest.fixture(scope="module")
def tok() -> tl.Tokenizer:
    special = {"</s>": 260, "<|tool|>": 261}
    return tl.Tokenizer.from_tiktoken("toy", pat_str=r"\S+|\s+", mergeable_ranks=RANKS, special_tokens=special)


class Masked:
    """A check that counts, with or without a mask to give."""

    def __init__(self, allowed: np.ndarray[Any, Any], gives_mask: bool) -> None:
        self.allowed, self.gives_mask, self.n_asked = allowed, gives_mask, 0

    def check_many(self, ids: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        self.n_asked += len(ids)
        return self.allowed[ids]

    def mask(self) -> np.ndarray[Any, Any] | None:
        padded = np.zeros(-(-len(self.allowed) // 32) * 32, dtype=np.bool_)
        padded[: len(self.allowed)] = self.allowed
        return np.packbits(padded, bitorder="little").view(np.int32) if self.gives_mask else None


@pytest.mark.parametrize("temperature", [0.0, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("share", [0.0, 0.003, 0.1, 0.9])
def test_tokens_are_those_of_the_masked_draw(temperature: float, share: float) -> None:
    random = np.random.default_rng(int(100 * share) + 7)
    for trial in range(40):
        logits = random.normal(0, 4, 997).astype(np.float32)
        logits[random.integers(997)] += 40 * (trial % 3)
        allowed = random.random(997) < share
        rng = tl.Rng(trial, position=5)
        checks = [Masked(allowed, True), Masked(allowed, False)]
        mask = checks[0].mask()
        assert mask is not None
        expected = sample(logits[None], Params(temperature), seeds=trial, positions=5, mask=mask[None])
        for check in checks:
            drawn = tl.control.draw_checked(logits, check, rng, temperature)
            assert drawn.token == expected.tokens[0]
            assert drawn.n_checks == check.n_asked
            assert check.gives_mask or not drawn.has_masked
        if temperature and allowed.any():
            logprob = tl.sample.distribution(logits[None].astype(np.float64), Params(temperature))[0]
            assert abs(drawn.logprob - np.log(logprob[drawn.token])) < 1e-3 * (1 + abs(drawn.logprob))


def test_the_law_is_the_constrained_one() -> None:
    """Two-sided false-alarm rate 1e-6 for each of six tokens."""
    probs = np.array([0.4, 0.3, 0.15, 0.08, 0.05, 0.02])
    allowed = np.array([False, True, False, True, True, True])
    law, n = np.where(allowed, probs, 0) / probs[allowed].sum(), 20_000
    drawn = [tl.control.draw_checked(np.log(probs), Masked(allowed, False), rng=seed).token for seed in range(n)]
    counts = np.bincount(drawn, minlength=6)
    assert (np.abs(counts - n * law) <= 4.9 * np.sqrt(n * law * (1 - law))).all()


@pytest.mark.parametrize("source", ["grammar", "phrases", "both"])
def test_states_draw_like_their_masks(tok: tl.Tokenizer, source: str) -> None:
    grammar = tl.control.regex("(ab|true|12|x)*", tok)
    phrases = tl.control.phrases(tok, required=["true"], banned=["xx"])
    constraint = {"grammar": grammar, "phrases": phrases, "both": grammar & phrases}[source]
    random = np.random.default_rng(3)
    for seed in range(10):
        state = constraint.start()
        for position in range(20):
            logits = random.normal(0, 3, 262).astype(np.float32)
            mask = state.mask()
            assert mask is not None
            expected = sample(logits[None], seeds=seed, positions=position, mask=mask[None]).tokens[0]
            drawn = tl.control.draw_checked(logits, state, tl.Rng(seed, position))
            assert drawn.token == expected
            state.advance(drawn.token)
            if drawn.token == 260:
                break
    state = constraint.start()
    for id in tok.encode("true"):
        state.advance(int(id))
    only = np.full(262, -np.inf, dtype=np.float32)
    only[261] = 0.0
    assert tl.control.draw_checked(only, state, rng=1).token == -1
    assert tl.control.draw_checked(only, state, rng=1, ends=[261]).token == 261


def test_what_goes_wrong_is_said(tok: tl.Tokenizer) -> None:
    def fails(token: int) -> bool:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        tl.control.draw_checked(np.zeros(5), fails, rng=1)
    with pytest.raises(DistributionError):
        tl.control.draw_checked(np.array([0.0, np.nan]), lambda token: True, rng=1)
    with pytest.raises(ArrayError, match="one row of floats"):
        tl.control.draw_checked(np.zeros((1, 5)), lambda token: True, rng=1)
    dead = tl.control.regex("ab|b", tok) & tl.control.regex("a[^b]|b", tok)
    state = dead.start()
    state.advance(97)
    with pytest.raises(ConstraintError, match="no token can follow"):
        tl.control.draw_checked(np.zeros(262), state, rng=1)
    assert tl.control.draw_checked(np.full(3, -np.inf), lambda token: True, rng=1).token == -1


def test_the_twins_agree() -> None:
    random = np.random.default_rng(2)
    for trial in range(60):
        logits = random.normal(0, 2, 50).astype(np.float32)
        allowed = random.random(50) < random.choice([0.0, 0.05, 0.5, 1.0])
        waits = tl.sample.waiting_times(tl.Rng(trial, 9), 50).astype(float)
        token, asked = twin.draw_checked(logits.tolist(), waits.tolist(), lambda token: bool(allowed[token]))  # noqa: B023
        drawn = tl.control.draw_checked(logits, lambda token: allowed[token], tl.Rng(trial, 9))  # noqa: B023
        assert drawn.token == (-1 if token is None else token)
        assert drawn.n_checks == len(asked)
        probs, caps = random.dirichlet(np.full(9, 0.4)), random.random(9) ** 2
        capped, _ = tl.control.cap_probs(probs, caps)
        np.testing.assert_allclose(capped, twin.cap_probs(probs.tolist(), caps.tolist()), atol=1e-12)
