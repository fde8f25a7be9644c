"""Do the files of joined and refined tokenizers give the same ids in Hugging Face ``tokenizers``?"""

from __future__ import annotations

import random
from math import log2
from pathlib import Path

import piece_models
import tokenloom as tl
from tokenizers import Tokenizer as HfTokenizer
from tokenizers import normalizers, pre_tokenizers, trainers
from tokenizers.implementations import ByteLevelBPETokenizer
from tokenloom._core.exactness import encode_piece

MULTILINGUAL = (Path(__file__).parents[1] / "data" / "multilingual.txt").read_text(encoding="utf-8")


def assert_reached(both: tl.lexica.Union, second: tl.Tokenizer) -> None:
    for id, ours in enumerate(both.ids.tolist()):
        if ours >= 0 and both.tokenizer.token_bytes(ours).decode(errors="replace") not in second.special_tokens:
            found = encode_piece(both.tokenizer._core, second.token_bytes(id))
            assert found == [ours] or second.token_bytes(id) != both.tokenizer.token_bytes(ours)


def test_union_of_byte_level_files(tmp_path: Path) -> None:
    lines = MULTILINGUAL.splitlines()
    one = tl.train.bpe(lines[::2], 600, tl.patterns.GPT2, special_tokens=["<s>"], progress=False)
    two = tl.train.bpe(lines[1::2], 700, special_tokens=["<pad>", "<s>"], progress=False)
    ranks = {two.token_bytes(id): id for id in range(2, two.vocab_size)}
    ranked = tl.Tokenizer.from_tiktoken(
        "x", pat_str=tl.patterns.CL100K, mergeable_ranks=ranks, special_tokens={"<x>": 900}
    )
    for first, second in [(one, two), (two, one), (one, ranked), (ranked, one)]:
        both = tl.lexica.union(first, second)
        assert_reached(both, second)
        both.tokenizer.save(tmp_path / "both.json")
        theirs = HfTokenizer.from_file(str(tmp_path / "both.json"))
        again = tl.Tokenizer.from_file(tmp_path / "both.json")
        for text in [*lines, MULTILINGUAL, "a<s>b<pad> <x>", "   aaaa  é\n"]:
            ids = both.tokenizer.encode_list(text)
            assert ids == again.encode_list(text)
            assert ids == theirs.encode(text, add_special_tokens=False).ids
            assert both.tokenizer.decode(ids) == text
            assert len(ids) <= len(first.encode(text)) or first is ranked


def test_union_of_models_that_start_from_characters(tmp_path: Path) -> None:
    rng = random.Random(5)
    for _ in range(6):
        files = [piece_models.piece_model(rng, is_plain=True) for _ in range(2)]
        first, second = (tl.Tokenizer.from_bytes(file, "sentencepiece") for file in files)
        if not (first.is_compiled and second.is_compiled):
            continue
        try:
            both = tl.lexica.union(first, second)
        except tl.errors.TrainError as error:
            assert "spelled like a token of the first" in str(error)  # noqa: PT017
            continue
        assert_reached(both, second)
        both.tokenizer.save(tmp_path / "both.json")
        theirs = HfTokenizer.from_file(str(tmp_path / "both.json"))
        for line in piece_models.LINES[:9]:
            assert both.tokenizer.encode_list(line) == theirs.encode(line, add_special_tokens=False).ids


def test_characters_are_those_of_the_published_script(tmp_path: Path) -> None:
    """Its steps, with the alphabet of the bytes where the script takes the characters of their numbers."""
    lines = [line.replace("<|", "<") for line in MULTILINGUAL.splitlines(keepends=True)]
    special = list(tl.lexica.KL3M_SPECIAL_TOKENS)
    for size, max_chars in [(512, 3), (1024, 2), (400, 4)]:
        theirs = ByteLevelBPETokenizer()
        theirs.normalizer = normalizers.Sequence([normalizers.NFKC()])
        theirs.add_special_tokens(special)
        trainer = trainers.BpeTrainer(
            vocab_size=size - len(special),
            min_frequency=2,
            show_progress=False,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            max_token_length=max_chars + 1,
        )
        theirs._tokenizer.train_from_iterator(lines, trainer=trainer)
        n_tokens = theirs.get_vocab_size()
        n_pads = 2 ** (int(log2(n_tokens)) + 1) - n_tokens
        theirs.add_tokens([space * n for n in range(2, n_pads + 2) for space in (" ", "\n")][:n_pads])
        ours = tl.lexica.characters(lines, size, max_chars, min_frequency=2, progress=False)
        assert ours.vocab_size == theirs.get_vocab_size()
        ours.save(tmp_path / "ours.json")
        again = HfTokenizer.from_file(str(tmp_path / "ours.json"))
        for text in [*lines, MULTILINGUAL, "ﬁne   ①\n\n\n x<|end|>  y"]:
            expected = theirs.encode(text).ids
            assert ours.encode_list(text) == expected
            assert again.encode(text).ids == expected


def test_a_picky_file(tmp_path: Path) -> None:
    """The stock file gives the ids before removed tokens are split."""
    found = tl.lexica.picky([MULTILINGUAL], 700, 0.6, progress=False)
    found.tokenizer.save(tmp_path / "picky.json")
    theirs = HfTokenizer.from_file(str(tmp_path / "picky.json"))
    n_split = 0
    for text in MULTILINGUAL.splitlines():
        ids = theirs.encode(text).ids
        assert ids == found.tokenizer.encode_list(text)
        assert theirs.decode(found.split(ids).tolist()) == text == theirs.decode(found.encode(text).tolist())
        n_split += max(ids, default=0) >= found.n_kept
    assert n_split
