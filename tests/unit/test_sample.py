"""tl.sample: the rules against their readable twin, ties, bad rows, determinism, the Python objects."""

import copy
import pickle

import numpy as np
import pytest
import tokenloom as tl
from tokenloom.reference import rng as rng_twin
from tokenloom.reference import sample as twin

Params = tl.sample.Params
RULES = [
    {},
    {"temperature": 0.7},
    {"top_k": 1},
    {"top_k": 7},
    {"top_k": 10**12},
    {"top_p": 0.9},
    {"top_p": 0.0},
    {"top_p": 0.999999},
    {"min_p": 0.05},
    {"min_p": 1.0},
    {"typical_p": 0.3},
    {"typical_p": 0.95},
    {"temperature": 2.5, "top_k": 40, "top_p": 0.8, "min_p": 0.02, "typical_p": 0.9},
    {"temperature": 0.2, "top_p": 0.95, "typical_p": 0.5},
    {"temperature": 0.0, "top_k": 5},
    {"epsilon_cutoff": 0.004},
    {"epsilon_cutoff": 1.0},
    {"eta_cutoff": 0.01},
    {"eta_cutoff": 0.9},
    {"top_n_sigma": 1.2},
    {"p_less": 1},
    {"p_less": 2, "temperature": 1.4},
    {"xtc_probability": 1.0, "xtc_threshold": 0.02},
    {"xtc_probability": 0.5, "xtc_threshold": 0.01, "temperature": 0.6},
    {"mirostat": 1, "mirostat_tau": 2.0},
    {"mirostat": 2, "mirostat_tau": 2.0},
    {"order": "vllm", "top_k": 30, "min_p": 0.03, "top_p": 0.7},
    {"order": "joint", "top_k": 30, "top_p": 0.7},
    {"order": "llamacpp", "temperature": 0.4, "top_k": 30, "typical_p": 0.8, "xtc_probability": 1.0},
    {"order": "llamacpp", "temperature": 0.4, "mirostat": 2, "mirostat_tau": 3.0},
    {"order": ("top_p", "temperature", "top_n_sigma"), "top_p": 0.8, "temperature": 3.0, "top_n_sigma": 0.9},
    {"order": ("min_p",), "temperature": 3.0, "min_p": 0.1},
]


def rows_of(kind: str, n_vocab: int) -> np.ndarray:
    generator = np.random.default_rng(n_vocab)
    logits = generator.normal(size=(3, n_vocab)).astype(np.float32)
    if kind == "peaked":
        logits *= 12
    if kind == "masked":
        logits[:, generator.random(n_vocab) < 0.6] = -np.inf
        logits[:, 0] = 0.5
    return logits


@pytest.mark.parametrize("rules", RULES, ids=str)
@pytest.mark.parametrize("kind", ["normal", "peaked", "masked"])
def test_rules_keep_what_the_twin_keeps(rules, kind):
    for n_vocab in (1, 2, 63, 64, 65, 300):
        logits = rows_of(kind, n_vocab)
        kept = tl.sample.keep_set(logits, Params(**rules))
        probs = tl.sample.distribution(logits, Params(**rules))
        for row, found, p in zip(logits.astype(float), kept, probs, strict=True):
            assert set(np.flatnonzero(found)) == twin.keep_set(row, **rules)
            np.testing.assert_allclose(p, twin.distribution(row, **rules), rtol=1e-12, atol=1e-15)


def test_draws_follow_the_waiting_times():
    logits = rows_of("normal", 1000)[0]
    for params in (Params(), Params(top_p=0.5), Params(top_k=30, temperature=1.7)):
        probs = tl.sample.distribution(logits[None], params)[0]
        for position in range(50):
            drawn = tl.sample.sample(logits[None], params, 9, position, return_margins=True)
            with np.errstate(divide="ignore"):
                times = tl.sample.waiting_times(tl.Rng(9, position), 1000) / probs
            token = int(drawn.tokens[0])
            assert token == times.argmin() == twin.draw(probs, 9, position)
            assert drawn.logprobs[0] == pytest.approx(np.log(probs[token]), abs=1e-5)
            first, second = np.sort(times)[:2]
            assert drawn.margins[0] == pytest.approx(np.log(second / first), abs=1e-5)


def test_waiting_times_are_the_twin_s_rounded():
    times = tl.sample.waiting_times(tl.Rng(3, 4), 5000, tl.sample.Purpose.DRAFT)
    assert times.dtype == np.float32
    for token, time in enumerate(times):
        assert time == pytest.approx(rng_twin.exponential(3, 4, token, rng_twin.DRAFT), rel=1e-5)


