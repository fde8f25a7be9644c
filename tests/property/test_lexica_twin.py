"""Do the compiled lexica give what their readable twins give?"""

from __future__ import annotations

import json
import random

import tokenloom as tl
from tokenloom._core.exactness import encode_piece
from tokenloom._core.formats import write_tokenizer_json
from tokenloom.reference import lexica as twin
from tokenloom.reference import train as train_twin
from tokenloom.reference.less_is_better import LessIsBetter, ends

PATTERN = r" ?[a-z]+| ?[0-9]+| ?[^\sa-z0-9]+|\s+"
MARKS = set(b".,!?;:()-\"'\\/`$%&*+<=>@[]^_{|}~")


def may_join(tok: tl.Tokenizer, boundary: str, left: bytes, right: bytes) -> bool:
    """The published rule, on bytes."""
    if any(token.decode(errors="replace") in tok.special_tokens for token in (left, right)):
        return False
    joined = left + right
    if set(joined[1:]) & set(b" \n\t") and (joined == b"\n\n" or not set(joined) <= set(b" \n\t")):
        return False
    try:
        text = joined.decode()
    except UnicodeDecodeError:
        return True
    if boundary == "sentences":
        return True
    if boundary == "pretokens":
        return len(tl.segment.segment([text], "pretokens", tokenizer=tok).words()) == 1
    base = {tok.token_bytes(id) for id in range(tok.vocab_size)}

    def is_punctuation(token: bytes) -> bool:
        return token in base and bool(set(token) & MARKS) and not set(token) & set(b"0123456789")

    if boundary == "hyphen-words" and not is_punctuation(left) and is_punctuation(right) and right != b"-":
        return False
    return len(text.split()) == 1


def test_dynamic() -> None:
    seed = 700
    print(f"seed {seed}")
    rng = random.Random(seed)
    n_new = 0
    for _ in range(250):
        alphabet = rng.choice(["ab ", "ab-.1 \n", "abc é,\t", "a"])
        texts = ["".join(rng.choices(alphabet, k=rng.randrange(40))) for _ in range(rng.randrange(5))]
        other = ["".join(rng.choices(alphabet, k=30))]
        tok = tl.train.bpe(other, 257 + rng.randrange(8), PATTERN, special_tokens=["<s>"], progress=False)
        if rng.random() < 0.3:
            texts = [f"{text}<s>{text}" for text in texts]
        boundary = rng.choice(["pretokens", "words", "hyphen-words", "sentences"])
        n_merges = rng.choice([0, 1, 3, 10, 1000])
        base = tok.encode_batch(texts)
        found = tl.lexica.dynamic(texts if rng.random() < 0.5 else base, tok, n_merges, boundary=boundary)
        tokens = found.tokens()
        sequences = [[tok.token_bytes(int(id)) for id in ids] for ids in base]
        expected = twin.dynamic(
            sequences,
            n_merges,
            lambda left, right: may_join(tok, boundary, left, right),  # noqa: B023
        )
        assert [[tokens[id] for id in ids] for ids in found.ids] == expected, (texts, boundary, n_merges)
        assert len(set(tokens)) == len(tokens)
        first_seen = list(dict.fromkeys(token for sequence in expected for token in sequence))
        assert tokens == first_seen
        for local, (id, token) in enumerate(zip(found.base_ids.tolist(), tokens, strict=True)):
            spelled = found.surface[local, : found.surface_lengths[local]].tolist()
            assert id == -1 or (tok.token_bytes(id) == token and spelled == [id])
            assert len(spelled) == 16 or tok.decode_bytes(spelled) == token
            assert not found.surface[local, found.surface_lengths[local] :].any()
        pooled: dict[int, bytes] = {}
        for id, place in zip(base.values.tolist(), found.segments.tolist(), strict=True):
            pooled[place] = pooled.get(place, b"") + tok.token_bytes(id)
        assert list(pooled.values()) == [tokens[id] for id in found.ids.values]
        assert found.n_tokens[-1] == len(found.ids.values)
        assert found.n_tokens[0] == len(base.values)
        n_new += (found.base_ids < 0).any()
    assert n_new > 60


def merges_of(tok: tl.Tokenizer) -> dict[tuple[bytes, bytes], int]:
    """By the parts of each merge, its place in the saved file."""
    model = json.loads(write_tokenizer_json(tok._core.spec))["model"]
    spelled = {text: tok.token_bytes(id) for text, id in model["vocab"].items()}
    return {(spelled[left], spelled[right]): rank for rank, (left, right) in enumerate(model["merges"])}


def test_union() -> None:
    seed = 800
    print(f"seed {seed}")
    rng = random.Random(seed)
    n_bridges = 0
    for _ in range(300):
        texts = [["".join(rng.choices("abc ", k=rng.randrange(80)))] for _ in range(2)]
        special = [rng.choice([[], ["<s>"], ["<s>", "ab x"]]) for _ in range(2)]
        patterns = rng.choices([r"[^c]+", PATTERN], k=2)
        one, two = (
            tl.train.bpe(text, 256 + len(names) + rng.randrange(25), pattern, special_tokens=names, progress=False)
            for text, names, pattern in zip(texts, special, patterns, strict=True)
        )
        found = tl.lexica.union(one, two)
        ranks, new, bridges = twin.union(merges_of(one), merges_of(two))
        both = found.tokenizer
        assert merges_of(both) == ranks
        tokens = [both.token_bytes(id) for id in range(one.vocab_size, both.vocab_size)]
        more = [name.encode() for name in special[1] if name not in special[0]]
        assert tokens == [*new, *bridges, *more]
        assert found.n_bridges == len(bridges)
        for id in range(one.vocab_size):
            assert both.token_bytes(id) == one.token_bytes(id)
        for id, ours in enumerate(found.ids.tolist()):
            assert both.token_bytes(ours) == two.token_bytes(id)
            if two.token_bytes(id).decode(errors="replace") not in two.special_tokens:
                assert encode_piece(both._core, two.token_bytes(id)) == [ours]
        n_bridges += len(bridges)
    assert n_bridges > 100


