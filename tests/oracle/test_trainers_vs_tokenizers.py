"""The trainers of `tokenloom.compat.tokenizers` against those of `tokenizers`.

Where the peer's answer depends on the order of a hash table, what it did is read from its ids and given to the twin.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import tokenizers as peer
from tokenloom import errors
from tokenloom.compat import tokenizers as ours
from tokenloom.reference import characters as twin
from trained_files import CORPUS

DATA = Path(__file__).parents[1] / "data"
MULTILINGUAL = (DATA / "multilingual.txt").read_text(encoding="utf-8").split("\n")
ENGLISH = (DATA / "spec_bench_56.jsonl").read_text(encoding="utf-8").split("\n")
LETTERS = [chr(0x4E00 + n) for n in range(300)]


def words_of(tokenizer: Any, texts: list[str]) -> Counter[str]:
    return Counter(word for words in tokenizer._words(texts) for word in words)


def model_of(tokenizer: Any) -> dict[str, Any]:
    model: dict[str, Any] = json.loads(tokenizer.to_str())["model"]
    return model


@pytest.mark.parametrize(
    "options",
    [
        {"initial_alphabet": peer.pre_tokenizers.ByteLevel.alphabet()},
        {},
        {"min_frequency": 2},
        {"initial_alphabet": ["a", "Ġ"], "vocab_size": 30},
    ],
)
@pytest.mark.parametrize("cut", ["ByteLevel", "Whitespace"])
def test_training_gives_the_merges_of_the_peer(options, cut):
    corpus = [text for text in CORPUS if cut == "ByteLevel" or text.isascii()]
    files = []
    for library in (peer, ours):
        tokenizer = library.Tokenizer(library.models.BPE(unk_token="[UNK]"))
        tokenizer.pre_tokenizer = getattr(library.pre_tokenizers, cut)()
        special = ["[UNK]", library.AddedToken("<s>", lstrip=True)]
        settings = {"vocab_size": 350, "special_tokens": special, "show_progress": False} | options
        tokenizer.train_from_iterator([corpus[:2], *corpus[2:]], library.trainers.BpeTrainer(**settings), length=9)
        files.append(json.loads(tokenizer.to_str()))
    assert files[1] == files[0]


@pytest.mark.parametrize("initial", [[], ["z"]])
@pytest.mark.parametrize("limit", [1, 4, 9, 16, 100])
def test_training_on_a_limited_alphabet(limit, initial):
    # Each character has a count of its own: among equals the peer keeps any.
    letters = "etaoinshrdlu日本語é"
    corpus = [(letters[at] + " ") * (at + 1) ** 2 + letters[: at + 1][::-1] for at in range(len(letters))] * 3
    files = []
    for library in (peer, ours):
        tokenizer = library.Tokenizer(library.models.BPE())
        tokenizer.pre_tokenizer = library.pre_tokenizers.WhitespaceSplit()
        settings = {"vocab_size": 60, "limit_alphabet": limit, "initial_alphabet": initial, "show_progress": False}
        tokenizer.train_from_iterator(corpus, library.trainers.BpeTrainer(**settings))
        files.append(json.loads(tokenizer.to_str()))
    assert files[1] == files[0]


def test_training_gives_the_words_of_the_peer():
    files = []
    for library in (peer, ours):
        tokenizer = library.Tokenizer(library.models.WordLevel(unk_token="[UNK]"))
        tokenizer.normalizer = library.normalizers.Lowercase()
        tokenizer.pre_tokenizer = library.pre_tokenizers.Whitespace()
        trainer = library.trainers.WordLevelTrainer(vocab_size=25, special_tokens=["[UNK]", "x"], show_progress=False)
        tokenizer.train_from_iterator(iter(CORPUS), trainer)
        files.append(json.loads(tokenizer.to_str()))
    assert files[1] == files[0]


def test_training_on_files_reads_lines(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_bytes("\r\n".join(CORPUS).encode())
    files = []
    for library in (peer, ours):
        tokenizer = library.Tokenizer(library.models.BPE())
        tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.train([str(path)], library.trainers.BpeTrainer(vocab_size=300, show_progress=False))
        files.append(json.loads(tokenizer.to_str()))
    assert files[1] == files[0]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"max_token_length": 3},
        {"special_tokens": ["<s>", "a", "<s>", "th", "e"]},
        {"limit_alphabet": 200, "initial_alphabet": ["ß", "long"], "min_frequency": 2},
    ],
)
def test_characters_of_any_number(options):
    draw = [LETTERS[n * n % 300] + LETTERS[n % 7] + LETTERS[n % 11] for n in range(900)]
    files = []
    for library in (peer, ours):
        tokenizer = library.Tokenizer(library.models.BPE())
        tokenizer.pre_tokenizer = library.pre_tokenizers.Whitespace()
        trainer = library.trainers.BpeTrainer(vocab_size=700, show_progress=False, **options)
        tokenizer.train_from_iterator([*MULTILINGUAL, " ".join(draw)], trainer)
        files.append(json.loads(tokenizer.to_str()))
    assert files[0]["model"]["merges"]
    if "limit_alphabet" not in options:
        assert files[1] == files[0]
    else:
        # Which of equally rare characters stays is left to chance there, and with it some rare pairs.
        theirs, mine = ({token for token in file["model"]["vocab"] if len(token) == 1} for file in files)
        assert len(mine) == len(theirs) == 200


AFFIXES = [("##", None), (None, "</w>"), ("@", "</w>"), ("##", "")]


@pytest.mark.parametrize("kind", ["BPE", "WordPiece"])
@pytest.mark.parametrize(("prefix", "suffix"), AFFIXES)
def test_prefixes_and_suffixes_in_the_order_that_the_peer_had(kind, prefix, suffix):
    affixes = {"continuing_subword_prefix": prefix, "end_of_word_suffix": suffix}
    special = ["[UNK]", "[CLS]"]
    options: dict[str, Any] = {"vocab_size": 420, "special_tokens": special, "show_progress": False}
    options |= {name: text for name, text in affixes.items() if text is not None}
    if kind == "WordPiece" and prefix is None:
        options["continuing_subword_prefix"], prefix = "##", "##"
    models = []
    for library in (peer, ours):
        tokenizer = library.Tokenizer(getattr(library.models, kind)(unk_token="[UNK]"))
        tokenizer.normalizer = library.normalizers.Lowercase()
        tokenizer.pre_tokenizer = library.pre_tokenizers.BertPreTokenizer()
        trainer = library.trainers.BpeTrainer if kind == "BPE" else library.trainers.WordPieceTrainer
        tokenizer.train_from_iterator(MULTILINGUAL, trainer(**options))
        models.append(model_of(tokenizer))
    theirs, mine = models
    assert {key: value for key, value in mine.items() if key not in ("vocab", "merges")} == {
        key: value for key, value in theirs.items() if key not in ("vocab", "merges")
    }
    words = words_of(tokenizer, MULTILINGUAL)
    alphabet = sorted(set().union(*words))
    first, _ = twin.symbols(dict(words), [*special, *alphabet], [], prefix or "", suffix or "")
    vocab = sorted(theirs["vocab"], key=theirs["vocab"].__getitem__)
    assert set(vocab[: len(first)]) == set(first)
    for found, order in ((theirs, vocab[len(special) + len(alphabet) : len(first)]), (mine, [])):
        affixed = {"prefix": prefix or "", "suffix": suffix or ""}
        tokens, merges = twin.train(words, 420, special, **affixed, first=order)
        assert found["vocab"] == {token: id for id, token in enumerate(tokens)}
        assert kind == "WordPiece" or [tuple(merge) for merge in found["merges"]] == merges


@pytest.mark.parametrize(
    "options",
    [
        {"vocab_size": 300, "unk_token": "<unk>", "special_tokens": ["<s>", "</s>"]},
        {"vocab_size": 600, "special_tokens": ["<s>", "<unk>"], "unk_token": "<unk>", "initial_alphabet": ["ß", "λ"]},
        {"vocab_size": 260, "shrinking_factor": 0.5, "max_piece_length": 5, "n_sub_iterations": 1},
        {"vocab_size": 400, "seed_size": 900},
    ],
)
def test_unigram_pieces_are_those_of_the_peer(options):
    models, scores = [], []
    for library in (peer, ours):
        tokenizer = library.Tokenizer(library.models.Unigram())
        tokenizer.normalizer = library.normalizers.NFKC()
        tokenizer.pre_tokenizer = library.pre_tokenizers.Metaspace()
        tokenizer.train_from_iterator(ENGLISH, library.trainers.UnigramTrainer(show_progress=False, **options))
        models.append(model_of(tokenizer))
        scores.append({text: score for text, score in models[-1]["vocab"] if len(text) > 1})
    assert len(models[1]["vocab"]) == len(models[0]["vocab"])
    assert {text for text, _ in models[1]["vocab"]} == {text for text, _ in models[0]["vocab"]}
    # Characters that are no pieces get scores in the order of a hash table there.
    assert scores[1] == pytest.approx(scores[0], abs=1e-9)
    assert models[1]["unk_id"] == models[0]["unk_id"]
    assert [text for text, score in models[1]["vocab"] if score == 0] == [
        text for text, score in models[0]["vocab"] if score == 0
    ]
    found = [score for _, score in models[1]["vocab"] if score != 0]
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize("is_special_text", [False, True])
def test_added_tokens_are_words_of_their_own(is_special_text):
    texts = ["the <mask> of the Fox<mask> fox the", "a<m>b <m> the FOX", ""]
    files = []
    for library in (peer, ours):
        tokenizer = library.Tokenizer(library.models.WordLevel(unk_token="?"))
        tokenizer.normalizer = library.normalizers.Lowercase()
        tokenizer.pre_tokenizer = library.pre_tokenizers.Whitespace()
        tokenizer.add_special_tokens(["<mask>"])
        tokenizer.add_tokens([library.AddedToken("Fox", normalized=True), library.AddedToken("<m>", rstrip=True)])
        tokenizer.encode_special_tokens = is_special_text
        tokenizer.train_from_iterator(texts, library.trainers.WordLevelTrainer(show_progress=False))
        files.append(json.loads(tokenizer.to_str()))
    assert files[1] == files[0]
    assert ("<mask>" in files[1]["model"]["vocab"]) != is_special_text


def test_trainers_of_models_have_their_defaults():
    for kind in ("BPE", "WordPiece", "WordLevel", "Unigram"):
        theirs, mine = (getattr(library.models, kind)().get_trainer() for library in (peer, ours))
        names = [name for name in dir(theirs) if not name.startswith("_") and name != "get_word_count"]
        assert [getattr(mine, name) for name in names] == [getattr(theirs, name) for name in names]


def test_more_characters_than_unigram_pieces():
    tokenizer = ours.Tokenizer(ours.models.Unigram())
    with pytest.raises(errors.TrainError, match="at least 4, the characters of the corpus, found 3"):
        tokenizer.train_from_iterator(["abcd"], ours.trainers.UnigramTrainer(vocab_size=3))


def test_pieces_that_nothing_can_replace_end_the_training():
    # The peer takes nothing out of these and never ends.
    tokenizer = ours.Tokenizer(ours.models.Unigram())
    tokenizer.train_from_iterator(["ab", "abc"], ours.trainers.UnigramTrainer(vocab_size=3, shrinking_factor=1.0))
    assert len(tokenizer.get_vocab()) >= 3


def test_words_are_counted():
    found = []
    for module in (peer, ours):
        trainer = module.trainers.BpeTrainer(show_progress=False)
        counts = [trainer.get_word_count()]
        for corpus in (["a b c a", "d"], ["a b c a e", "x"], []):
            tokenizer = module.Tokenizer(module.models.BPE())
            tokenizer.pre_tokenizer = module.pre_tokenizers.Whitespace()
            tokenizer.train_from_iterator(corpus, trainer)
            counts.append(trainer.get_word_count())
        found.append(counts)
    assert found[1] == found[0]
