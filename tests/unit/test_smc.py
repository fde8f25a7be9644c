"""Particles: proper weights, resampling, and the two special cases."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tokenloom as tl
from scipy import stats
from tokenloom.errors import ArrayError, DistributionError, LimitError, ParamsError, UnsupportedFeatureError
from tokenloom.reference import awrs as twin_awrs
from tokenloom.reference import rng as twin_rng
from tokenloom.reference.smc import smc as twin_smc

A, B, END = 97, 98, 256
FALSE_ALARM = 1e-6


@pytest.fixture(scope="module")
def toy() -> tl.Tokenizer:
    ranks = {bytes([byte]): byte for byte in range(256)}
    return tl.Tokenizer.from_tiktoken("toy", pat_str=r"\S+", mergeable_ranks=ranks, special_tokens={"</s>": END})


def row_after(text: tuple[int, ...]) -> np.ndarray:
    """A law over a, b and the end that depends on the text."""
    rng = np.random.default_rng([1, *text])
    law = np.full(257, -np.inf)
    law[[A, B, END]] = np.log(rng.dirichlet([1.0, 1.0, 0.6]))
    return law


class Model:
    def __init__(self) -> None:
        self.contexts: list[list[tuple[int, ...]]] = []

    def __call__(self, contexts: list[list[int]]) -> np.ndarray:
        self.contexts.append([tuple(context) for context in contexts])
        return np.stack([row_after(tuple(context)) for context in contexts])


def fine(prefix: bytes) -> bool:
    return b"bb" not in prefix and not prefix.startswith(b"ba")


def law_of(n_steps: int, score: Callable[[bytes], float] = lambda _: 1.0) -> dict[bytes, float]:
    """Unnormalised probabilities of all complete texts of at most ``n_steps`` tokens."""
    law = {}
    for n in range(n_steps):
        for text in itertools.product((A, B), repeat=n):
            p = math.prod(math.exp(row_after(text[:i])[text[i]]) for i in range(n))
            if fine(bytes(text)):
                law[bytes(text)] = p * math.exp(row_after(text)[END]) * score(bytes(text))
    return law


@pytest.mark.parametrize(
    "options",
    [
        {"ess": 0.0},
        {"ess": 1.0, "resample": "multinomial"},
        {"ess": 0.7, "resample": "systematic", "estimator": "known_mass", "extra": 2},
        {"ess": 0.9, "resample": "residual", "estimator": "geometric", "budget": 3},
        {"ess": 0.9, "method": "hybrid"},
        {"ess": 0.9, "propose": lambda rows: np.where(np.isfinite(rows), 0.7 * rows, -np.inf)},
    ],
    ids=str,
)
def test_the_marginal_and_the_texts_are_unbiased(toy: tl.Tokenizer, options: dict[str, Any]) -> None:
    """Means over seeds of weights by text, against all texts enumerated."""
    constraint = tl.control.predicate(fine, toy)
    law = law_of(4)
    smc = tl.control.Smc(particles=4, **options)
    n_runs = 400
    found = {text: np.zeros(n_runs) for text in law}
    for seed in range(n_runs):
        run = smc.run(Model(), constraint, max_new_tokens=4, seed=seed)
        for text, log_weight in zip(run.texts, run.log_weights, strict=True):
            if log_weight > -np.inf:
                found[text][seed] += math.exp(log_weight) / 4
    for text, p in [*law.items(), (None, sum(law.values()))]:
        means = sum(found.values()) if text is None else found[text]
        spread = means.std(ddof=1) / math.sqrt(n_runs)
        assert abs(means.mean() - p) <= stats.norm.isf(FALSE_ALARM / 2) * spread + 1e-12, (text, means.mean(), p)


def outcomes(decide: Callable[[Callable[[list[float]], int]], float]) -> Iterator[tuple[float, float]]:
    """Every run of ``decide`` with its probability; it asks for its choices by their chances."""
    open_scripts: list[tuple[int, ...]] = [()]
    while open_scripts:
        script = open_scripts.pop()
        state: dict[str, Any] = {"at": 0, "p": 1.0, "branches": None}

        def choose(weights: list[float], state: dict[str, Any] = state, script: tuple[int, ...] = script) -> int:
            total = math.fsum(weights)
            if state["at"] < len(script):
                choice = script[state["at"]]
                state["at"] += 1
                state["p"] *= weights[choice] / total
                return choice
            state["branches"] = state["branches"] or [weight / total for weight in weights]
            return max(range(len(weights)), key=weights.__getitem__)

        value = decide(choose)
        if state["branches"] is None:
            yield value, state["p"]
        else:
            open_scripts += [(*script, i) for i, chance in enumerate(state["branches"]) if chance > 0]


@pytest.mark.parametrize("ess", [0.0, 0.8, 1.0])
def test_the_marginal_is_unbiased_by_enumeration(ess: float) -> None:
    """Two particles, three tokens, every draw and every ancestor: exact."""

    def run(choose: Callable[[list[float]], int]) -> float:
        def draw(text: tuple[int, ...], step: int, particle: int) -> tuple[int, float]:
            tokens = [END] if step == 2 else [A, B, END]
            masses = [math.exp(row_after(text)[token]) for token in tokens]
            masses = [
                mass if token == END or fine(bytes((*text, token))) else 0.0
                for mass, token in zip(masses, tokens, strict=True)
            ]
            return tokens[choose(masses)], math.fsum(masses)

        def resample(weights: list[float], step: int) -> list[int]:
            return [choose(weights) for _ in weights]

        return math.fsum(weight for _, weight in twin_smc(draw, resample, 2, ess, 3, END)) / 2

    found = list(outcomes(run))
    assert math.isclose(math.fsum(p for _, p in found), 1.0, rel_tol=1e-12)
    assert math.isclose(math.fsum(value * p for value, p in found), sum(law_of(3).values()), rel_tol=1e-12)


@pytest.mark.parametrize("scheme", ["multinomial", "stratified", "systematic", "residual"])
def test_equal_to_the_twin(toy: tl.Tokenizer, scheme: Any) -> None:
    constraint = tl.control.predicate(fine, toy)
    n, n_resampled = 5, 0
    for seed in range(12):
        run = tl.control.Smc(particles=n, ess=0.95, resample=scheme).run(
            Model(), constraint, max_new_tokens=6, seed=seed, limit="cut"
        )
        each = tl.sample.seeds(seed, n).tolist()

        def draw(text: tuple[int, ...], step: int, i: int, each: list[int] = each) -> tuple[int, float]:
            urn = twin_awrs.Race(np.exp(row_after(text)).tolist(), each[i], step)
            token, weight, _ = twin_awrs.known_mass(urn, lambda t: fine(bytes((*text, t))), facts={END: True})
            return token, weight

        def resample(weights: list[float], step: int, seed: int = seed) -> list[int]:
            return twin_awrs.resample(weights, scheme, seed, step)

        expected = twin_smc(draw, resample, n, 0.95, 6, END)
        assert [tuple(ids.tolist()) for ids in run.ids] == [text for text, _ in expected]
        np.testing.assert_allclose(np.exp(run.log_weights), [weight for _, weight in expected], rtol=1e-9)
        n_resampled += run.n_resampled
    assert n_resampled > 0


def test_resampling_equals_the_twin_and_keeps_its_promises() -> None:
    rng = np.random.default_rng(4)
    for seed in range(60):
        weights = rng.gamma(0.3, size=int(rng.integers(1, 40)))
        weights[rng.random(len(weights)) < 0.2] = 0.0
        if weights.sum() == 0:
            continue
        for scheme in ("multinomial", "stratified", "systematic", "residual"):
            with np.errstate(divide="ignore"):
                ancestors = tl.control.resample(np.log(weights) - 700, scheme, tl.Rng(seed, 9))
            assert ancestors.tolist() == twin_awrs.resample(weights.tolist(), scheme, seed, 9)
    for bad in ([-np.inf, -np.inf], [0.0, np.nan], []):
        with pytest.raises(DistributionError):
            tl.control.resample(bad, "residual", 0)
    with pytest.raises(ParamsError):
        tl.control.resample([0.0], "jackknife", 0)
    assert twin_rng.RESAMPLE == twin_awrs.RESAMPLE


def test_contexts_that_coincide_are_read_once(toy: tl.Tokenizer) -> None:
    model = Model()
    run = tl.control.Smc(particles=64).run(model, tl.control.predicate(fine, toy), [7, 8], max_new_tokens=5, seed=1)
    assert all(len(contexts) == len(set(contexts)) for contexts in model.contexts)
    assert model.contexts[0] == [(7, 8)]
    assert sum(map(len, model.contexts)) <= run.n_contexts < 64
    assert run.n_checks < 64


def test_a_critic_multiplies_the_law_and_twists_cancel(toy: tl.Tokenizer) -> None:
    def critic(text: bytes, is_complete: bool) -> float:
        return 0.5 * text.count(b"a") if is_complete else 2.0 * text.count(b"b")

    law = law_of(5, lambda text: math.exp(0.5 * text.count(b"a")))
    run = tl.control.Smc(particles=3000, ess=0.9, estimator="known_mass", extra=3).run(
        Model(), tl.control.predicate(fine, toy), max_new_tokens=5, seed=3, critic=critic
    )
    total = sum(law.values())
    assert math.isclose(math.exp(run.log_marginal), total, rel_tol=0.1)
    posterior = run.posterior()
    for text, p in law.items():
        assert abs(posterior.get(text, 0.0) - p / total) < 0.05
    assert list(posterior.values()) == sorted(posterior.values(), reverse=True)

    def nothing(text: bytes, is_complete: bool) -> float:
        return -math.inf if b"a" in text else 0.0

    run = tl.control.Smc(particles=20).run(Model(), tl.control.predicate(fine, toy), max_new_tokens=5, critic=nothing)
    assert set(run.posterior()) <= {b"", b"b"}


def test_a_critic_must_say_a_number(toy: tl.Tokenizer) -> None:
    constraint = tl.control.predicate(fine, toy)
    for score in (math.nan, math.inf):
        with pytest.raises(DistributionError, match=f"critic's score to be below .inf, found {score}"):
            tl.control.Smc(particles=3).run(
                Model(), constraint, max_new_tokens=3, critic=lambda text, is_complete, score=score: score
            )
    # A constant factor, however large, changes the marginal by itself and nothing else.
    plain, raised = (
        tl.control.Smc(particles=6, ess=0.9).run(
            Model(), constraint, max_new_tokens=4, seed=3, critic=lambda text, is_complete, score=score: score
        )
        for score in (0.0, 800.0)
    )
    assert plain.texts == raised.texts
    assert math.isclose(raised.log_marginal, plain.log_marginal + 800.0)


@pytest.mark.parametrize("ess", [0.0, 1.0])
def test_stop_strings_end_texts(toy: tl.Tokenizer, ess: float) -> None:
    """The mass of all texts that end, or come to their first stop string, within four tokens."""
    stops = (b"ab", b"aaa", b"")
    law: dict[bytes, float] = {}

    def grow(text: tuple[int, ...], p: float) -> None:
        places = [at for stop in stops if stop and (at := bytes(text).find(stop)) >= 0]
        if not fine(bytes(text)):
            return
        if places:
            cut = bytes(text)[: min(places)]
            law[cut] = law.get(cut, 0.0) + p
            return
        row = np.exp(row_after(text))
        law[bytes(text)] = law.get(bytes(text), 0.0) + p * row[END]
        if len(text) < 3:
            for token in (A, B):
                grow((*text, token), p * row[token])

    grow((), 1.0)
    smc = tl.control.Smc(particles=2000, ess=ess, estimator="known_mass", extra=3)
    run = smc.run(Model(), tl.control.predicate(fine, toy), max_new_tokens=4, seed=7, stop=stops)
    assert {"eos", "stop"} <= set(run.finish_reasons)
    assert math.isclose(math.exp(run.log_marginal), sum(law.values()), rel_tol=0.05)
    for text, p in run.posterior().items():
        assert abs(p - law[text] / sum(law.values())) < 0.05


def test_masks_have_no_variance_and_hybrids_join_both(toy: tl.Tokenizer) -> None:
    grammar = tl.control.regex("(a|ba|bb)*", toy)
    masked = tl.control.Smc(particles=6, method="mask", ess=0.0).run(Model(), grammar, max_new_tokens=1, seed=2)
    assert np.ptp(masked.log_weights) < 1e-12
    both = grammar & tl.control.predicate(fine, toy)
    hybrid = tl.control.Smc(particles=30, method="hybrid").run(Model(), both, max_new_tokens=6, seed=2)
    checked = tl.control.Smc(particles=30, method="awrs").run(Model(), both, max_new_tokens=6, seed=2)
    for run in (hybrid, checked):
        assert all(fine(text) for text, weight in zip(run.texts, run.weights, strict=True) if weight)
    with pytest.raises(UnsupportedFeatureError, match="mask"):
        tl.control.Smc(method="mask").run(Model(), both, max_new_tokens=3)
    local = tl.control.Smc(particles=8, weigh=False).run(Model(), both, max_new_tokens=6, limit="cut")
    assert set(local.log_weights.tolist()) <= {0.0, -np.inf}


def test_everything_may_die_and_options_are_checked(toy: tl.Tokenizer) -> None:
    never = tl.control.predicate(lambda prefix: False, toy, complete=lambda prefix: False)
    run = tl.control.Smc(particles=3).run(Model(), never, max_new_tokens=4)
    assert run.log_marginal == -math.inf
    assert run.posterior() == {}
    assert run.finish_reasons == ["constraint"] * 3
    assert not run.weights.any()
    bad: list[dict[str, Any]] = [{"particles": 0}, {"ess": 1.5}, {"ess": math.nan}, {"resample": "all"}]
    bad += [{"method": "check"}, {"estimator": "x"}, {"budget": 0}, {"tolerance": 2.0}, {"extra": 2}]
    for options in [*bad, {"estimator": "geometric", "budget": 1}]:
        with pytest.raises(ParamsError):
            tl.control.Smc(**options)

    smc, open_end = tl.control.Smc(particles=2), tl.control.predicate(fine, toy)
    with pytest.raises(ParamsError, match="expected limit 'eos' or 'cut', found 'end'"):
        smc.run(Model(), open_end, max_new_tokens=3, limit="end")  # type: ignore[arg-type]
    with pytest.raises(ArrayError, match=r"answer with 1 rows, found shape \[257\]"):
        smc.run(lambda contexts: np.zeros(257), open_end, max_new_tokens=3)
    # Nothing has ended after no token, and nothing may end without an end token.
    assert smc.run(Model(), open_end, max_new_tokens=0).log_marginal == -math.inf
    assert smc.run(Model(), open_end, max_new_tokens=0, limit="cut").log_marginal == 0.0
    assert smc.run(Model(), open_end, max_new_tokens=3, eos=[]).log_marginal == -math.inf
    one = smc.run(Model(), open_end, max_new_tokens=4, seed=3, stop="ab")
    assert one.texts == smc.run(Model(), open_end, max_new_tokens=4, seed=3, stop=[b"ab"]).texts

    class SorryError(Exception):
        pass

    def sorry(prefix: bytes) -> bool:
        raise SorryError

    with pytest.raises(SorryError):
        tl.control.Smc().run(Model(), tl.control.predicate(sorry, toy), max_new_tokens=3)


def test_exact_samples_follow_the_conditioned_law(toy: tl.Tokenizer) -> None:
    law = law_of(4)
    sampler = tl.control.ExactSampler(Model(), tl.control.predicate(fine, toy), max_new_tokens=4, seed=5)
    first = sampler.dead_share()
    drawn = sampler.draw(1500)
    counts = dict.fromkeys(law, 0)
    for found in drawn:
        counts[found.text] += 1
        assert found.ids[-1] == END
    total = sum(law.values())
    frequent = [text for text in law if law[text] / total * len(drawn) > 8]
    observed = [counts[text] for text in frequent]
    expected = [law[text] / total * len(drawn) for text in frequent]
    observed.append(len(drawn) - sum(observed))
    expected.append(len(drawn) - sum(expected))
    assert stats.chisquare(observed, expected).pvalue > FALSE_ALARM
    # In the end nearly every rejected text is known, and hardly anything is rejected any more.
    assert first == 0.0
    assert total - 1e-12 <= 1.0 - sampler.dead_share() <= total + 1e-2
    assert max(found.n_attempts for found in drawn[-200:]) == 1
    never = tl.control.predicate(lambda prefix: False, toy, complete=lambda prefix: False)
    with pytest.raises(LimitError, match="every text is rejected"):
        tl.control.ExactSampler(Model(), never, max_new_tokens=2).draw()
    hard = tl.control.predicate(lambda prefix: prefix in b"bbbb", toy, complete=lambda prefix: prefix == b"bbb")
    with pytest.raises(LimitError, match="within 1 attempts"):
        tl.control.ExactSampler(Model(), hard, max_new_tokens=4).draw(max_attempts=1)
