"""Does the compiled trainer give what the readable twin gives, for every option?"""

from __future__ import annotations

import io
import itertools
import random
import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import tokenloom as tl
from tokenloom._core import train as core
from tokenloom._training import StageFields, Start, Veto
from tokenloom.reference import train as twin

STAGE1 = [r" ?[a-z]+| ?[0-9]+| ?[^\sa-z0-9]+|\s+(?!\S)|\s+", r"[ab]+", r"\S+", r"[^z]+"]
STAGE2 = r"[0-9]{1,3}| ?[^\sa-z0-9]{2,}| +(?!\S)"


def random_documents(rng: random.Random) -> list[str]:
    alphabet = rng.choice(["ab ", "abc :,\n", "ab 01.: ", "a", "éeб "])
    return ["".join(rng.choices(alphabet, k=rng.randrange(50))) for _ in range(rng.randrange(6))]


def random_rules(rng: random.Random) -> dict[str, Any]:
    return {"min_frequency": rng.choice([0, 0, 2, 3]), "max_token_length": rng.choice([None, None, 0, 3, 5])}


def random_start(rng: random.Random) -> dict[str, Any]:
    seeds = rng.choice([[], [], [(b"a", b"b")], [(b"a", b" "), (b"a ", b"a")], [(b"b", b"a"), (b"a", b"ba")]])
    start = {
        "special_tokens": rng.choice([[], ["<s>"], ["<s>", "x y"]]),
        "initial_alphabet": rng.choice([bytes(range(256)), b"", b"xa"]),
        "limit_alphabet": rng.choice([None, None, 2, 4]),
        "seed_merges": seeds,
    }
    return start if not seeds else start | {"initial_alphabet": bytes(range(256)), "limit_alphabet": None}


def random_veto(rng: random.Random) -> Veto:
    return Veto(
        max_words=rng.choice([None, None, 1, 2]),
        forbidden=rng.choice([(), (": ",), ("b", ", ")]),
        max_bytes=rng.choice([None, None, 3, 7]),
        max_chars=rng.choice([None, None, 2, 5]),
        whole_characters=rng.random() < 0.3,
        one_script=rng.random() < 0.3,
    )


def refusal(veto: Veto) -> Callable[[bytes], bool]:
    def is_refused(token: bytes) -> bool:
        text = token.decode(errors="replace")
        is_part = "\ufffd" in text and (len(text) > 1 or len(token) > 3) and not _is_one_part(token)
        scripts = {"б" <= c <= "я" for c in text if c.isalpha()}
        n_chars = sum(byte & 0xC0 != 0x80 for byte in token) + (token[0] & 0xC0 == 0x80)
        return (
            (veto.max_words is not None and len(token.split(b" ")) - token.split(b" ").count(b"") > veto.max_words)
            or any(part in token for part in veto.forbidden)
            or (veto.max_bytes is not None and len(token) > veto.max_bytes)
            or (veto.max_chars is not None and n_chars > veto.max_chars)
            or (veto.whole_characters and is_part)
            or (veto.one_script and len(scripts) > 1)
        )

    return is_refused


def _is_one_part(token: bytes) -> bool:
    """A piece of one character: no byte but the first starts one, and no character is whole."""
    return all(byte & 0xC0 == 0x80 for byte in token[1:]) and not token.decode(errors="ignore")


def count(documents: list[str], patterns: list[str], rng: random.Random, weight: int = 1) -> list[core.WordCounts]:
    counter = core.WordCounter([[pattern] for pattern in patterns], None, False, rng.randrange(1, 4))
    middle = len(documents) // 2
    counter.add(list(documents[:middle]), weight)
    counter.add([document.encode() for document in documents[middle:]], weight)
    counts = counter.finish()
    if rng.random() < 0.5:
        counts = [core.WordCounts.from_bytes(words.to_bytes()) for words in counts]
    return counts


def assert_equal(found: core.Trained, expected: twin.Trained, *context: object) -> None:
    assert found.merges == expected.merges, context
    # A special token is a token of the model only if a merge makes its string.
    tokens = [(id, token) for id, token in enumerate(expected.tokens) if token is not None]
    assert found.tokens == tokens, context


