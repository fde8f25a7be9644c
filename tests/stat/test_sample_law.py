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
    Params(epsilon_cutoff=0.01),
    Params(eta_cutoff=0.05),
    Params(top_n_sigma=1.5),
    Params(p_less=1),
    Params(p_less=2),
    Params(mirostat=1, mirostat_tau=2.0),
    Params(mirostat=2, mirostat_tau=2.0),
    Params(dynatemp_range=0.5, dynatemp_exponent=1.5),
    Params(bias={3: 2.0, 4: -1.0}, allowed_ids=range(2, 50)),
    Params(temperature=0.7, top_k=20, typical_p=0.9, top_p=0.95, min_p=0.05, order="llamacpp"),
    Params(temperature=0.7, top_k=20, top_p=0.95, min_p=0.05, order="vllm"),
    Params(temperature=0.7, top_k=20, top_p=0.8, order="joint"),
]
N_TESTS = len(LAWS) + 1 + 3 + 1 + 2 + 1 + 3
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
    n_draws = 100_000
    logits = (np.random.default_rng(1).normal(size=60) * 1.5).astype(np.float32)
    expected = tl.sample.distribution(logits[None], params)[0]
    counts = np.bincount(draws(logits, params, n_draws), minlength=60)
    assert (counts[expected == 0] == 0).all()
    p_value = g_test(counts, n_draws * expected)
    assert p_value > RATE, f"seed {SEED}: p = {p_value}, allowed {RATE}"


def test_xtc_is_applied_as_often_as_asked():
    n_draws = 100_000
    logits = (np.random.default_rng(1).normal(size=60) * 1.5).astype(np.float32)
    params = Params(xtc_probability=0.3, xtc_threshold=0.05)
    with_coin = tl.sample.distribution(logits[None], Params(xtc_probability=1.0, xtc_threshold=0.05))[0]
    expected = 0.7 * tl.sample.distribution(logits[None])[0] + 0.3 * with_coin
    p_value = g_test(np.bincount(draws(logits, params, n_draws), minlength=60), n_draws * expected)
    assert p_value > RATE, f"seed {SEED}: p = {p_value}, allowed {RATE}"


def test_draws_after_a_text_fit_the_distribution():
    """Penalties, DRY and bans in one list; what they do to a logit is compared with the hosts elsewhere."""
    n_draws = 100_000
    logits = (np.random.default_rng(1).normal(size=60) * 1.5).astype(np.float32)
    text = [3, 4, 5, 9, 3, 4, 5, 7, 3, 4]
    rules = {
        "repetition_penalty": 1.3,
        "frequency_penalty": 0.2,
        "presence_penalty": 0.1,
        "dry_multiplier": 0.8,
        "no_repeat_ngram_size": 4,
        "bad_words": [[11], [4, 12]],
        "min_tokens": 20,
        "stop_ids": [13],
    }
    expected = tl.sample.distribution(logits[None], Params(**rules), history=[text])[0]
    assert (expected == 0).sum() >= 3
    tokens = []
    for start in range(0, n_draws, 10_000):
        rows, positions = np.broadcast_to(logits, (10_000, 60)), np.arange(start, start + 10_000)
        seeds, history = np.full(10_000, SEED), np.broadcast_to(text, (10_000, len(text)))
        tokens.append(tl.sample.sample(rows, Params(**rules), seeds, positions, history=history).tokens)
    counts = np.bincount(np.concatenate(tokens), minlength=60)
    assert (counts[expected == 0] == 0).all()
    p_value = g_test(counts, n_draws * expected)
    assert p_value > RATE, f"seed {SEED}: p = {p_value}, allowed {RATE}"


def test_distinct_draws_are_without_replacement():
    n_draws, n_vocab = 100_000, 6
    logits = np.linspace(0, 2, n_vocab, dtype=np.float32)
    p = np.exp(logits.astype(float)) / np.exp(logits.astype(float)).sum()
    rows = np.broadcast_to(logits, (n_draws, n_vocab))
    drawn = tl.sample.sample_distinct(rows, 2, seeds=np.full(n_draws, SEED), positions=np.arange(n_draws))
    counts = np.bincount(drawn.tokens[:, 0] * n_vocab + drawn.tokens[:, 1], minlength=n_vocab**2)
    expected = p[:, None] * p[None, :] / (1 - p[:, None])
    np.fill_diagonal(expected, 0)
    p_value = g_test(counts, n_draws * expected.ravel())
    assert p_value > RATE, f"seed {SEED}: p = {p_value}, allowed {RATE}"


def test_a_stochastic_beam_draws_texts_without_replacement():
    """All texts of two tokens: the first two of the beam are two draws of a text without replacement."""
    n_draws, n_vocab = 20_000, 3
    first = np.array([0.0, 0.7, -0.5], np.float32)
    second = np.array([[0.0, 1.0, 0.3], [0.5, 0.0, -1.0], [0.0, 0.0, 2.0]], np.float32)
    p_first, p_second = np.exp(first) / np.exp(first).sum(), np.exp(second) / np.exp(second).sum(1, keepdims=True)
    p = (p_first[:, None] * p_second).ravel()
    counts = np.zeros(81)
    for seed in tl.sample.seeds(SEED, n_draws).tolist():
        step = tl.sample.beam_step(first[None], [0.0], [0.0], [seed], 3, 0)
        last = tl.sample.beam_step(second[step.tokens], step.logprobs, step.keys, step.seeds, 2, 1)
        texts = step.tokens[last.parents] * n_vocab + last.tokens
        counts[texts[0] * 9 + texts[1]] += 1
    expected = p[:, None] * p[None, :] / (1 - p[:, None])
    np.fill_diagonal(expected, 0)
    p_value = g_test(counts, n_draws * expected.ravel())
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
