"""tl.sample beyond the draw: texts, precisions, threads, statistics, several draws, rows that are combined."""

import copy
import itertools
import pickle

import numpy as np
import pytest
import tokenloom as tl
from scipy.special import log_softmax, softmax
from tokenloom.reference import sample as twin

Params = tl.sample.Params
EVERYTHING = Params(
    temperature=0.8,
    top_k=50,
    top_p=0.95,
    order="llamacpp",
    bias={3: 1.5, (1, 2): -1.0},
    bad_words=[[4], [1, 5]],
    allowed_ids=range(90),
    min_tokens=3,
    stop_ids=[7],
    repetition_penalty=1.2,
    dry_multiplier=0.5,
    dry_breakers=[[9]],
    xtc_probability=0.5,
)


def normal(n_rows: int, n_vocab: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=(n_rows, n_vocab)) * 2).astype(np.float32)


def test_params_with_lists_are_values():
    assert pickle.loads(pickle.dumps(EVERYTHING)) == copy.deepcopy(EVERYTHING) == EVERYTHING
    assert hash(copy.copy(EVERYTHING)) == hash(EVERYTHING)
    assert EVERYTHING.bias == (((3,), 1.5), ((1, 2), -1.0))
    assert EVERYTHING.rules.needs_history
    assert not Params(bias={3: 1.0}).rules.needs_history
    with pytest.raises(tl.errors.ParamsError, match="token ids"):
        Params(allowed_ids=[-1])


def test_texts_come_in_three_forms():
    logits = normal(2, 100)
    arguments = {"params": EVERYTHING, "seeds": [1, 2], "positions": [4, 4], "prompt_lengths": [1, 2]}
    texts = [[1, 2, 1, 2], [5, 1, 2, 1]]
    first = tl.sample.sample(logits, history=texts, **arguments)
    ragged = tl.Ragged(np.ravel(texts), [0, 4, 8])
    for history in (np.array(texts), ragged, [np.array(text, np.int32) for text in texts]):
        again = tl.sample.sample(logits, history=history, **arguments)
        assert [a.tolist() for a in again] == [a.tolist() for a in first]
    kept = tl.sample.keep_set(logits, EVERYTHING, history=texts, seeds=[1, 2], positions=4, prompt_lengths=[1, 2])
    assert not kept[:, 90:].any()
    assert not kept[:, 4].any()
    assert not kept[1, [5, 7]].any()
    assert kept[[0, 1], first.tokens].all()


@pytest.mark.parametrize(
    ("history", "message"),
    [
        (None, "expected history for the rules"),
        ([[1, 2]], "history of 2 rows, found 1"),
        ([[1, 2], [0.5]], "ids of at least 0, found float64"),
        ([[1, 2], [-1]], "ids of at least 0, found int64"),
    ],
)
def test_bad_texts_are_named(history, message):
    with pytest.raises(tl.errors.TokenloomError, match=message):
        tl.sample.sample(normal(2, 9), Params(presence_penalty=1.0), [1, 2], 0, history=history)


def test_ids_beyond_the_row_are_ignored():
    logits = normal(1, 50)
    params = Params(presence_penalty=5.0, bias={10**6: 3.0}, allowed_ids=[1, 2, 99], stop_ids=[77], min_tokens=2)
    left = tl.sample.process(logits, params, history=[[1, 60, 2**31]])
    np.testing.assert_allclose(left[0, [1, 2]], logits[0, [1, 2]] - [5.0, 0.0])


def test_half_precision_draws_what_single_does():
    logits = normal(3, 1001)
    half = logits.astype(np.float16)
    bits = (logits.view(np.uint32) >> 16).astype(np.uint16)
    widened = (bits.astype(np.uint32) << 16).view(np.float32)
    mask = np.full((3, 32), 0x5555_5555, np.int32)
    for params in (Params(), Params(top_k=7), Params(top_p=0.8, bias={0: 2.0})):
        for given, single in ((half, half.astype(np.float32)), (tl.sample.Bfloat16Bits(bits), widened)):
            for words in (None, mask):
                found = tl.sample.draw(given, params, [1, 2, 3], 5, words, n_top=4)
                expected = tl.sample.draw(single, params, [1, 2, 3], 5, words, n_top=4)
                for a, b in zip(found[:6], expected[:6], strict=True):
                    np.testing.assert_array_equal(a, b)
            np.testing.assert_array_equal(tl.sample.distribution(given), tl.sample.distribution(single))
    with pytest.raises(tl.errors.ArrayError, match="dtype uint16, found int16"):
        tl.sample.sample(tl.sample.Bfloat16Bits(bits.view(np.int16)), seeds=[1, 2, 3])


def test_threads_do_not_matter():
    logits = normal(7, 5000)
    logits[3, 8] = np.nan
    for params in (Params(), Params(top_k=30, top_p=0.9), Params(typical_p=0.7)):
        runs = [tl.sample.draw(logits, params, range(7), 3, n_top=2, threads=threads) for threads in (1, 2, 3, 20)]
        for other in runs[1:]:
            for a, b in zip([*runs[0][:6], *runs[0].stats], [*other[:6], *other.stats], strict=True):
                np.testing.assert_array_equal(a, b)
    with pytest.raises(tl.errors.ArrayError, match="at least 1 thread"):
        tl.sample.sample(logits, Params(), range(7), threads=0)


