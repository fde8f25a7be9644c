"""The canonical law of published vocabularies against the tokenizer itself: pairs of tokens, and covers."""

from __future__ import annotations

import base64
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import tokenloom as tl
from numpy.typing import NDArray
from published import RANKS, TOKENIZER_JSON, Sources
from tokenloom._core.bytelevel import CanonicalLaw

EXACT = ["gptoss", "mistral_v1"]
LONG = ["qwen3", "deepseek_v4", "llama3", "llama4", "qwen", "qwen3_6", "deepseek_v3", "mistral_v7", "gemma", "llama2"]
LONG += ["superbpe_200k", "superbpe_baseline"]
GGUF = {"gpt2": "gpt-2", "llama2": "llama-spm"}


@pytest.fixture(scope="module")
def load(
    asset: Callable[[str], Path], test_data: Path, shared_data: Path | None, compose: ModuleType
) -> Callable[[str], tl.Tokenizer]:
    at = Sources(asset, test_data, shared_data, compose)

    def tokenizer(name: str) -> tl.Tokenizer:
        if name == "smollm2":
            return tl.Tokenizer.from_file(next(asset("smollm2").rglob("*.gguf")))
        if name in GGUF:
            return tl.Tokenizer.from_file(asset("gguf-vocabs") / f"ggml-vocab-{GGUF[name]}.gguf")
        if name in RANKS:
            folder, file, pattern = RANKS[name]
            lines = (asset(folder) / file).read_bytes().splitlines()
            ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in lines if line)}
            return tl.Tokenizer.from_tiktoken(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
        return tl.Tokenizer.from_bytes(TOKENIZER_JSON[name](at), kind="tokenizer.json")

    return tokenizer


def disagreements(tok: tl.Tokenizer, n_pairs: int, seed: int) -> tuple[int, list[tuple[int, int]]]:
    """Of so many random adjacent pairs that are text: how many are canonical, and on which the law is wrong.

    Half the pairs are drawn at random; in the other half both tokens are cut out of a longer one, so that some merge
    may join them.
    """
    law = CanonicalLaw(tok._core)
    symbols = set(law.symbols.tolist())
    bytes_of = {}
    for id in range(tok.vocab_size):
        if id not in symbols:
            with suppress(KeyError):
                bytes_of[id] = tok.token_bytes(id)
    by_bytes = {token: id for id, token in bytes_of.items()}
    plain = np.array(sorted(bytes_of))
    long = [token for token in by_bytes if len(token) > 2]
    random = np.random.default_rng(seed)
    n_canonical, n_left, wrong = 0, n_pairs, []
    space, composes = inserted(law), any(caveat.startswith("NFC") for caveat in law.caveats)
    while n_left:
        pairs, texts = [], []
        for left, right, cut in zip(*random.choice(plain, (2, 50_000)).tolist(), random.random(50_000), strict=True):
            if cut < 0.5:
                token = long[random.integers(len(long))]
                n = 1 + int(cut * 2 * (len(token) - 1))
                left, right = by_bytes.get(token[:n], left), by_bytes.get(token[n:], right)
            text = bytes_of[left] + bytes_of[right]
            if text.startswith(space) and text != space and is_read_as_it_is(text, composes, bool(space)):
                pairs.append((left, right))
                texts.append(text[len(space) :])
        del pairs[n_left:], texts[n_left:]
        n_left -= len(pairs)
        for pair, ids in zip(pairs, tok.encode_batch(texts, allowed_special=()), strict=True):
            expected = len(ids) == 2 and tuple(ids.tolist()) == pair
            n_canonical += expected
            if law.is_encoding(list(pair)) != expected:
                wrong.append(pair)
    return n_canonical, wrong


def is_read_as_it_is(text: bytes, composes: bool, marks: bool) -> bool:
    """Whether the bytes are text, and none of what the caveats except: composition and the space mark change some."""
    try:
        decoded = text.decode()
    except UnicodeDecodeError:
        return False
    is_composed = not composes or unicodedata.normalize("NFC", decoded) == decoded
    return is_composed and not (marks and "\u2581" in decoded)


def inserted(law: CanonicalLaw) -> bytes:
    """What the tokenizer puts before a text."""
    return b" " if any("put before a text" in caveat for caveat in law.caveats) else b""


@pytest.mark.parametrize("name", ["smollm2", "gpt2", *EXACT])
def test_pairs(load: Callable[[str], tl.Tokenizer], name: str) -> None:
    n_canonical, wrong = disagreements(load(name), 2000, seed=1)
    assert not wrong
    assert 0 < n_canonical < 2000


@pytest.mark.heavy
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", ["smollm2", "gpt2", *EXACT, *LONG])
def test_a_million_pairs(load: Callable[[str], tl.Tokenizer], name: str) -> None:
    n_canonical, wrong = disagreements(load(name), 1_000_000, seed=2)
    print(f"{name}: {n_canonical} of 1000000 pairs are canonical, {len(wrong)} wrong")
    assert not wrong


def covers_by_encoding(tok: tl.Tokenizer, law: CanonicalLaw, prompt: bytes) -> set[tuple[int, ...]]:
    """The encodings of texts that start with the prompt, cut behind the prompt: an inner bound of the covers."""
    found = set()
    tails = [
        b"",
        b"a",
        b"s",
        b" ",
        b" a",
        b"\n",
        b"\na",
        b"!",
        b"1",
        b"e",
        b"ing",
        b"er",
        b"://",
        b"'s",
        b"...",
        b"\n\n",
    ]
    for tail in [*tails, *(bytes([one, two]) for one in b"aetn s.(" for two in b"aetn s.(")]:
        ids, length = tok.encode_list(prompt + tail, allowed_special=()), -len(inserted(law))
        for n, id in enumerate(ids):
            length += len(tok.token_bytes(id))
            if length >= len(prompt):
                found.add(tuple(ids[: n + 1]))
                break
    return found


@pytest.mark.parametrize("name", ["gpt2", *EXACT, *(pytest.param(name, marks=pytest.mark.heavy) for name in LONG)])
def test_covers_hold_the_encodings_of_longer_texts(load: Callable[[str], tl.Tokenizer], name: str) -> None:
    tok = load(name)
    row = np.full((1, tok.vocab_size + 300), -np.log(tok.vocab_size))

    def lm(contexts: list[list[int]]) -> NDArray[np.float64]:
        return np.repeat(row, len(contexts), axis=0)

    model = tl.bytelevel.ByteModel(lm, tok)
    law = CanonicalLaw(tok._core)
    space = inserted(law)
    for prompt in [b"The qui", b"it'", b"a\n", b"x  ", b"12", b"foo(b", b"http:", b"of the"]:
        healed = model.heal(prompt)
        covers = {(*healed.ids.tolist(), *cover.tolist()) for cover in healed.tokens}
        assert covers >= covers_by_encoding(tok, law, prompt)
        for cover in covers:
            text = b"".join(tok.token_bytes(id) for id in cover)
            assert text.startswith(space + prompt)
        assert np.exp(healed.log_probs).sum() == pytest.approx(1)


def test_a_mask_is_what_checking_every_token_finds(load: Callable[[str], tl.Tokenizer]) -> None:
    tok = load("smollm2")
    state = tl.control.canonical(tok).start()
    for id in tok.encode_list("The cat's 12\n\n  hat")[:-1]:
        allowed = state.check_many(np.arange(tok.vocab_size))
        for probe in np.random.default_rng(id).choice(tok.vocab_size, 300).tolist():
            assert allowed[probe] == state.check(probe)
        assert allowed[id]
        state.advance(id)
