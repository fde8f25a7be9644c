"""BPE over characters and Unigram pieces against their short twins."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenloom.compat.tokenizers import Tokenizer, models, pre_tokenizers, trainers
from tokenloom.reference import characters, unigram


def trained(words, kind, trainer):
    tokenizer = Tokenizer(getattr(models, kind)())
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.train_from_iterator((f"{word} " * count for word, count in words.items()), trainer)
    return tokenizer


words_of = st.dictionaries(st.text("ab#日", min_size=1, max_size=7), st.integers(1, 9), min_size=1, max_size=9)


@settings(max_examples=300, deadline=None)
@given(
    words=words_of,
    vocab_size=st.integers(0, 40),
    special=st.lists(st.sampled_from(["<s>", "a", "ab", "##a", "<s>"]), max_size=3),
    min_frequency=st.integers(0, 4),
    max_token_length=st.none() | st.integers(0, 5),
    initial=st.lists(st.sampled_from("abz"), max_size=2),
    limit=st.none() | st.integers(0, 4),
    prefix=st.sampled_from([None, "", "##", "a"]),
    suffix=st.sampled_from([None, "", "</w>", "b"]),
)
def test_bpe_over_characters(
    words, vocab_size, special, min_frequency, max_token_length, initial, limit, prefix, suffix
):
    if max_token_length is not None:
        # A symbol with a prefix may be spelled as two without: how long it is then depends on the place.
        prefix, suffix = None, None
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special,
        min_frequency=min_frequency,
        max_token_length=max_token_length,
        initial_alphabet=initial,
        limit_alphabet=limit,
        continuing_subword_prefix=prefix,
        end_of_word_suffix=suffix,
    )
    vocab, merges = trainer._merged(list(words.items()))
    tokens, expected = characters.train(
        words,
        vocab_size,
        special,
        min_frequency,
        max_token_length,
        initial,
        limit,
        prefix or "",
        suffix or "",
    )
    assert vocab == {token: id for id, token in enumerate(tokens)}
    assert merges == expected


@settings(max_examples=60, deadline=None)
@given(
    # Counts far apart, so that losses differ by more than the last bits.
    words=st.dictionaries(st.text("abcde", min_size=1, max_size=8), st.integers(1, 10**6), min_size=2, max_size=12),
    n_pieces=st.integers(0, 12),
    factor=st.sampled_from([0.5, 0.75, 0.9]),
    max_piece_length=st.integers(1, 9),
    unk_token=st.sampled_from([None, "<unk>", "<s>"]),
    n_sub_iterations=st.integers(1, 2),
)
def test_unigram(words, n_pieces, factor, max_piece_length, unk_token, n_sub_iterations):
    options = {
        "vocab_size": len(set().union(*words)) + 3 + n_pieces,
        "special_tokens": ["<s>"],
        "shrinking_factor": factor,
        "max_piece_length": max_piece_length,
        "unk_token": unk_token,
        "n_sub_iterations": n_sub_iterations,
    }
    expected = unigram.train(words, **options)
    trainer = trainers.UnigramTrainer(**options)
    found, unk_id = trainer._pieces(list(words.items()))
    assert dict(found) == pytest.approx(dict(expected), abs=1e-9)
    assert unk_id == (None if unk_token is None else 0)
    assert all(math.isfinite(score) for _, score in found)


def test_a_corpus_in_any_order_and_on_any_threads_gives_the_same():
    words = {"abcab": 3, "bca": 5, "cabb": 2, "ab": 9}
    files = [
        trained(dict(order), kind, trainer).to_str()
        for kind, trainer in (("BPE", trainers.BpeTrainer(continuing_subword_prefix="##")), ("Unigram", None))
        for order in (words.items(), reversed(words.items()))
    ]
    assert files[0] == files[1]
    assert files[2] == files[3]
