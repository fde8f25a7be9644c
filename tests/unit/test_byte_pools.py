"""Ensembles of byte models, laws of foreign vocabularies, byte targets, sampling, fill-in-the-middle."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tokenloom as tl
from numpy.typing import NDArray
from tokenloom.bytelevel import ByteModel, Ensemble, fim_context, token_law
from tokenloom.errors import DistributionError, ParamsError

BYTES = {bytes([byte]): byte for byte in range(256)}


def tokenizer(*joined: bytes, special: tuple[str, ...] = ("<end>",)) -> tl.Tokenizer:
    ranks = BYTES | {token: 256 + at for at, token in enumerate(joined)}
    added = {token: len(ranks) + at for at, token in enumerate(special)}
    return tl.Tokenizer.from_tiktoken("toy", pat_str=r"\s|\S+", mergeable_ranks=ranks, special_tokens=added)


def law(n_ids: int, seed: int, banned: tuple[int, ...] = ()) -> Callable[[list[list[int]]], NDArray[np.float64]]:
    def lm(contexts: list[list[int]]) -> NDArray[np.float64]:
        rows = np.stack([np.random.default_rng([*context, seed]).normal(size=n_ids) for context in contexts])
        rows[:, list(banned)] = -np.inf
        normed: NDArray[np.float64] = rows - np.logaddexp.reduce(rows, axis=1, keepdims=True)
        return normed

    return lm


@pytest.fixture
def models() -> list[ByteModel]:
    one, two = tokenizer(b"ab", b"abc"), tokenizer(b"bc", b"ca")
    return [ByteModel(law(259, 1), one), ByteModel(law(259, 2), two)]


def test_a_mixture_is_the_weighted_mean(models: list[ByteModel]) -> None:
    state = Ensemble(models, [3, 1]).start(b"a")
    alone = [np.exp(model.start(b"a").next_byte()) for model in models]
    np.testing.assert_allclose(np.exp(state.next_byte()), 0.75 * alone[0] + 0.25 * alone[1], atol=1e-14)


def test_a_product_is_normalised_and_weights_may_be_negative(models: list[ByteModel]) -> None:
    base, anti = (model.start(b"ab").next_byte() for model in models)
    state = Ensemble([models[0], models[0], models[1]], [1, 0.5, -0.5], "product").start(b"ab")
    possible = np.isfinite(base + anti)
    expected = np.full(257, -np.inf)
    expected[possible] = 1.5 * base[possible] - 0.5 * anti[possible]
    np.testing.assert_allclose(state.next_byte(), expected - np.logaddexp.reduce(expected), atol=1e-12)


def test_a_member_that_dies_does_not_veto_a_mixture(models: list[ByteModel]) -> None:
    banned = ByteModel(law(259, 5, banned=(ord("c"), 257)), models[0].tokenizer)
    pool = Ensemble([models[1], banned]).start(b"a")
    pool.next_byte()
    fork = pool.fork()
    before = pool.next_byte()
    pool.push(ord("c"))
    assert pool.alive == (True, False)
    np.testing.assert_allclose(pool.next_byte(), models[1].start(b"ac").next_byte(), atol=1e-13)
    pool.pop()
    assert pool.alive == (True, True)
    np.testing.assert_allclose(pool.next_byte(), before, atol=1e-13)
    fork.push(ord("b"))
    assert fork.alive == (True, True)
    product = Ensemble([models[1], banned], rule="product").start(b"a")
    here = product.next_byte()
    with pytest.raises(DistributionError, match="members \\[1\\]"):
        product.push(ord("c"))
    np.testing.assert_array_equal(product.next_byte(), here)


def test_scores_and_samples_of_an_ensemble(models: list[ByteModel]) -> None:
    pool = Ensemble(models)
    text, log_probs = pool.sample(b"ab", max_bytes=6, params=tl.sample.Params(top_k=4), seed=3)
    assert pool.sample(b"ab", max_bytes=6, params=tl.sample.Params(top_k=4), seed=3)[0] == text
    assert len(log_probs) == len(text)
    state, total = pool.start(b""), 0.0
    for byte in b"ab":
        total += state.next_byte()[byte]
        state.push(byte)
    assert pool.score(b"ab") == pytest.approx(total)
    greedy, _ = models[0].sample(b"a", max_bytes=1, params=tl.sample.Params(temperature=0.0))
    assert greedy == bytes([int(np.argmax(models[0].start(b"a").next_byte()[:256]))])


def test_ensembles_that_make_no_sense_are_refused(models: list[ByteModel]) -> None:
    for arguments in [([],), (models, [1]), (models, [1, -1]), (models, [0, 0]), (models, [1, np.nan], "product")]:
        with pytest.raises(ParamsError):
            Ensemble(*arguments)  # type: ignore[arg-type]
    with pytest.raises(ParamsError, match="median"):
        Ensemble(models, rule="median")  # type: ignore[arg-type]
    with pytest.raises(ParamsError, match="take back"):
        Ensemble(models).start(b"a").pop()


def test_the_law_of_a_foreign_vocabulary_is_that_of_longest_tokens(models: list[ByteModel]) -> None:
    """All texts of three bytes behind the prompt, by the byte law, and the longest token each starts with."""
    foreign = tokenizer(b"ab", b"abb", b"ba")
    allowed = set(b"ab")
    banned = tuple(byte for byte in range(256) if byte not in allowed)
    model = ByteModel(law(259, 4, banned=(*banned, 257)), tokenizer(b"ab", b"abc"))
    expected, end = np.zeros(foreign.vocab_size), 0.0

    def walk(text: bytes, mass: float) -> None:
        nonlocal end
        longest = max((token for token in range(259) if text.startswith(foreign.token_bytes(token))), default=-1)
        if len(text) == 3:
            expected[longest] += mass
            return
        probs = np.exp(model.start(b"b" + text).next_byte())
        if text:
            expected[longest] += mass * probs[256]
        else:
            end += mass * probs[256]
        for byte in allowed:
            if probs[byte]:
                walk(text + bytes([byte]), mass * probs[byte])

    walk(b"", 1.0)
    state = model.start(b"b")
    found = token_law(state, foreign, max_tv=0.0)
    np.testing.assert_allclose(np.exp(found.log_probs), expected, atol=1e-12)
    assert np.exp(found.end) == pytest.approx(end)
    assert found.unresolved == 0.0
    rough = token_law(state, foreign, max_tv=0.3)
    distance = 0.5 * np.abs(np.exp(rough.log_probs) - expected).sum()
    assert distance <= rough.unresolved + 1e-12
    assert rough.unresolved <= 0.3
    np.testing.assert_array_equal(state.next_byte(), model.start(b"b").next_byte())


@pytest.mark.parametrize("target", ["canonical", "marginal"])
def test_byte_targets_are_what_pushing_finds(target: str) -> None:
    calls = []
    inner = law(259, 1)

    def lm(contexts: list[list[int]]) -> NDArray[np.float64]:
        calls.append(len(contexts))
        return inner(contexts)

    model = ByteModel(lm, tokenizer(b"ab", b"abc"), target=target)  # type: ignore[arg-type]
    text = b"abc ab abab c" * 2
    targets = model.byte_targets(text, prompt=b"c")
    assert (targets.shape, targets.dtype) == ((len(text) + 1, 257), np.float32)
    if target == "canonical":
        assert len(calls) == 2
    state = model.start(b"c")
    for at, byte in enumerate(text):
        np.testing.assert_allclose(targets[at], state.next_byte(), rtol=1e-6, atol=1e-6)
        state.push(byte)


def test_the_middle_is_filled_in_behind_its_marks() -> None:
    marks = ("<fim_prefix>", "<fim_suffix>", "<fim_middle>")
    tok = tokenizer(b"ab", special=marks)
    context = fim_context(tok, b"ab<fim_suffix>", b"b")
    assert [context[0], context[1], context[-1]] == [257, 256, 259]
    assert context.count(258) == 1
    model = ByteModel(law(260, 1), tok)
    row = law(260, 1)([context])[0]
    state = model.start(b"", context=context)
    probs = np.exp(state.next_byte())
    assert probs[ord("b")] / probs[ord("c")] == pytest.approx(np.exp(row[ord("b")] - row[ord("c")]))
    with pytest.raises(ParamsError, match="added token"):
        model.start(b"", context=[97])
    with pytest.raises(ParamsError, match="fim_prefix"):
        fim_context(tokenizer(), b"", b"")
    with pytest.raises(ParamsError, match="format"):
        fim_context(tok, b"", b"", "mine")


def test_user_text_that_spells_a_symbol_may_be_plain() -> None:
    tok = tokenizer(b"ab", special=("<end>", "<sep>"))
    model = ByteModel(law(259, 1), tok)
    plain = model.start(b"<sep>", context=[258])
    slow = model.start(b"", context=[258])
    for byte in b"<sep>":
        slow.push(byte)
    np.testing.assert_allclose(plain.next_byte(), slow.next_byte(), atol=1e-12)
