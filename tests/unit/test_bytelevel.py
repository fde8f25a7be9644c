"""Byte models: the interface, the refusals, and a tokenizer with special tokens in the prompt."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import pytest
import tokenloom as tl
from numpy.typing import NDArray
from tokenloom.errors import ArrayError, DistributionError, ParamsError, UnsupportedFeatureError

RANKS = {bytes([byte]): byte for byte in range(256)} | {b" a": 256, b"ab": 257, b" ab": 258, b"\n\n": 259, b"abc": 260}
SPECIAL = {"<end>": 261, "<sep>": 262}
V = 263
GPT2 = tl.patterns.GPT2


def lm(contexts: list[list[int]]) -> NDArray[np.float64]:
    """A law that depends on the whole context and on nothing else."""
    logits = np.stack([np.random.default_rng([*context, 5]).normal(size=V) for context in contexts])
    normed: NDArray[np.float64] = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return normed


@pytest.fixture(scope="module")
def tok() -> tl.Tokenizer:
    return tl.Tokenizer.from_tiktoken("toy", pat_str=GPT2, mergeable_ranks=RANKS, special_tokens=SPECIAL)


@pytest.fixture(scope="module")
def model(tok: tl.Tokenizer) -> tl.bytelevel.ByteModel:
    return tl.bytelevel.ByteModel(lm, tok)


def test_the_chain_rule_adds_up_to_the_score(model: tl.bytelevel.ByteModel) -> None:
    text = "ab abc\n\nab \u00e9a  b".encode()
    state = model.start(b"")
    total = 0.0
    for byte in text:
        log_probs = state.next_byte()
        assert log_probs.shape == (257,)
        assert abs(np.logaddexp.reduce(log_probs)) < 1e-12
        assert 0 <= state.leaked < 1
        total += log_probs[byte] + np.log1p(-state.leaked)
        state.push(byte)
    assert model.score(text) == pytest.approx(total, abs=1e-10)
    assert model.score(b"") == 0.0


def test_forks_go_their_own_way_and_share_answers(tok: tl.Tokenizer) -> None:
    asked: list[list[int]] = []

    def counting(contexts: list[list[int]]) -> NDArray[np.float64]:
        asked.extend(contexts)
        return lm(contexts)

    model = tl.bytelevel.ByteModel(counting, tok)
    state = model.start(b"ab a")
    before = state.next_byte()
    n_asked = len(asked)
    assert len({tuple(context) for context in asked}) == n_asked
    fork = state.fork()
    fork.push(ord("b"))
    after = fork.next_byte()
    np.testing.assert_array_equal(state.next_byte(), before)
    np.testing.assert_allclose(model.start(b"ab ab").next_byte(), after, atol=1e-12)
    assert not np.array_equal(before, after)
    state.next_byte()
    assert len(asked) - n_asked <= 2 + 6


def test_a_healed_prompt_has_the_law_of_its_covers(model: tl.bytelevel.ByteModel, tok: tl.Tokenizer) -> None:
    for prompt in [b"ab a", b"ab ", b"a", b"ab\n", b"x ab", "ab \u00e9".encode()[:-1]]:
        healed = model.heal(prompt)
        assert np.exp(healed.log_probs).sum() == pytest.approx(1, abs=1e-12)
        assert len(healed.tokens) == len(healed.log_probs)
        mass = []
        for tokens in healed.tokens:
            cover = [*healed.ids.tolist(), *tokens.tolist()]
            assert tok.decode_bytes(cover).startswith(prompt)
            assert not tok.decode_bytes(cover[:-1]).startswith(prompt)
            mass.append(sum(lm([cover[:n]])[0, id] for n, id in enumerate(cover)))
        np.testing.assert_allclose(healed.log_probs, mass - np.logaddexp.reduce(mass), atol=1e-12)
        assert model.score(prompt) == pytest.approx(np.logaddexp.reduce(mass), abs=1e-12)


def test_special_tokens_in_the_prompt_are_symbols(model: tl.bytelevel.ByteModel) -> None:
    healed = model.heal(b"ab<sep>ab")
    assert healed.ids.tolist()[:2] == [257, 262]
    plain = model.start(b"ab<sep>")
    for byte in b"ab":
        plain.push(byte)
    np.testing.assert_allclose(plain.next_byte(), model.start(b"ab<sep>ab").next_byte(), atol=1e-12)
    end = model.start(b"ab<sep>").next_byte()[256]
    row = lm([[257, 262]])[0]
    allowed = row[[*range(128), *range(0xC2, 0xF5), 256, 257, 258, 259, 260, 261, 262]]
    assert end == pytest.approx(np.logaddexp.reduce(row[[261, 262]]) - np.logaddexp.reduce(allowed), abs=1e-12)


def test_bytes_that_are_no_text_are_impossible(model: tl.bytelevel.ByteModel) -> None:
    state = model.start("\u00e9".encode()[:1])
    log_probs = state.next_byte()
    assert np.isneginf(np.delete(log_probs, np.arange(0x80, 0xC0))).all()
    before = state.next_byte()
    with pytest.raises(DistributionError, match="byte 2"):
        state.push(ord("a"))
    np.testing.assert_array_equal(state.next_byte(), before)
    with pytest.raises(DistributionError):
        model.start(b"a\xff")


def test_a_byte_that_no_token_has_is_impossible_before_the_model_is_asked() -> None:
    """A marginal state that had not asked yet took any byte, and failed at the next question instead."""
    vocab = {chr(byte): byte - 33 for byte in range(33, 127)} | {"\u0120": 94}
    content = {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
    }
    tok = tl.Tokenizer.from_bytes(json.dumps(content).encode(), kind="tokenizer.json")
    for target in ("canonical", "marginal"):
        state = tl.bytelevel.ByteModel(lm, tok, target=target).start(b"")  # type: ignore[arg-type]
        for _ in range(2):
            with pytest.raises(DistributionError, match="byte 1"):
                state.push(0xC3)
            state.next_byte()
        state.push(ord("a"))
        with pytest.raises(DistributionError, match="byte 2"):
            state.push(0xC3)


def test_answers_of_the_wrong_shape_or_value_are_refused(tok: tl.Tokenizer) -> None:
    def start(rows: Any) -> tl.bytelevel.ByteState:
        return tl.bytelevel.ByteModel(lambda contexts: rows(len(contexts)), tok).start(b"ab a")

    with pytest.raises(ArrayError, match="rows"):
        start(lambda n: np.zeros((n + 1, V))).next_byte()
    with pytest.raises(ArrayError, match="263 ids"):
        start(lambda n: np.zeros((n, V - 1))).next_byte()
    with pytest.raises(DistributionError, match="NaN for token 7"):
        start(lambda n: np.where(np.arange(V) == 7, np.nan, -5.0) * np.ones((n, 1))).next_byte()
    with pytest.raises(DistributionError, match="probability zero"):
        start(lambda n: np.full((n, V), -np.inf)).next_byte()
    wide = start(lambda n: np.full((n, V + 9), -np.log(V + 9), dtype=np.float32))
    assert abs(np.logaddexp.reduce(wide.next_byte())) < 1e-12
    with pytest.raises(KeyError, match="mine"):
        tl.bytelevel.ByteModel(lambda contexts: {}["mine"], tok).start(b"a").next_byte()
    with pytest.raises(TypeError, match="bytes"):
        tl.bytelevel.ByteModel(lm, tok).start("text")  # type: ignore[arg-type]


def test_tokenizers_outside_the_exact_class_are_refused(tok: tl.Tokenizer) -> None:
    behind = tl.Tokenizer.from_tiktoken("x", pat_str=r"(?<=a)b|.", mergeable_ranks=RANKS, special_tokens={})
    with pytest.raises(UnsupportedFeatureError, match="look-behind"):
        tl.bytelevel.ByteModel(lm, behind)
    with pytest.raises(ParamsError, match="something"):
        tl.bytelevel.ByteModel(lm, tok, target="something")  # type: ignore[arg-type]
    with pytest.raises(ParamsError, match="max_tv"):
        tl.bytelevel.ByteModel(lm, tok, target="marginal", max_tv=1.0)


def test_models_pickle(tok: tl.Tokenizer) -> None:
    model = tl.bytelevel.ByteModel(lm, tok)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.start(b"ab ").next_byte(), model.start(b"ab ").next_byte())


def test_vocabularies_without_tokens() -> None:
    end = {"id": 0, "content": "<end>", "special": True}
    end |= dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    content = {"version": "1.0", "added_tokens": [end], "pre_tokenizer": level, "decoder": level}
    content["model"] = {"type": "BPE", "vocab": {}, "merges": []}
    nothing = tl.Tokenizer.from_bytes(json.dumps(content).encode(), kind="tokenizer.json")
    for target in ("canonical", "marginal"):
        model = tl.bytelevel.ByteModel(lambda contexts: np.zeros((len(contexts), 1)), nothing, target=target)  # type: ignore[arg-type]
        state = model.start(b"")
        np.testing.assert_array_equal(np.flatnonzero(np.isfinite(state.next_byte())), [256])
        with pytest.raises(DistributionError):
            state.push(ord("a"))
        with pytest.raises(DistributionError):
            model.start(b"a").next_byte()


def test_many_bytes_are_taken_back(tok: tl.Tokenizer) -> None:
    for target in ("canonical", "marginal"):
        model = tl.bytelevel.ByteModel(lm, tok, target=target, max_tv=1e-3, window=100)  # type: ignore[arg-type]
        state = model.start(b"ab ")
        before = state.next_byte()
        for byte in b"abc ab a abc ab a ab\n\nab":
            state.push(byte)
        state.pop(24)
        np.testing.assert_allclose(state.next_byte(), before, atol=1e-12 if target == "canonical" else 5e-3)
        with pytest.raises(ParamsError):
            state.pop()
