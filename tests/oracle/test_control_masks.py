"""Masks of grammars against asking about every token of large vocabularies; walks back and forth; whole documents."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import tokenloom as tl

REGEXES = [
    r"[0-9]{4}-(0[1-9]|1[0-2])-[0-9]{2}",
    r"(the|a) [a-z]{2,12}( and [a-z]+)*\.",
    r"\p{Lu}\w{0,20}(, \p{L}+){0,3}",
    r"(\"[^\"\\]{0,40}\"\s*)+",
]
GRAMMARS = [
    'start: expr\nexpr: term (("+" | "-") term)*\nterm: NUMBER | "(" expr ")"\nNUMBER: /[0-9]{1,4}/',
    'start: "<" NAME ">" start* "</" NAME ">" | /[^<>]{1,30}/\nNAME: /[a-z]{1,8}/',
    'start: stmt+\nstmt: NAME " = " (NAME | STRING) ";\\n"\nNAME: /[a-z_]+/\nSTRING: /"[^"\\n]*"/',
]


def sources(random_schema: Callable[[int], dict[str, Any]], n_schemas: int) -> list[tuple[str, Any]]:
    return [
        *(("json_schema", random_schema(seed)) for seed in range(n_schemas)),
        *(("regex", pattern) for pattern in REGEXES),
        *(("lark", grammar) for grammar in GRAMMARS),
    ]


def compiled(kind: str, source: Any, tok: tl.Tokenizer) -> tl.control.Constraint:
    constraint: tl.control.Constraint = getattr(tl.control, kind)(source, tok)
    return constraint


@pytest.fixture(scope="module")
def tok32k() -> tl.Tokenizer:
    """The bytes, 32,000 pieces of words, numbers and JSON, and runs of spaces longer than the engine's trie is deep."""
    random = np.random.default_rng(11)
    parts = [*'the and a qu er in Ab é ß 0 12 7 " ": { } [ ,'.split(), "\n", " "]
    pieces = {bytes([byte]): byte for byte in range(256)}
    for n in (400, 1000, 1024):
        pieces[b" " * n] = len(pieces)
    while len(pieces) < 32_256:
        piece = "".join(parts[at] for at in random.integers(0, len(parts), random.integers(1, 6))).encode()
        pieces.setdefault(piece[: random.integers(1, len(piece) + 1)], len(pieces))
    special = {"</s>": len(pieces), "<|x|>": len(pieces) + 1}
    return tl.Tokenizer.from_tiktoken(
        "pieces",
        pat_str=r"\S+|\s+",
        mergeable_ranks=pieces,
        special_tokens=special,
    )


def bits(words: Any, n_tokens: int) -> np.ndarray[Any, Any]:
    return np.unpackbits(words.view(np.uint8), bitorder="little", count=n_tokens).astype(np.bool_)


def step(random: np.random.Generator, allowed: np.ndarray[Any, Any], tok: tl.Tokenizer) -> int:
    """A token to go on with: often a short one, which keeps the text changing."""
    ids = np.flatnonzero(allowed)
    return int(min(random.choice(ids, 3), key=lambda id: len(tok.token_bytes(int(id)))))


def compare(tok: tl.Tokenizer, constraints: list[tl.control.Constraint], n_states: int, seed: int) -> None:
    """Every bit of the masks of ``n_states`` states along random texts."""
    random, n_done = np.random.default_rng(seed), 0
    every = np.arange(tok.vocab_size)
    while n_done < n_states:
        constraint = constraints[int(random.integers(len(constraints)))]
        state = constraint.start()
        n_skipped = int(random.integers(0, 4))
        for _ in range(16):
            allowed = bits(state.mask(), tok.vocab_size)
            if n_skipped == 0:
                fresh = constraint.start()
                for id in state.ids:
                    fresh.advance(int(id))
                np.testing.assert_array_equal(fresh.check_many(every), allowed)
                n_done, n_skipped = n_done + 1, int(random.integers(2, 5))
            n_skipped -= 1
            if not allowed.any() or n_done == n_states:
                break
            state.advance(step(random, allowed, tok))


