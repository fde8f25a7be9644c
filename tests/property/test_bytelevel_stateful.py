"""Push, pop and fork leave no trace: every state says what a fresh one at the same bytes says, to 1e-12.

Under both targets, over tokenizers of every kind: split patterns with look-ahead, added tokens, tokens across words,
``ignore_merges``, and characters with byte fallback behind a space that is put before the text.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import tokenloom as tl
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, rule
from numpy.typing import NDArray
from tokenloom.bytelevel import ByteModel, ByteState
from tokenloom.errors import DistributionError, ParamsError

BYTES = {bytes([byte]): byte for byte in range(256)}
MARK = "\u2581"


def ranked(pattern: str, *joined: bytes) -> tl.Tokenizer:
    ranks = BYTES | {token: 256 + at for at, token in enumerate(joined)}
    added = {"<end>": len(ranks), "<sep>": len(ranks) + 1}
    return tl.Tokenizer.from_tiktoken("toy", pat_str=pattern, mergeable_ranks=ranks, special_tokens=added)


def from_file(model: dict[str, Any], **parts: Any) -> tl.Tokenizer:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    end = {"id": len(model["vocab"]), "content": "<end>"} | flags
    empty = dict.fromkeys(("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder"))
    options = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None}
    options |= {"end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False}
    content = {"version": "1.0", "added_tokens": [end], **empty, **parts, "model": options | model}
    return tl.Tokenizer.from_bytes(json.dumps(content).encode(), kind="tokenizer.json")


def without_merges() -> tl.Tokenizer:
    """ "abab" is a token that no merge makes: only a whole pretoken becomes it."""
    characters = {chr(byte): byte - 33 for byte in range(33, 127)} | {"\u0120": 94, "\u010a": 95}
    vocab = characters | {"ab": 96, "\u0120a": 97, "abab": 98}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    model = {"vocab": vocab, "merges": ["a b", "\u0120 a"], "ignore_merges": True}
    return from_file(model, pre_tokenizer=level, decoder=level)


def with_fallback() -> tl.Tokenizer:
    merges = [(MARK, "a"), ("a", "b"), (f"{MARK}a", "b"), ("b", "\u00e9"), (MARK, MARK)]
    pieces = [*(f"<0x{byte:02X}>" for byte in range(256)), MARK, "a", "\u00e9", "b", *(a + b for a, b in merges)]
    model = {
        "vocab": {piece: id for id, piece in enumerate(pieces)},
        "merges": [f"{a} {b}" for a, b in merges],
        "byte_fallback": True,
        "fuse_unk": True,
    }
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": MARK}
    normalizer = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": MARK}, replace]}
    back = {"type": "Replace", "pattern": {"String": MARK}, "content": " "}
    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    decoder = {"type": "Sequence", "decoders": [back, {"type": "ByteFallback"}, {"type": "Fuse"}, strip]}
    return from_file(model, normalizer=normalizer, decoder=decoder)


TOKENIZERS = {
    "look-ahead": ranked(tl.patterns.GPT2, b"ab", b" a", b"aba", b"\n\n"),
    "case": ranked(tl.patterns.O200K, b"ab", b" a", b"\n\n", b"\xc3\xa9"),
    "superwords": ranked(r"[^\n]+|\n", b"ab", b"b ", b"ab a", b" \xc3"),
    "ignore_merges": without_merges(),
    "fallback": with_fallback(),
}


def law(n_ids: int) -> Any:
    def lm(contexts: list[list[int]]) -> NDArray[np.float64]:
        rows = np.stack([np.random.default_rng([*context, 9]).normal(size=n_ids) for context in contexts])
        normed: NDArray[np.float64] = rows - np.logaddexp.reduce(rows, axis=1, keepdims=True)
        return normed

    return lm


# What enumeration of all spellings costs grows with every byte.
TARGETS = {"canonical": ({}, 40), "marginal": ({"max_tv": 0.0, "max_heads": 1 << 16, "window": 10**6}, 7)}
MODELS = {
    (kind, target): ByteModel(law(tok.vocab_size), tok, target=target, **options)  # type: ignore[arg-type]
    for kind, tok in TOKENIZERS.items()
    for target, (options, _) in TARGETS.items()
}
PROMPTS = [b"", b"a", b"ab ", b"\n", b"ab<end>", b"a<sep>b"]
Place = tuple[tuple[str, str], bytes, bytearray, ByteState]


class Walk(RuleBasedStateMachine):
    states = Bundle("states")

    @rule(target=states, name=st.sampled_from(sorted(MODELS)), prompt=st.sampled_from(PROMPTS))
    def begin(self, name: tuple[str, str], prompt: bytes) -> Place:
        try:
            return name, prompt, bytearray(), MODELS[name].start(prompt)
        except DistributionError:  # this tokenizer has no such text
            return name, b"", bytearray(), MODELS[name].start(b"")

    @rule(state=states, text=st.lists(st.sampled_from(b"ab \n\xc3\xa9"), max_size=24), look=st.booleans())
    def push(self, state: Place, text: list[int], look: bool) -> None:
        name, _, pushed, byte_state = state
        for byte in text[: max(0, TARGETS[name[1]][1] - len(pushed))]:
            if look:
                byte_state.next_byte()
            try:
                byte_state.push(byte)
            except DistributionError:
                continue
            pushed.append(byte)

    @rule(state=states, n=st.integers(0, 30))
    def pop(self, state: Place, n: int) -> None:
        _, _, pushed, byte_state = state
        try:
            byte_state.pop(n)
        except ParamsError:
            assert n > len(pushed)
            return
        del pushed[len(pushed) - n :]

    @rule(target=states, state=states)
    def fork(self, state: Place) -> Place:
        name, prompt, pushed, byte_state = state
        return name, prompt, pushed.copy(), byte_state.fork()

    @rule(state=states)
    def compare(self, state: Place) -> None:
        name, prompt, pushed, byte_state = state
        fresh = MODELS[name].start(prompt)
        for byte in pushed:
            fresh.push(byte)
        np.testing.assert_allclose(np.exp(byte_state.next_byte()), np.exp(fresh.next_byte()), atol=1e-12)
        assert byte_state.certificate == 0.0


TestWalk = Walk.TestCase
TestWalk.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
