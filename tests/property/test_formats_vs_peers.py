"""Random small vocabularies: ids equal those of tiktoken and of tokenizers, also after saving."""

from __future__ import annotations

import json

import tiktoken
import tokenizers
import tokenloom as tl
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers

SETTINGS = settings(max_examples=150, deadline=None, derandomize=True)
TEXTS = st.text(alphabet="aab cé\n", max_size=24)
WORDS = st.lists(st.text(alphabet="aab c", min_size=2, max_size=5), unique=True, max_size=12)
PATTERNS = st.sampled_from([r"\s+|\S+", r"(?s:.+)", r" ?[abc]+", r"\S+|\s++$|\s"])


@SETTINGS
@given(words=WORDS, order=st.randoms(use_true_random=False), pattern=PATTERNS, texts=st.lists(TEXTS, max_size=8))
def test_rank_tables_equal_tiktoken(words: list[str], order: object, pattern: str, texts: list[str]) -> None:
    # Ranks in any order: a token may rank before its parts.
    ids = list(range(256 + len(words)))
    order.shuffle(ids)  # type: ignore[attr-defined]
    tokens = [bytes([byte]) for byte in range(256)] + [word.encode() for word in words]
    arguments = {
        "pat_str": pattern,
        "mergeable_ranks": dict(zip(tokens, ids, strict=True)),
        "special_tokens": {"<s>": 1000},
    }
    theirs = tiktoken.Encoding("random", **arguments)
    ours = tl.Tokenizer.from_tiktoken("random", **arguments)
    for text in texts:
        assert ours.encode(text).tolist() == theirs.encode(text, allowed_special="all")


@SETTINGS
@given(
    pairs=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), max_size=16),
    order=st.randoms(use_true_random=False),
    ignore_merges=st.booleans(),
    texts=st.lists(TEXTS, max_size=8),
)
def test_merge_lists_equal_tokenizers(
    pairs: list[tuple[int, int]], order: object, ignore_merges: bool, texts: list[str]
) -> None:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = list(alphabet)
    merges: list[tuple[str, str]] = []
    # Parts are drawn from a few letters and whatever was merged before, so that merges build on each other.
    letters = ["a", "b", "Ġ", "c", "a", "Ã", "©"]
    for left_draw, right_draw in pairs:
        pool = letters + tokens[len(alphabet) :]
        left, right = pool[left_draw % len(pool)], pool[right_draw % len(pool)]
        if (left, right) not in merges and len(left + right) <= 12:
            merges.append((left, right))
            if left + right not in tokens:
                tokens.append(left + right)
    # Any order of merges and ids is a legal file.
    order.shuffle(merges)  # type: ignore[attr-defined]
    order.shuffle(tokens)  # type: ignore[attr-defined]
    model = models.BPE({token: id for id, token in enumerate(tokens)}, merges, ignore_merges=ignore_merges)
    theirs = tokenizers.Tokenizer(model)
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    theirs.decoder = decoders.ByteLevel()
    theirs.add_special_tokens(["<s>"])
    ours = tl.Tokenizer.from_bytes(theirs.to_str().encode(), kind="tokenizer.json")
    saved = json.loads(tl.formats.write_tokenizer_json(ours._core.spec))
    assert saved["model"]["vocab"] == json.loads(theirs.to_str())["model"]["vocab"]
    assert [tuple(merge) for merge in saved["model"]["merges"]] == merges
    again = tokenizers.Tokenizer.from_str(json.dumps(saved))
    for text in [*texts, "<s>a<s>"]:
        want = theirs.encode(text)
        assert ours.encode(text).tolist() == want.ids == again.encode(text).ids
        assert ours.encode_with_offsets(text).char_offsets.tolist() == [list(span) for span in want.offsets]
        assert ours.decode(want.ids) == theirs.decode(want.ids, skip_special_tokens=False)
