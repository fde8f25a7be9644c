"""Covers under a real tokenizer are those that encoding texts finds; fill-in-the-middle marks are in real files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tokenloom as tl
from numpy.typing import NDArray
from tokenloom.reference import bytelevel as twin

CONTINUATIONS = [b"", b"a", b"s", b"ll", b"!", b"1", b" ", b"\n", b" a", b"\na", b" \n", b"'s", b"\x80", b"\xa0\x80"]
# The rest of a character, common and rare: the vocabulary joins the bytes of common ones.
CONTINUATIONS += [bytes([byte]) for byte in range(0x80, 0xC0)]
CONTINUATIONS += [bytes([one, two]) for one in (0x80, 0x90, 0x9F, 0xA0, 0xBE) for two in (0x83, 0xA9, 0xBF)]
CONTINUATIONS += [b"\x80\x80\x80", b"\x90\x80\x80", b"\x9f\x98\x80", b"\x9d\x94\xb8"]
CONTINUATIONS += [c.encode() for c in "\u0780\u2183\ua000\U0001d538\U00010330"]
PROMPTS = [b"The qui", b"it'", b"a\n", b"x  ", b"12", b"foo(b", "caf\u00e9".encode()[:-1], b"\n\n ", b"http:"]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_covers_are_found_by_encoding(asset: Callable[[str], Path], prompt: bytes) -> None:
    tok = tl.Tokenizer.from_file(next(asset("smollm2").rglob("*.gguf")))
    special = set(tok.special_tokens.values())
    tokens = {id: tok.token_bytes(id) for id in range(tok.vocab_size) if id not in special}
    row = np.full((1, tok.vocab_size), -np.log(tok.vocab_size))

    def lm(contexts: list[list[int]]) -> NDArray[np.float64]:
        return np.repeat(row, len(contexts), axis=0)

    healed = tl.bytelevel.ByteModel(lm, tok).heal(prompt)
    found = {(*healed.ids.tolist(), *cover.tolist()) for cover in healed.tokens}
    assert found == set(twin.covers(prompt, tok.encode_list, tokens, CONTINUATIONS))


def check_marks(format: str, file: Path, added: dict[str, int]) -> None:
    tok = tl.Tokenizer.from_file(file)
    context = tl.bytelevel.fim_context(tok, b"def f(", b"return 1", format)
    ids = added or tok.special_tokens
    marks = [ids[mark] for mark in tl.bytelevel.FIM_FORMATS[format]]
    assert [id for id in context if id in marks] == marks
    assert (context[0], context[-1]) == (marks[0], marks[2])
    state = tl.bytelevel.ByteModel(lambda contexts: np.zeros((len(contexts), 1 << 18)), tok).start(b"", context)
    assert np.exp(state.next_byte()).sum() == pytest.approx(1)


def test_the_marks_of_a_format_are_tokens_of_a_published_file(asset: Callable[[str], Path]) -> None:
    path = asset("tiktoken") / "deepseek_v3.tokenizer.json"
    added = {token["content"]: token["id"] for token in json.loads(path.read_text("utf-8"))["added_tokens"]}
    check_marks("deepseek-coder", path, added)


@pytest.mark.heavy
def test_the_marks_of_starcoder_are_its_special_tokens(asset: Callable[[str], Path]) -> None:
    check_marks("starcoder", asset("gguf-vocabs") / "ggml-vocab-starcoder.gguf", {})
