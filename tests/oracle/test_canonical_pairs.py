"""The canonical law of published vocabularies against the tokenizer itself: pairs of tokens, and covers."""

from __future__ import annotations

import base64
import itertools
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterator
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
GPT2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
FILES = {**RANKS, "gpt2": ("tiktoken", "r50k_base.tiktoken", GPT2)}


@pytest.fixture(scope="module")
def load(
    asset: Callable[[str], Path], test_data: Path, shared_data: Path | None, compose: ModuleType
) -> Callable[[str], tl.Tokenizer]:
    at = Sources(asset, test_data, shared_data, compose)

    def tokenizer(name: str) -> tl.Tokenizer:
        if name == "smollm2":
            return tl.Tokenizer.from_file(next(asset("smollm2").rglob("*.gguf")))
        if name == "llama2":
            return tl.Tokenizer.from_file(asset("gguf-vocabs") / "ggml-vocab-llama-spm.gguf")
        if name in FILES:
            folder, file, pattern = FILES[name]
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


BEHIND = ["", "a", "s", "ll", "e", "ing", "A", "!", ".", "/", "://", "...", "1", "12", "123", " ", "  ", " a", " A"]
BEHIND += [" 1", "\n", "\n\n", "\na", " \n", "\n ", "\t", "'s", "'", "(", "a b", " the", " of the"]
BEHIND += [
    "m",
    "t",
    "d",
    "D",
    "ve",
    "re",
    "Ve",
    "VE",
    "RE",
    "Re",
    "rE",
    "LL",
    "\u00e9",
    "\u4e2d",
    "\u0301",
    "\U0001f600",
]