def test_ties_are_cut_to_the_smaller_ids():
    logits = np.zeros((1, 200), np.float32)
    logits[0, [50, 150]] = 1.0
    assert np.flatnonzero(tl.sample.keep_set(logits, Params(top_k=5, order="llamacpp"))).tolist() == [0, 1, 2, 50, 150]
    assert np.flatnonzero(tl.sample.keep_set(logits, Params(top_k=1, order="joint"))).tolist() == [50]
    for order in ("hf", "vllm"):
        assert np.flatnonzero(tl.sample.keep_set(logits, Params(top_k=1, order=order))).tolist() == [50, 150]
        assert tl.sample.keep_set(logits, Params(top_k=5, order=order)).all()
    half = Params(top_p=0.5)
    assert np.flatnonzero(tl.sample.keep_set(np.zeros((1, 8), np.float32), half)).tolist() == [0, 1, 2, 3]
    assert np.flatnonzero(tl.sample.keep_set(np.array([[-0.0, 0.0, -0.0, 0.0]], np.float32), half)).tolist() == [0, 1]
    greedy = tl.sample.sample(logits, Params(temperature=0), 0, 0, return_margins=True)
    assert (greedy.tokens[0], greedy.logprobs[0], greedy.margins[0]) == (50, 0.0, 0.0)


@pytest.mark.parametrize(
    "params", [Params(), Params(temperature=0), Params(top_k=2, top_p=0.9, min_p=0.1, typical_p=0.9)]
)
def test_bad_rows_have_a_status_and_leave_the_others_alone(params):
    logits = rows_of("normal", 100)[[0, 0, 0, 0, 0, 0]]
    logits[1, 99] = np.nan
    logits[2] = -np.inf
    logits[3, 5] = np.inf
    mask = np.full((6, 4), -1, np.int32)
    mask[4] = 0
    drawn = tl.sample.sample(logits, params, np.full(6, 3), 8, mask, return_margins=True)
    assert drawn.status.tolist() == [0, 1, 2, 1, 2, 0]
    assert (drawn.tokens >= 0).tolist() == [True, False, False, False, False, True]
    assert np.isnan(drawn.logprobs[1:5]).all()
    assert drawn.tokens[0] == drawn.tokens[5] == tl.sample.sample(logits[:1], params, 3, 8).tokens[0]
    with pytest.raises(tl.errors.DistributionError, match=r"NaN or \+inf at row 1") as caught:
        tl.sample.distribution(logits, params)
    assert caught.value.row == 1


def test_a_mask_equals_minus_infinity():
    generator = np.random.default_rng(0)
    logits = rows_of("normal", 1001)
    allowed = generator.random((3, 1001)) < 0.3
    padded = np.zeros((3, 32 * 32), bool)
    padded[:, :1001] = allowed
    mask = np.packbits(padded, axis=1, bitorder="little").view(np.int32)
    hidden = np.where(allowed, logits, np.nan).astype(np.float32)
    explicit = np.where(allowed, logits, -np.inf).astype(np.float32)
    for rules in RULES:
        found = tl.sample.sample(hidden, Params(**rules), tl.sample.seeds(1, 3), 2, mask)
        expected = tl.sample.sample(explicit, Params(**rules), tl.sample.seeds(1, 3), 2)
        assert [a.tolist() for a in found] == [a.tolist() for a in expected]
    np.testing.assert_array_equal(
        tl.sample.distribution(hidden, Params(), mask), tl.sample.distribution(explicit, Params())
    )


def test_the_batch_does_not_matter():
    logits = np.concatenate([rows_of("normal", 777), rows_of("peaked", 777)])
    params = [Params(**rules) for rules in RULES[:6]]
    seeds, positions = tl.sample.seeds(5, 6), np.arange(6)
    whole = tl.sample.sample(logits, params, seeds, positions).tokens
    for row in range(6):
        alone = tl.sample.sample(logits[row : row + 1], params[row], seeds[row : row + 1], row)
        assert alone.tokens[0] == whole[row]
    order = np.array([3, 1, 5, 0, 2, 4])
    shuffled = tl.sample.sample(logits[order], [params[i] for i in order], seeds[order], positions[order])
    assert shuffled.tokens.tolist() == whole[order].tolist()