def test_wide_rows_keep_what_narrow_estimates_cannot_spoil():
    """Rows on which the guesses of a top-p cut fail: heavy tokens between the sampled blocks, or nowhere else."""
    n_vocab = 20_000
    generator = np.random.default_rng(4)
    between = generator.normal(size=n_vocab).astype(np.float32)
    between[64 * 32 * np.arange(8) + 64] += 9.0
    inside = generator.normal(size=n_vocab).astype(np.float32)
    inside[64 * 32 * np.arange(8) + 3] += 9.0
    rows = np.stack(
        [between, inside, np.zeros(n_vocab, np.float32), generator.normal(size=n_vocab) * 4, between * 0.01]
    )
    for p in (0.05, 0.5, 0.9, 0.999):
        for rules in ({"top_p": p}, {"typical_p": p, "order": "joint"}):
            for row, kept in zip(rows.astype(float), tl.sample.keep_set(rows, Params(**rules)), strict=True):
                expected = twin.keep_set(row, **rules)
                missed = expected ^ set(np.flatnonzero(kept))
                assert softmax(row)[list(missed)].sum() < 1e-4


def test_statistics_are_those_of_the_model():
    logits = normal(4, 3000)
    logits[1] *= 5
    mask = np.full((4, 94), 0x7777_7777, np.int32)
    params = Params(temperature=0.5, top_k=20, bias={5: 3.0})
    for words, rules in ((None, Params(temperature=0.5, top_k=20)), (mask, params)):
        drawn = tl.sample.draw(logits, rules, range(4), 9, words, n_top=5)
        same = tl.sample.sample(logits, rules, range(4), 9, words, return_margins=True)
        for a, b in zip(drawn[:4], same, strict=True):
            np.testing.assert_array_equal(a, b)
        logp = log_softmax(logits.astype(float), axis=1)
        p = np.exp(logp)
        stats = drawn.stats
        entropy = -(p * logp).sum(1)
        np.testing.assert_allclose(stats.entropy, entropy, rtol=1e-5)
        np.testing.assert_allclose(stats.varentropy, (p * (logp + entropy[:, None]) ** 2).sum(1), rtol=1e-4)
        np.testing.assert_allclose(stats.collision, (p * p).sum(1), rtol=1e-5)
        np.testing.assert_allclose(stats.max_logprob, logp.max(1), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(stats.log_norm, np.log(np.exp(logits.astype(float)).sum(1)), rtol=1e-5)
        top_two = np.sort(logits, axis=1)[:, :-3:-1]
        np.testing.assert_allclose(stats.margin, top_two[:, 0] - top_two[:, 1], rtol=1e-6)
        own = logp[np.arange(4), drawn.tokens]
        np.testing.assert_allclose(drawn.raw_logprobs, own, atol=1e-5)
        assert stats.rank.tolist() == (logp > own[:, None]).sum(1).tolist()
        np.testing.assert_allclose(stats.mass_above, np.where(logp > own[:, None], p, 0).sum(1), atol=1e-6)
        falling = np.sort(p, axis=1)[:, ::-1]
        for row, column in itertools.product(range(4), range(6)):
            reached = np.searchsorted(falling[row].cumsum(), tl.sample.QUANTILES[column])
            assert stats.quantiles[row, column] == pytest.approx(-np.log(falling[row, reached]), abs=2e-3)
        assert drawn.top_tokens.tolist() == np.argsort(-logits, axis=1)[:, :5].tolist()
        np.testing.assert_allclose(drawn.top_logprobs, np.sort(logp, axis=1)[:, :-6:-1], atol=1e-5)


def test_top_tokens_under_the_rules():
    logits = normal(2, 100)
    params = Params(temperature=0.5, top_k=3)
    drawn = tl.sample.draw(logits, params, [1, 2], 0, n_top=5, top="processed")
    probs = tl.sample.distribution(logits, params)
    assert (drawn.top_tokens[:, 3:] == -1).all()
    assert np.isneginf(drawn.top_logprobs[:, 3:]).all()
    for row in range(2):
        np.testing.assert_allclose(
            np.exp(drawn.top_logprobs[row, :3]), probs[row, drawn.top_tokens[row, :3]], rtol=1e-5
        )
    assert tl.sample.draw(logits, params, [1, 2], 0).top_tokens.shape == (2, 0)
    assert tl.sample.draw(logits, params, [1, 2], 0, n_top=1000).top_tokens.shape == (2, 100)
    with pytest.raises(tl.errors.ParamsError, match="n_top"):
        tl.sample.draw(logits, params, [1, 2], 0, n_top=-1)


def test_mirostat_goes_on_from_its_state():
    logits, params = normal(1, 500), Params(mirostat=2, mirostat_tau=3.0)
    mu = None
    for position in range(5):
        drawn = tl.sample.draw(logits, params, 1, position, mirostat_mu=mu)
        before = 6.0 if mu is None else float(mu[0])
        probs = twin.distribution(logits[0].astype(float), mirostat=2, mirostat_tau=3.0, mu=before)
        after = twin.next_mu(before, probs[int(drawn.tokens[0])], 3.0, 0.1)
        assert drawn.mirostat_mu[0] == pytest.approx(after, abs=1e-5)
        mu = drawn.mirostat_mu
    assert tl.sample.draw(logits, Params(), 1, 0, mirostat_mu=[2.5]).mirostat_mu[0] == 2.5
    with pytest.raises(tl.errors.ArrayError, match="mirostat states with 1 elements, found 2"):
        tl.sample.draw(logits, params, 1, 0, mirostat_mu=[1.0, 2.0])


def test_distinct_draws_begin_with_the_draw():
    logits = normal(3, 300)
    logits[2, 5:] = -np.inf
    drawn = tl.sample.sample_distinct(logits, 8, seeds=[1, 2, 3], positions=4)
    assert drawn.tokens[:, 0].tolist() == tl.sample.sample(logits, seeds=[1, 2, 3], positions=4).tokens.tolist()
    assert (drawn.tokens[2] >= 0).tolist() == [True] * 5 + [False] * 3
    assert (np.diff(drawn.keys[:2], axis=1) < 0).all()
    logp = log_softmax(logits[0].astype(float))
    np.testing.assert_allclose(drawn.logprobs[0], logp[drawn.tokens[0]], atol=1e-5)
    times = tl.sample.waiting_times(tl.Rng(1, 4), 300)
    np.testing.assert_allclose(drawn.keys[0], (logp - np.log(times))[drawn.tokens[0]], atol=1e-5)
    kept = tl.sample.keep_set(logits, Params(top_k=4))
    few = tl.sample.sample_distinct(logits, 8, Params(top_k=4), [1, 2, 3], 4)
    assert [set(row[row >= 0]) for row in few.tokens] == [set(np.flatnonzero(row)) for row in kept]
    assert tl.sample.sample_distinct(np.array([[np.nan, 0.0]]), 2, seeds=1).status.tolist() == [1]


def test_guidance_contrast_and_caps():
    one, other = normal(2, 40), normal(2, 40, seed=1)
    log_one, log_other = log_softmax(one.astype(float), axis=1), log_softmax(other.astype(float), axis=1)
    np.testing.assert_allclose(tl.sample.guide(one, other, 2.5), log_other + 2.5 * (log_one - log_other), atol=1e-5)
    plausible = one >= one.max(1, keepdims=True) + np.log(0.2)
    scores = tl.sample.contrast(one, other, alpha=0.2)
    np.testing.assert_allclose(scores, np.where(plausible, log_one - log_other, -np.inf), atol=1e-5)
    scores = tl.sample.contrast(one, other, alpha=0.0, beta=0.5)
    np.testing.assert_allclose(scores, 1.5 * log_one - 0.5 * log_other, atol=1e-5)
    caps = np.random.default_rng(3).random((2, 40)).astype(np.float32) * 0.1
    q = np.exp(tl.sample.cap(one, caps).astype(float))
    np.testing.assert_allclose(q.sum(1), 1.0, rtol=1e-5)
    assert (q <= caps * (1 + 1e-5)).all()
    free = q < caps * (1 - 1e-5)
    for row in range(2):
        ratios = q[row, free[row]] / np.exp(log_one[row, free[row]])
        np.testing.assert_allclose(ratios, ratios[0], rtol=1e-4)
        assert (q[row] >= np.minimum(ratios[0] * np.exp(log_one[row]), caps[row]) * (1 - 1e-4)).all()


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda rows: tl.sample.guide(rows, rows[:1], 1.0), tl.errors.ArrayError),
        (lambda rows: tl.sample.guide(rows * np.nan, rows, 1.0), tl.errors.DistributionError),
        (lambda rows: tl.sample.contrast(rows, rows, alpha=2.0), tl.errors.ParamsError),
        (lambda rows: tl.sample.cap(rows, [0.5, 2.0, 1.0]), tl.errors.ParamsError),
        (lambda rows: tl.sample.cap(rows, [0.5, 1.0]), tl.errors.ArrayError),
        (lambda rows: tl.sample.cap(rows, [0.0, 0.0, 0.0]), tl.errors.DistributionError),
        (lambda rows: tl.sample.beam_step(rows, [0.0], [0.0, 0.0], [1, 2], 3, 0), tl.errors.ArrayError),
        (lambda rows: tl.sample.sample_distinct(rows, -1, seeds=[1, 2]), tl.errors.ParamsError),
        (lambda rows: tl.sample.draw(rows, seeds=[1, 2], top="best"), tl.errors.ParamsError),
    ],
)
def test_what_cannot_be_combined_is_named(call, error):
    with pytest.raises(error):
        call(np.zeros((2, 3), np.float32))
