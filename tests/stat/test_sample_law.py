"""Do draws follow the distribution that the rules define?

Every test has a stated chance to fail although the code is right; together at most 1e-6 (Bonferroni). Draws are
functions of seeds, so a run that passes always passes; the seed is printed for the day it does not.
"""

import numpy as np
import pytest
import tokenloom as tl
from scipy.stats import chi2, poisson

Params = tl.sample.Params
FAMILY_RATE = 1e-6
SEED = 20_251_122
LAWS = [
    Params(),
    Params(temperature=0.5),
    Params(top_k=7),
    Params(top_p=0.8),
    Params(min_p=0.2),
    Params(typical_p=0.7),
    Params(temperature=1.5, top_k=30, top_p=0.9, min_p=0.02, typical_p=0.95),
]
N_TESTS = len(LAWS) + 3 + 1 + 2 + 1
RATE = FAMILY_RATE / N_TESTS


def draws(logits: np.ndarray, params: Params, n_draws: int, seed: int = SEED, purpose: int = 0) -> np.ndarray:
    """Draws from one row at positions 0 .. n_draws."""
    tokens = []
    for start in range(0, n_draws, 10_000):
        positions = np.arange(start, min(start + 10_000, n_draws))
        rows = np.broadcast_to(logits, (len(positions), len(logits)))
        seeds = np.full(len(positions), seed)
        tokens.append(tl.sample.sample(rows, params, seeds, positions, purpose=purpose).tokens)
    return np.concatenate(tokens)


def g_test(observed: np.ndarray, expected: np.ndarray) -> float:
    """The p-value of the likelihood-ratio test, cells with expectation below 5 merged into one."""
    small = expected < 5
    observed = np.append(observed[~small], observed[small].sum())
    expected = np.append(expected[~small], expected[small].sum())
    observed, expected = observed[expected > 0], expected[expected > 0]
    seen = observed > 0
    statistic = 2 * (observed[seen] * np.log(observed[seen] / expected[seen])).sum()
    return float(chi2.sf(statistic, len(expected) - 1))


@pytest.mark.parametrize("params", LAWS, ids=str)
def test_draws_fit_the_distribution(params):
    n_draws = 200_000
    logits = (np.random.default_rng(1).normal(size=60) * 1.5).astype(np.float32)
    expected = tl.sample.distribution(logits[None], params)[0]
    counts = np.bincount(draws(logits, params, n_draws), minlength=60)
    assert (counts[expected == 0] == 0).all()
    p_value = g_test(counts, n_draws * expected)
    assert p_value > RATE, f"seed {SEED}: p = {p_value}, allowed {RATE}"


def independence(first: np.ndarray, second: np.ndarray) -> float:
    table = np.zeros((8, 8))
    np.add.at(table, (first, second), 1)
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / table.sum()
    return float(chi2.sf(((table - expected) ** 2 / expected).sum(), 49))


@pytest.mark.parametrize("between", ["positions", "rows", "purposes"])
def test_draws_are_independent(between):
    logits = np.linspace(0, 1, 8, dtype=np.float32)
    n_draws = 100_000
    first = draws(logits, Params(), n_draws)
    if between == "positions":
        second = np.roll(first, 1)
    elif between == "rows":
        second = draws(logits, Params(), n_draws, seed=SEED + 1)
    else:
        second = draws(logits, Params(), n_draws, purpose=tl.sample.Purpose.DRAFT)
    p_value = independence(first, second)
    assert p_value > RATE, f"seed {SEED}, {between}: p = {p_value}, allowed {RATE}"


def tail_wins(gap: float, n_vocab: int, n_draws: int) -> float:
    """The two-sided p-value of how often any of `n_vocab - 1` tokens, `gap` nats below the top, was drawn."""
    logits = np.full(n_vocab, -gap, np.float32)
    logits[n_vocab // 2] = 0
    n_wins = 0
    for start in range(0, n_draws, 64):
        positions = np.arange(start, start + 64)
        rows = np.broadcast_to(logits, (64, n_vocab))
        tokens = tl.sample.sample(rows, Params(), np.full(64, SEED), positions).tokens
        n_wins += int((tokens != n_vocab // 2).sum())
    tail = (n_vocab - 1) * np.exp(-gap)
    mean = -(-n_draws // 64) * 64 * tail / (1 + tail)
    return float(2 * min(poisson.cdf(n_wins, mean), poisson.sf(n_wins - 1, mean)))


def test_the_tail_is_drawn():
    # 27 wins are expected; uniforms of 24 bits end at 16.6 nats and would give none.
    p_value = tail_wins(gap=17.0, n_vocab=65_536, n_draws=9984)
    assert p_value > RATE, f"seed {SEED}: p = {p_value}, allowed {RATE}"


@pytest.mark.heavy
@pytest.mark.parametrize("gap", [18.0, 20.0])
def test_the_far_tail_is_drawn(gap):
    p_value = tail_wins(gap, n_vocab=129_000, n_draws=100_000)
    assert p_value > RATE, f"seed {SEED}: p = {p_value}, allowed {RATE}"


def test_waiting_times_are_exponential_down_to_the_smallest():
    n_draws = 1 << 24
    times = tl.sample.waiting_times(tl.Rng(SEED), n_draws)
    assert times.min() > 0  # an exact zero would win against any probability
    edges = np.concatenate([[0], 2.0 ** np.arange(-20, 3), [np.inf]])
    expected = n_draws * np.diff(-np.expm1(-edges))
    p_value = g_test(np.histogram(times, edges)[0], expected)
    assert p_value > RATE, f"seed {SEED}: p = {p_value}, allowed {RATE}"