class Limited:
    """The same training within little memory: other passes, the same merges, or an error that says what was needed."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.n_equal = self.n_refused = 0

    def check(self, expected: core.Trained, train: Callable[[tuple[int, int]], core.Trained]) -> None:
        n_bytes = self.rng.choice([0, 300, 600, 1_200, 2_500])
        try:
            found = train((1, n_bytes))
        except tl.errors.TrainError as error:
            if "merging needs at least" not in str(error):
                raise
            self.n_refused += 1
            return
        assert (found.merges, found.tokens) == (expected.merges, expected.tokens), n_bytes
        self.n_equal += 1


@pytest.mark.parametrize("block", range(2))
def test_bpe(block: int) -> None:
    seed = 100 + block
    print(f"seed {seed}")
    rng = random.Random(seed)
    limited = Limited(random.Random(seed))
    for _ in range(1_000):
        documents, rules, start, veto = random_documents(rng), random_rules(rng), random_start(rng), random_veto(rng)
        pattern, weight = rng.choice(STAGE1), rng.choice([1, 3])
        words = count(documents, [pattern], rng, weight)
        n_first = 256 + len(start["special_tokens"]) + len(start["seed_merges"])
        vocab_size = n_first + rng.randrange(40)
        fields = StageFields(vocab_size, *rules.values(), veto)
        train = partial(core.run_stages, Start(**start), [(words[0], fields)], [], progress=None, save=None)
        found = train((1, None))
        limited.check(found, train)
        counted = twin.count_words(documents, pattern, [weight] * len(documents))
        stage = twin.Stage(counted, vocab_size, *rules.values(), refusal(veto))
        assert_equal(found, twin.train([stage], **start), documents, fields, start)
    assert min(limited.n_equal, limited.n_refused) > 50


@pytest.mark.parametrize("block", range(2))
def test_superbpe(block: int) -> None:
    seed = 200 + block
    print(f"seed {seed}")
    rng = random.Random(seed)
    limited = Limited(random.Random(seed))
    n_dropped = n_super = 0
    for _ in range(1_000):
        documents, rules, start = random_documents(rng), random_rules(rng), random_start(rng)
        pattern, cut_short = rng.choice(STAGE1), rng.choice([None, None, 3])
        n_first = 256 + len(start["special_tokens"]) + len(start["seed_merges"])
        vocab_size = n_first + rng.randrange(40)
        transition = rng.randrange(n_first, vocab_size + 1)
        vetoes = [rng.choice([Veto(), Veto(max_bytes=5)]), Veto(rng.randrange(1, 5), rng.choice([(": ",), (), ("a",)]))]
        counts = count(documents, [pattern, STAGE2], rng)
        fields = [StageFields(transition, *rules.values(), vetoes[0])]
        fields.append(StageFields(vocab_size, *rules.values(), vetoes[1], cut_short, drops_unused=rng.random() < 0.8))
        stages = list(zip(counts, fields, strict=True))
        train = partial(core.run_stages, Start(**start), stages, [], progress=None, save=None)
        found = train((rng.randrange(1, 4), None))
        limited.check(found, train)
        words, chunks = (twin.count_words(documents, cut) for cut in (pattern, STAGE2))
        first = twin.Stage(words, transition, *rules.values(), refusal(vetoes[0]))
        drops = (fields[1].drops_unused, cut_short)
        second = twin.Stage(chunks, vocab_size, *rules.values(), refusal(vetoes[1]), *drops)
        expected = twin.train([first, second], **start)
        assert_equal(found, expected, documents, fields, start)
        alone = twin.train([first], **start)
        n_dropped += alone.merges != found.merges[: len(alone.merges)]
        n_super += any(b" " in (token or b"").strip() for token in expected.tokens)
    assert n_dropped > 20, "merges of stage 1 that stage 2 does not use must occur"
    assert n_super > 50
    assert min(limited.n_equal, limited.n_refused) > 50


def test_superbpe_as_published() -> None:
    """Units are lines, only bytes that occur have ids, and the last of the first merges is not inherited."""
    seed = 500
    print(f"seed {seed}")
    rng = random.Random(seed)
    for _ in range(300):
        documents = ["".join(rng.choices("ab :,1\n", k=rng.randrange(60))) for _ in range(rng.randrange(1, 6))]
        lines = [line for document in documents for line in io.StringIO(document, newline="\n")]
        cuts = (rng.choice(STAGE1), STAGE2)
        n_first = len({byte for line in lines for byte in line.encode()})
        n_merges, vocab_size = rng.randrange(1, 15), n_first + rng.randrange(30)
        if vocab_size < n_first + n_merges:
            continue
        found = tl.train.superbpe(
            documents, vocab_size, n_merges, pattern=cuts[0], stage2_pattern=cuts[1], compat="superbpe", progress=False
        )
        words, chunks = (twin.count_words(lines, cut) for cut in cuts)
        first = twin.Stage(words, n_first + n_merges)
        across = refusal(Veto(max_words=4, forbidden=(": ",)))
        second = twin.Stage(chunks, vocab_size, 0, None, across, drops_unused=True, max_inherited=n_merges - 1)
        expected = twin.train([first, second], initial_alphabet=b"")
        assert [found.token_bytes(id) for id in range(found.vocab_size)] == expected.tokens, (documents, n_merges)


def test_a_bound_that_was_guessed_too_high() -> None:
    rng = random.Random(600)
    for size in (2, 9, 40):
        # Frequent words that are refused, then rare ones that are not.
        words = [("bbbb", 500), ("abab", 400), ("cbcb", 300)]
        words += [("".join(rng.choices("cdef", k=6)), rng.randrange(1, 5)) for _ in range(60)]
        counter = core.WordCounter([None], None, False, 1)
        for word, weight in words:
            counter.add([word], weight)
        veto = Veto(forbidden=["b"])
        fields = StageFields(256 + size, 2, None, veto)
        found = core.run_stages(Start(), [(counter.finish()[0], fields)], [], (1, None), None, None)
        counted: Counter[bytes] = Counter()
        for word, weight in words:
            counted[word.encode()] += weight
        assert_equal(found, twin.train([twin.Stage(counted, 256 + size, 2, None, refusal(veto))]), size)


def runs_of(documents: list[str], pattern: str) -> Counter[tuple[bytes, ...]]:
    runs: Counter[tuple[bytes, ...]] = Counter()
    for document in documents:
        run: list[bytes] = []
        for part in [part for part in re.split(f"({pattern})", document) if part] + ["."]:
            if any(map(str.isalpha, part)):
                run.append(part.encode())
            else:
                runs[tuple(run)] += len(run) > 1
                run = []
    return runs


def test_boundless() -> None:
    seed = 400
    print(f"seed {seed}")
    rng = random.Random(seed)
    limited = Limited(random.Random(seed))
    n_super = 0
    for _ in range(1_000):
        alphabet = rng.choice(["ab ", "abc  :,\n", "ab 01.: ", "éeб "])
        documents = ["".join(rng.choices(alphabet, k=rng.randrange(80))) for _ in range(rng.randrange(6))]
        rules, veto, pattern = random_rules(rng), random_veto(rng), rng.choice(STAGE1)
        special = rng.choice([[], ["<s>"]])
        n_first = 256 + len(special)
        vocab_size = n_first + rng.randrange(40)
        transition = rng.choice([None, "auto", rng.randrange(n_first, vocab_size + 1)])
        counter = core.WordCounter([[pattern]], None, True, rng.randrange(1, 4))
        counter.add(list(documents), 1)
        words, runs = counter.finish()
        fields = StageFields(vocab_size, *rules.values(), veto)
        order = -1 if transition == "auto" else transition
        train = partial(core.run_boundless, Start(special), (words, runs), fields, order, [], progress=None, save=None)
        found = train((1, None))
        limited.check(found, train)
        stage = twin.Stage(twin.count_words(documents, pattern), vocab_size, *rules.values(), refusal(veto))
        expected = twin.boundless(stage, runs_of(documents, pattern), transition, special)
        assert_equal(found, expected, documents, fields, transition, pattern)
        n_super += any(b" " in (token or b"").strip() for token in expected.tokens)
    assert n_super > 20
    assert min(limited.n_equal, limited.n_refused) > 50


def test_extending_a_tokenizer() -> None:
    seed = 300
    print(f"seed {seed}")
    rng = random.Random(seed)
    n_old = 0
    for _ in range(500):
        older, newer = random_documents(rng), random_documents(rng)
        base = tl.train.bpe(older, 257 + rng.randrange(20), rng.choice(STAGE1), special_tokens=["<s>"], progress=False)
        ranks = {base.token_bytes(id): id for id in range(1, base.vocab_size)}
        whole: dict[bytes, int] = {}
        if rng.random() < 0.5:
            # Tokens that no merges make: their strings come back to their ids, and whole words are looked up.
            for token in (b"".join(rng.choices([b"a", b"b", b" "], k=rng.randrange(2, 5))) for _ in range(6)):
                ranks.setdefault(token, len(ranks) + 1)
            whole = ranks
            base = tl.Tokenizer.from_tiktoken("x", pat_str=r"\S+", mergeable_ranks=ranks, special_tokens={"<s>": 0})
            newer *= rng.choice([1, 7, 30])
        pattern, rules, veto = rng.choice(STAGE1), random_rules(rng), random_veto(rng)
        vocab_size = base.vocab_size + rng.randrange(20)
        found = tl.train.bpe(
            newer, vocab_size, pattern, resume=base, veto=veto, progress=False, threads=rng.randrange(1, 4), **rules
        )
        tokens = [None, *(base.token_bytes(id) for id in range(1, base.vocab_size))]
        stage = twin.Stage(twin.count_words(newer, pattern), vocab_size, *rules.values(), refusal(veto))
        expected = twin.extend(tokens, partial(encode_word, ranks, whole), stage)
        assert [found.token_bytes(id) for id in range(1, found.vocab_size)] == expected.tokens[1:], (older, newer)
        assert found.special_tokens == {"<s>": 0}
        n_old += found.vocab_size > base.vocab_size
    assert n_old > 50


def encode_word(ranks: dict[bytes, int], whole: dict[bytes, int], word: bytes) -> list[int]:
    """The ids of a word as the merges make them, whatever the tokenizer's own pattern would cut."""
    if word in whole:
        return [whole[word]]
    parts = [bytes([byte]) for byte in word]
    while True:
        pairs = [(ranks.get(a + b, 1 << 60), i) for i, (a, b) in enumerate(itertools.pairwise(parts))]
        rank, at = min(pairs, default=(1 << 60, 0))
        if rank == 1 << 60:
            return [ranks[part] for part in parts]
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