def test_the_union_with_an_extension_is_the_extension() -> None:
    for seed in range(100):
        rng = random.Random(seed)
        texts = ["".join(rng.choices("abc ", k=60)) for _ in range(2)]
        base = tl.train.bpe(texts[:1], 262, special_tokens=["<s>"], progress=False)
        more = tl.train.bpe(texts[1:], base.vocab_size + 8, resume=base, progress=False)
        both = tl.lexica.union(base, more)
        assert both.ids.tolist() == list(range(more.vocab_size))
        assert write_tokenizer_json(both.tokenizer._core.spec) == write_tokenizer_json(more._core.spec)
        same = tl.lexica.union(more, base)
        assert write_tokenizer_json(same.tokenizer._core.spec) == write_tokenizer_json(more._core.spec)


def test_picky() -> None:
    seed = 900
    print(f"seed {seed}")
    rng = random.Random(seed)
    n_removed = n_back = n_other = 0
    for _ in range(400):
        alphabet = rng.choice(["ab ", "abc ", "abcd", "a"])
        text = " ".join("".join(rng.choices(alphabet, k=rng.randrange(12))) for _ in range(rng.randrange(12)))
        special = rng.choice([[], ["<s>"], ["<s>", "ab"]])
        vocab_size, threshold = 256 + len(special) + rng.randrange(20), rng.choice([0.3, 0.5, 0.6, 0.9, 1])
        rarest = rng.choice([0, 2])
        options = {"special_tokens": special, "min_frequency": rarest, "progress": False}
        found = tl.lexica.picky([text], vocab_size, threshold, PATTERN, **options)
        words = train_twin.count_words([text], PATTERN)
        first = [*(name.encode() for name in special), *(bytes([byte]) for byte in train_twin.byte_order())]
        left, removed, events = twin.picky(words, vocab_size, threshold, first, rarest)
        tok = found.tokenizer
        assert found.n_kept == len(left)
        assert [tok.token_bytes(id) for id in range(tok.vocab_size)] == left + removed, (text, threshold)
        rows = [row.tolist() for row in found.events]
        spelled = [
            ([tok.token_bytes(row[1])], [tok.token_bytes(id) for id in row[2:]])
            if row[0]
            else ([tok.token_bytes(row[1]), tok.token_bytes(row[2])], [tok.token_bytes(row[3])])
            for row in rows
        ]
        assert spelled == events
        other = " ".join("".join(rng.choices(alphabet, k=rng.randrange(12))) for _ in range(9))
        for given in (text, other):
            if any(name in given for name in special):
                continue
            cut = tl.segment.segment([given], "pretokens", tokenizer=tok).words()
            expected = [token for word in cut for token in twin.replay(word, left, events)]
            ids = found.encode(given)
            assert [tok.token_bytes(int(id)) for id in ids] == expected, (text, given)
            assert (ids < found.n_kept).all()
            split = found.split(tok.encode(given))
            assert tok.decode(split) == given
            assert (split < found.n_kept).all()
            n_other += ids.tolist() != split.tolist()
        if threshold == 1:
            same = tl.train.bpe([text], vocab_size, PATTERN, **options)
            assert write_tokenizer_json(same._core.spec) == write_tokenizer_json(tok._core.spec)
        n_removed += bool(removed)
        merged = [tuple(after) for before, after in events if len(before) == 2]
        n_back += len(set(merged)) < len(merged)
    assert n_removed > 50
    assert n_back > 10


def test_less_is_better() -> None:
    seed = 1000
    print(f"seed {seed}")
    rng = random.Random(seed)
    n_long = 0
    for case in range(150):
        words = ["".join(rng.choices("abcé", k=rng.randrange(1, 5))) for _ in range(5)]
        documents = [
            ["".join(rng.choices(words, k=rng.randrange(9))) for _ in range(rng.randrange(4))] for _ in range(4)
        ]
        options = {
            "life": rng.choice([1, 2, 10]),
            "max_chars": rng.choice([3, 6, 12]),
            "memory_in": rng.choice([0.25, 1.0]),
            "memory_out": rng.choice([0.0001, 0.1, 1.0]),
            "update_rate": rng.choice([0.2, 0.9]),
            "max_gap": rng.choice([0, 2]),
        }
        texts = ["\n".join(document) for document in documents]
        found = tl.lexica.less_is_better(texts, 40, seed=case, progress=False, **options)
        reader = LessIsBetter(lambda epoch, draw: tl.Rng(case, epoch).uniform(draw), **options)  # noqa: B023
        lines = [[line for line in text.split("\n") if line] for text in texts]
        reader.train([document for document in lines if document], 40)
        assert list(found.chunks) == reader.lexicon, (texts, options)
        for text in [*texts, "xé" + "".join(words)]:
            assert found.segment(text) == ends(reader.lexicon, text, options["max_chars"])
        n_long += any(len(chunk) > 2 for chunk in found.chunks)
    assert n_long > 20
