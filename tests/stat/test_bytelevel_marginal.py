"""The marginal target against enumeration of every token sequence, and its certificate against the exact answer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tokenloom as tl
from numpy.typing import NDArray
from tokenloom.reference import bytelevel as twin

Model = Callable[[list[list[int]]], NDArray[np.float64]]


def toy(seed: int, letters: bytes = b"ab ") -> tuple[tl.Tokenizer, dict[int, bytes]]:
    """Bytes, five joined tokens, an end token; every letter but few is unlikely to be asked for."""
    random = np.random.default_rng(seed)
    tokens = [bytes([byte]) for byte in range(256)]
    parts = [bytes([byte]) for byte in letters]
    while len(tokens) < 261:
        joined = parts[random.integers(len(parts))] + parts[random.integers(len(parts))]
        if joined not in tokens and len(joined) <= 4:
            tokens.append(joined)
            parts.append(joined)
    ranks = {token: id for id, token in enumerate(tokens)}
    special = {"<e>": len(ranks)}
    tok = tl.Tokenizer.from_tiktoken("toy", pat_str=r"\s|\S+", mergeable_ranks=ranks, special_tokens=special)
    return tok, {id: token for token, id in ranks.items()}


def law(n_ids: int, spread: float) -> Model:
    def lm(contexts: list[list[int]]) -> NDArray[np.float64]:
        rows = np.stack([np.random.default_rng([*context, 3]).normal(size=n_ids) * spread for context in contexts])
        normed: NDArray[np.float64] = rows - np.logaddexp.reduce(rows, axis=1, keepdims=True)
        return normed

    return lm


@pytest.mark.parametrize("seed", range(4))
def test_nothing_forgotten_is_enumeration(seed: int) -> None:
    tok, tokens = toy(seed)
    lm = law(tok.vocab_size, 2.0)
    model = tl.bytelevel.ByteModel(lm, tok, target="marginal", max_tv=0.0)
    for text in [b"", b"a", b"ab a", b"aabba", b" a b"]:
        state = model.start(text)
        expected = twin.next_byte_marginal(text, tokens, lm, [tok.vocab_size - 1])
        np.testing.assert_allclose(np.exp(state.next_byte()), np.exp(expected), atol=1e-12)
        assert state.certificate == 0.0
        assert np.exp(state.next_byte()).sum() == pytest.approx(1.0, abs=1e-12)
        assert state.leaked < 1e-12
        assert model.score(text) == pytest.approx(twin.log_mass_marginal(text, tokens, lm), abs=1e-12)


def test_the_chain_rule_of_the_marginal_law() -> None:
    tok, _ = toy(7)
    model = tl.bytelevel.ByteModel(law(tok.vocab_size, 2.0), tok, target="marginal", max_tv=0.0)
    text, state, total = b"ab aab b", model.start(b""), 0.0
    for byte in text:
        total += state.next_byte()[byte]
        state.push(byte)
    assert model.score(text) == pytest.approx(total, abs=1e-11)


@pytest.mark.parametrize("max_heads", [8, 1024])
@pytest.mark.parametrize("max_tv", [0.3, 1e-2, 1e-4])
def test_the_certificate_bounds_the_distance(max_tv: float, max_heads: int) -> None:
    for seed in range(3):
        tok, _ = toy(seed)
        lm = law(tok.vocab_size, 3.0)
        exact = tl.bytelevel.ByteModel(lm, tok, target="marginal", max_tv=0.0)
        model = tl.bytelevel.ByteModel(lm, tok, target="marginal", max_tv=max_tv, max_heads=max_heads)
        a, b = exact.start(b""), model.start(b"")
        for byte in b"ab aabab":
            distance = 0.5 * np.abs(np.exp(a.next_byte()) - np.exp(b.next_byte())).sum()
            assert distance <= b.certificate + 1e-12
            if max_heads == 1024:
                assert b.certificate <= max_tv
            a.push(byte)
            b.push(byte)


def test_a_head_that_is_woken_late_reads_what_it_missed() -> None:
    tok, tokens = toy(2)
    lm = law(tok.vocab_size, 2.0)
    state = tl.bytelevel.ByteModel(lm, tok, target="marginal", max_tv=0.9).start(b"")
    for byte in b"abab":
        state.next_byte()
        state.push(byte)
    strict = tl.bytelevel.ByteModel(lm, tok, target="marginal", max_tv=0.0)
    expected = twin.next_byte_marginal(b"abab", tokens, lm, [tok.vocab_size - 1])
    np.testing.assert_allclose(np.exp(strict.start(b"abab").next_byte()), np.exp(expected), atol=1e-12)
    assert 0 < state.certificate <= 0.9


def test_a_prompt_is_read_from_the_window_on() -> None:
    tok, tokens = toy(3)
    lm = law(tok.vocab_size, 2.0)
    prompt = b"ab ab ba ab"
    model = tl.bytelevel.ByteModel(lm, tok, target="marginal", max_tv=0.0, window=4)
    context = tok.encode_list(prompt[:7])
    assert tok.encode_list(prompt)[: len(context)] == context

    def behind(contexts: list[list[int]]) -> NDArray[np.float64]:
        return lm([[*context, *more] for more in contexts])

    expected = twin.next_byte_marginal(prompt[7:], tokens, behind, [tok.vocab_size - 1])
    np.testing.assert_allclose(np.exp(model.start(prompt).next_byte()), np.exp(expected), atol=1e-12)
    with pytest.raises(tl.errors.ParamsError, match="canonical"):
        model.heal(prompt)


@pytest.mark.parametrize("min_share", [0.05, 0.5])
def test_light_sequences_are_left_alone_and_counted(min_share: float) -> None:
    tok, _ = toy(1)
    calls = {0.0: 0, min_share: 0}
    lm = law(tok.vocab_size, 3.0)

    def counted(share: float) -> tl.bytelevel.ByteModel:
        def count(contexts: list[list[int]]) -> NDArray[np.float64]:
            calls[share] += len(contexts)
            return lm(contexts)

        return tl.bytelevel.ByteModel(count, tok, target="marginal", max_tv=0.0, min_share=share)

    a, b = counted(0.0).start(b""), counted(min_share).start(b"")
    for byte in b"ab aabab ab":
        distance = 0.5 * np.abs(np.exp(a.next_byte()) - np.exp(b.next_byte())).sum()
        assert distance <= b.certificate + 1e-12
        a.push(byte)
        b.push(byte)
    assert calls[min_share] < calls[0.0]


def test_what_is_left_is_woken_however_light() -> None:
    """The heavy token ends before the text does; the light one goes on."""
    ranks = {bytes([byte]): byte for byte in range(256)} | {b"ab": 256}
    tok = tl.Tokenizer.from_tiktoken("toy", pat_str=r"\s|\S+", mergeable_ranks=ranks, special_tokens={})

    def lm(contexts: list[list[int]]) -> NDArray[np.float64]:
        rows = np.full((len(contexts), 257), -np.inf)
        for row, context in zip(rows, contexts, strict=True):
            row[[256, 97] if not context else [98]] = np.log([0.99, 0.01]) if not context else 0.0
        return rows

    state = tl.bytelevel.ByteModel(lm, tok, target="marginal", max_tv=0.0, min_share=0.1).start(b"a")
    assert state.certificate == pytest.approx(0.01)
    assert np.exp(state.next_byte()[ord("b")]) == pytest.approx(1.0)
    for byte in b"bbb":
        state.push(byte)
        assert np.exp(state.next_byte()[ord("b")]) == pytest.approx(1.0)


def test_what_was_forgotten_long_ago_outweighs_nothing() -> None:
    """The mass of a text falls below all numbers; that of what was forgotten at its beginning does not."""
    tok, _ = toy(1)
    row = np.full((1, tok.vocab_size), -12.0)
    row[0, 97:99] = -9.0, -8.0

    def lm(contexts: list[list[int]]) -> NDArray[np.float64]:
        return np.repeat(row, len(contexts), axis=0)

    options = {"max_tv": 0.0, "min_share": 0.2}
    state = tl.bytelevel.ByteModel(lm, tok, target="marginal", **options).start(b"")
    for byte in b"ab" * 100:
        assert np.isfinite(state.next_byte()[97])
        state.push(byte)