def test_truncation_does_not_change_the_noise():
    logits = rows_of("normal", 500)[:1]
    for position in range(100):
        token = tl.sample.sample(logits, Params(), 1, position).tokens[0]
        for rules in ({"top_k": 20}, {"top_p": 0.3}, {"min_p": 0.2}):
            if tl.sample.keep_set(logits, Params(**rules))[0, token]:
                assert tl.sample.sample(logits, Params(**rules), 1, position).tokens[0] == token


def test_other_dtypes_and_strides():
    logits = rows_of("normal", 64)
    single = tl.sample.sample(logits, seeds=[1, 2, 3], positions=0).tokens.tolist()
    assert tl.sample.sample(logits.astype(np.float64), seeds=[1, 2, 3], positions=0).tokens.tolist() == single
    assert tl.sample.sample(np.asfortranarray(logits), seeds=[1, 2, 3], positions=0).tokens.tolist() == single
    half = logits.astype(np.float16)
    expected = tl.sample.sample(half.astype(np.float32), seeds=[1, 2, 3], positions=0).tokens.tolist()
    assert tl.sample.sample(half, seeds=[1, 2, 3], positions=0).tokens.tolist() == expected
    exact = np.array([[0.1, 0.7]])
    assert tl.sample.distribution(exact)[0, 1] == pytest.approx(1 / (1 + np.exp(-0.6)), rel=1e-14)
    assert tl.sample.sample(np.zeros((0, 5), np.float32), seeds=[], positions=[]).tokens.shape == (0,)


def test_extreme_values_do_not_overflow():
    big = np.float32(3e38)
    logits = np.array([[big, -big, big, 0.0]], np.float32)
    for temperature in (1e-30, 1e-3, 1.0, 3e38):
        probs = tl.sample.distribution(logits, Params(temperature=temperature))[0]
        assert np.isfinite(probs).all()
        drawn = tl.sample.sample(logits, Params(temperature=temperature, top_p=0.99), 0, 0)
        assert drawn.status[0] == 0
        assert probs[drawn.tokens[0]] > 0
    assert tl.sample.distribution(logits, Params(temperature=1e-30))[0].tolist() == [0.5, 0, 0.5, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"logits": np.zeros(3, np.float32)}, r"shape \[B, V\], found \[3\]\nhint"),
        ({"logits": np.zeros((2, 3), np.int64)}, "dtype float16, float32 or float64, found int64"),
        ({"logits": np.zeros((2, 0), np.float32)}, "1 to 4194304 columns, found 0"),
        ({"seeds": 1}, r"seeds of shape \[2\], found \[\]\nhint"),
        ({"seeds": [1, 2, 3]}, r"seeds of shape \[2\], found \[3\]"),
        ({"seeds": [0.5, 0.5]}, "seeds of an integer dtype, found float64"),
        ({"positions": [0, -1]}, "positions of at least 0, found -1"),
        ({"params": [Params()]}, "one Params or one a row"),
        ({"params": "hot"}, "one Params or one a row"),
        ({"params": [1, 2]}, "to be tokenloom.sample.Params, found int"),
        ({"mask": np.zeros((2, 2), np.int32)}, r"mask of shape \[2, 1\], found \[2, 2\]"),
        ({"mask": np.zeros((2, 1), np.int64)}, "mask of dtype int32 or uint32, found int64"),
    ],
)
def test_bad_arrays_are_named(arguments, message):
    good = {"logits": np.zeros((2, 3), np.float32), "seeds": [1, 2], "positions": 0}
    with pytest.raises(tl.errors.ArrayError, match=message):
        tl.sample.sample(**{**good, **arguments})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("top_k", -1),
        ("top_p", 1.1),
        ("min_p", -1e-9),
        ("typical_p", 0.0),
        ("order", "sglang"),
        ("order", ("top_k", "heat")),
        ("order", ("top_k", "top_k_with_ties")),
        ("epsilon_cutoff", 1.5),
        ("eta_cutoff", -1.0),
        ("top_n_sigma", -1.0),
        ("p_less", 3),
        ("xtc_probability", 2.0),
        ("mirostat", 3),
        ("repetition_penalty", 0.0),
        ("frequency_penalty", float("nan")),
        ("dry_base", 0.5),
        ("min_tokens", -1),
        ("bias", {3: float("inf")}),
        ("bias", {(): 1.0}),
        ("bad_words", [[]]),
        ("temperature", "hot"),
        ("top_p", None),
        ("top_k", 2.5),
        ("mirostat", -1),
        ("min_tokens", "3"),
        ("order", None),
        ("bias", {"a": 1.0}),
        ("bias", {5: "x"}),
        ("bias", 7),
        ("bad_words", [5]),
        ("dry_breakers", "ab"),
        ("stop_ids", [2**32]),
    ],
)
def test_bad_params_are_named(field, value):
    with pytest.raises(tl.errors.ParamsError, match=field) as caught:
        Params(**{field: value})
    assert isinstance(caught.value, ValueError)