def completions(text: bytes, crossing: list[bytes]) -> Iterator[bytes]:
    """What may follow the bytes of a text: each of ``BEHIND``, behind every end of a character that is begun.

    Tokens of ``crossing`` begin with the end of a character: such a one may take the bytes that would end this one.
    """
    try:
        text.decode()
    except UnicodeDecodeError as error:
        if error.reason != "unexpected end of data":
            return
        begun = text[error.start :]
        n_missing = 2 + (begun[0] >= 0xE0) + (begun[0] >= 0xF0) - len(begun)
        rest = [bytes(rest) for rest in itertools.product(range(0x80, 0xC0), repeat=min(n_missing, 2))]
        if n_missing == 3:
            # Of 262,144 some.
            rest = [bytes([first]) + more for first in range(0x80, 0xC0) for more in rest[:: 64 * 4 + 3]]
        for tail in rest:
            with suppress(UnicodeDecodeError):
                (text + tail).decode()
                yield tail
        for more in BEHIND[1:]:
            yield from (tail + more.encode() for tail in rest[:: max(1, len(rest) // 4)] if is_text(text + tail))
        for token in crossing:
            if is_text(text + token):
                yield token
                continue
            # It may begin another character; the ends of that are tried where one byte is missing.
            yield from (token + bytes([end]) for end in range(0x80, 0xC0) if is_text(text + token + bytes([end])))
        return
    yield from (more.encode() for more in BEHIND)


def is_text(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def covers_by_encoding(
    tok: tl.Tokenizer, tokens: list[tuple[bytes, int]], prompt: bytes, space: bytes, reads: Callable[[bytes], bool]
) -> set[tuple[int, ...]]:
    """The covers of a prompt: every token is tried behind every context, by encoding texts that go on.

    ``tokens`` is sorted. Candidates of one context are encoded together, a dozen continuations at a time.
    """
    crossing = [token for token, _ in tokens if len(token) > 1 and 0x80 <= token[0] < 0xC0]
    found: set[tuple[int, ...]] = set()
    contexts: list[tuple[int, ...]] = [()]
    while contexts:
        ids = contexts.pop()
        spelled = b"".join(tok.token_bytes(id) for id in ids)
        rest = (space + prompt)[len(spelled) :]
        if not rest:
            found.add(ids)
            continue
        first = bisect_left(tokens, (rest, -1))
        past = bisect_left(tokens, (rest[:-1] + bytes([rest[-1] + 1]), -1)) if rest[-1] < 255 else len(tokens)
        candidates = [one for one in tokens[first:past] if one[0].startswith(rest)]
        for n in range(1, len(rest)):
            at = bisect_left(tokens, (rest[:n], -1))
            while at < len(tokens) and tokens[at][0] == rest[:n]:
                candidates.append(tokens[at])
                at += 1
        left = {(*ids, id): (spelled + token, completions(spelled + token, crossing)) for token, id in candidates}
        while left:
            texts, of = [], []
            for cover, (text, more) in list(left.items()):
                tails = list(itertools.islice(more, 12))
                if not tails:
                    del left[cover]
                good = [text + tail for tail in tails if (text + tail).startswith(space) and reads(text + tail)]
                texts += [text[len(space) :] for text in good]
                of += [cover] * len(good)
            for cover, encoded in zip(of, tok.encode_batch(texts, allowed_special=()), strict=True):
                if cover in left and tuple(encoded[: len(cover)].tolist()) == cover:
                    del left[cover]
                    contexts.append(cover)
    return found


def prompts(seed: int, n: int, test_data: Path) -> Iterator[bytes]:
    """Starts of texts, also inside a character: cut out of a text in many scripts, and characters in a row."""
    random = np.random.default_rng(seed)
    text = (test_data / "multilingual.txt").read_text("utf-8")
    odd = "aesTx 019.,:/('\n\n  \t-_=\u00e9\u4e2d\u3042\u0915\u0301\U0001f600\U0001d538"
    for _ in range(n):
        if random.random() < 0.5:
            at = random.integers(len(text) - 8)
            prompt = text[at : at + random.integers(1, 6)].encode()
        else:
            prompt = "".join(random.choice(list(odd), random.integers(1, 6))).encode()
        n_last = len(prompt.decode()[-1].encode())
        yield prompt[: len(prompt) - random.integers(0, n_last)]


def check_covers(tok: tl.Tokenizer, texts: Iterator[bytes]) -> int:
    """The covers of each text are those that encoding finds; returns how many there were."""
    row = np.full((1, tok.vocab_size + 300), -np.log(tok.vocab_size))

    def lm(contexts: list[list[int]]) -> NDArray[np.float64]:
        return np.repeat(row, len(contexts), axis=0)

    law, model = CanonicalLaw(tok._core), tl.bytelevel.ByteModel(lm, tok)
    space, composes = inserted(law), any(caveat.startswith("NFC") for caveat in law.caveats)
    symbols = set(law.symbols.tolist())
    tokens = []
    for id in range(tok.vocab_size):
        if id not in symbols:
            with suppress(KeyError):
                tokens.append((tok.token_bytes(id), id))
    tokens.sort()

    def reads(text: bytes) -> bool:
        return is_read_as_it_is(text, composes, bool(space))

    n_covers = 0
    for prompt in texts:
        healed = model.heal(prompt)
        covers = {(*healed.ids.tolist(), *cover.tolist()) for cover in healed.tokens}
        # Composition and the space mark are excepted, on both sides.
        plain = {
            cover
            for cover in covers
            if reads(b"".join(tok.token_bytes(id) for id in cover).decode("utf-8", "ignore").encode())
        }
        n_covers += len(plain)
        assert plain == covers_by_encoding(tok, tokens, prompt, space, reads), prompt
        assert np.exp(healed.log_probs).sum() == pytest.approx(1)
    return n_covers


@pytest.mark.parametrize("name", ["gpt2", *EXACT])
def test_covers_are_found_by_encoding(load: Callable[[str], tl.Tokenizer], test_data: Path, name: str) -> None:
    assert check_covers(load(name), prompts(1, 6, test_data)) > 6


@pytest.mark.heavy
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", ["smollm2", "gpt2", *EXACT, *LONG])
def test_many_covers_are_found_by_encoding(load: Callable[[str], tl.Tokenizer], test_data: Path, name: str) -> None:
    n_covers = check_covers(load(name), prompts(2, 200, test_data))
    print(f"{name}: {n_covers} covers of 200 prompts")


def test_a_mask_is_what_checking_every_token_finds(load: Callable[[str], tl.Tokenizer]) -> None:
    tok = load("smollm2")
    state = tl.control.canonical(tok).start()
    for id in tok.encode_list("The cat's 12\n\n  hat")[:-1]:
        allowed = state.check_many(np.arange(tok.vocab_size))
        for probe in np.random.default_rng(id).choice(tok.vocab_size, 300).tolist():
            assert allowed[probe] == state.check(probe)
        assert allowed[id]
        state.advance(id)