def test_masks_equal_brute_force(tok32k: tl.Tokenizer, random_schema: Callable[[int], dict[str, Any]]) -> None:
    constraints = [compiled(kind, source, tok32k) for kind, source in sources(random_schema, 12)]
    compare(tok32k, constraints, 24, seed=1)


@pytest.mark.heavy
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ["llama-spm", "smollm2", "deepseek_v3", "qwen3", "gptoss", "gemma-4"])
def test_masks_equal_brute_force_on_published_vocabularies(
    name: str,
    asset: Callable[[str], Path],
    shared_data: Path | None,
    read_xz: Callable[[Path], bytes],
    random_schema: Callable[[int], dict[str, Any]],
) -> None:
    """Two hundred states each: 32,000 to 262,144 tokens."""
    if name == "smollm2":
        tok = tl.Tokenizer.from_file(next(asset(name).glob("*.gguf")))
    elif name in ("llama-spm", "gemma-4"):
        tok = tl.Tokenizer.from_file(asset("gguf-vocabs") / f"ggml-vocab-{name}.gguf")
    else:
        if shared_data is None:
            pytest.skip("the tokenizer files lie beside the checkout")
        tok = tl.Tokenizer.from_bytes(
            read_xz(shared_data / f"tokenizers/{name}.tokenizer.json.xz"), kind="tokenizer.json"
        )
    constraints = [compiled(kind, source, tok) for kind, source in sources(random_schema, 40)]
    compare(tok, constraints, 200, seed=2)


def test_back_and_forth_is_as_if_never_gone(
    tok32k: tl.Tokenizer, random_schema: Callable[[int], dict[str, Any]]
) -> None:
    """States that walk, go back, fork and look ahead say what a state says that walked straight there."""
    random = np.random.default_rng(4)
    for kind, source in sources(random_schema, 20):
        constraint = compiled(kind, source, tok32k)
        state = constraint.start()
        for _ in range(100):
            action = random.integers(0, 10)
            if action < 5:
                allowed = bits(state.mask(), tok32k.vocab_size)
                if allowed.any():
                    state.advance(step(random, allowed, tok32k))
            elif action < 8:
                state.rollback(int(random.integers(0, len(state.ids) + 1)))
            elif action == 8:
                state = state.fork()
            else:
                state.forced()
                state.check_many(random.integers(0, tok32k.vocab_size, 5))
        straight = constraint.start()
        for id in state.ids:
            straight.advance(int(id))
        assert state.prefix == straight.prefix
        assert state.is_accepting() == straight.is_accepting()
        assert state.forced().tolist() == straight.forced().tolist()
        np.testing.assert_array_equal(state.mask(), straight.mask())


def test_a_thousand_documents_are_valid(random_schema: Callable[[int], dict[str, Any]]) -> None:
    """Random texts of 250 random schemas, four of each, judged by jsonschema."""
    pieces = [b'{"', b'":', b'": ', b'",', b'"}', b"true", b"null", b"ab", b"-y", b"12", b', "', b"[1", b"}]", b"word"]
    ranks = {bytes([byte]): byte for byte in range(256)} | {piece: 256 + n for n, piece in enumerate(pieces)}
    end = len(ranks)
    tok = tl.Tokenizer.from_tiktoken("toy", pat_str=r"\S+|\s+", mergeable_ranks=ranks, special_tokens={"</s>": end})
    # ASCII, and few white spaces: they may go on for ever.
    plain = np.array([id > 256 or (33 <= id < 127) or id == 32 for id in range(end + 1)])
    random, n_valid = np.random.default_rng(6), 0
    for seed in range(250):
        schema = random_schema(seed)
        validator = jsonschema.Draft202012Validator(schema)
        constraint = tl.control.json_schema(schema, tok)
        for _ in range(4):
            state = constraint.start()
            for _ in range(400):
                allowed = bits(state.mask(), end + 1)
                ids = np.flatnonzero(allowed & plain if (allowed & plain).any() else allowed)
                id = end if allowed[end] else int(random.choice(ids))
                state.advance(id)
                if id == end:
                    break
            assert state.ids[-1] == end, state.prefix
            validator.validate(json.loads(state.prefix))
            n_valid += 1
    assert n_valid == 1000