def test_counts_beyond_any_text_are_cut():
    huge = 10**30
    names = ("top_k", "penalty_last_n", "dry_last_n", "dry_allowed_length", "no_repeat_ngram_size", "min_tokens")
    params = Params(**dict.fromkeys(names, huge), presence_penalty=0.5, dry_multiplier=1.0)
    logits = rows_of("normal", 100)
    left = tl.sample.process(logits, params, history=[[1, 2, 1]] * 3)
    expected = logits.copy()
    expected[:, [1, 2]] -= 0.5
    np.testing.assert_array_equal(left, expected)


@pytest.mark.parametrize("purpose", [-1, 2**31])
def test_a_purpose_has_31_bits(purpose):
    with pytest.raises(tl.errors.ParamsError, match="purpose"):
        tl.sample.sample(np.zeros((1, 3), np.float32), purpose=purpose)
    with pytest.raises(tl.errors.ParamsError, match="purpose"):
        tl.sample.draw(np.zeros((1, 3), np.float32), purpose=purpose)


def test_hostile_rules_leave_a_distribution_or_a_status():
    """Values at the ends of their ranges, in every order, over rows at the ends of theirs."""
    generator = np.random.default_rng(1)
    rows = np.stack([generator.normal(size=90), np.zeros(90), generator.normal(size=90) * 1e37, np.full(90, 3e38)])
    texts, seeds = [[1, 2, 1, 2], [], [5] * 30, [10**6, 2**32 - 1]], tl.sample.seeds(2, 4)
    tiny = 1e-300
    hostile = [
        *({"temperature": value} for value in (tiny, 1e-45, 3.4e38)),
        {"top_p": tiny},
        {"typical_p": tiny},
        {"min_p": tiny, "epsilon_cutoff": 1.0, "eta_cutoff": tiny},
        *({"top_n_sigma": value} for value in (tiny, 1e38)),
        *({"xtc_probability": 1.0, "xtc_threshold": value} for value in (0.0, 0.5, 0.50001, 1.0)),
        *({"dynatemp_range": 3e38, "dynatemp_exponent": value} for value in (0.0, 3e38)),
        {"repetition_penalty": 1e-38, "frequency_penalty": -3e38},
        {"dry_multiplier": 3e38, "dry_base": 3e38, "dry_breakers": [[1], [1, 2], [1, 2, 1]]},
        {"allowed_ids": [10**6]},
        {"mirostat": 1, "mirostat_tau": 3e38},
        {"mirostat": 2, "mirostat_tau": 0.0},
    ]
    for order in ("hf", "vllm", "llamacpp", "joint"):
        for rules in hostile:
            params = Params(**rules, order=order)
            drawn = tl.sample.draw(rows.astype(np.float32), params, seeds, 0, None, texts, n_top=2)
            good = drawn.status == 0
            assert ((drawn.tokens >= 0) == good).all()
            assert (drawn.logprobs[good] <= 1e-6).all(), (rules, order)
            some = {"history": [text for text, is_good in zip(texts, good, strict=True) if is_good]}
            law = tl.sample.distribution(rows.astype(np.float32)[good], params, **some, seeds=seeds[good])
            np.testing.assert_allclose(law.sum(1), 1.0, err_msg=f"{rules} {order}")
            assert (law[np.arange(len(law)), drawn.tokens[good]] > 0).all(), (rules, order)


def test_params_are_values():
    params = Params(top_k=5, temperature=0.5)
    assert pickle.loads(pickle.dumps(params)) == copy.deepcopy(params) == params
    assert hash(params) == hash(Params(top_k=5, temperature=0.5))
    with pytest.raises(AttributeError):
        params.top_k = 3


def test_seeds_differ_between_rows():
    seeds = tl.sample.seeds(0, 1000)
    assert seeds.dtype == np.uint64
    assert len(set(seeds.tolist())) == 1000
    assert seeds.tolist()[:3] == [rng_twin.derive(0, stream) for stream in range(3)]
