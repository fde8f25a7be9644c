"""Parity-aware training gives the merges of the peer: what it merges does not depend on the order of a hash table."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import tokenizers as peer
from tokenloom.compat import tokenizers as ours
from tokenloom.errors import TrainError, UnsupportedFeatureError
from tokenloom.reference import parity as twin

ENGLISH = ["the quick brown fox jumps over the lazy dog", "she sells sea shells", "low lower lowest newest widest"] * 4
GERMAN = ["der schnelle braune Fuchs springt über den faulen Hund", "niedrig niedriger am niedrigsten"] * 5
HINDI = ["तेज़ भूरी लोमड़ी आलसी कुत्ते के ऊपर कूदती है", "कम कमतर"] * 3


def trained(module: Any, options: dict[str, Any], corpora: list[Any], byte_level: bool = False, **more: Any) -> Any:
    """Merges, tokens, and what the file says."""
    tokenizer = module.Tokenizer(module.models.BPE())
    cutter = module.pre_tokenizers
    tokenizer.pre_tokenizer = cutter.ByteLevel(add_prefix_space=False) if byte_level else cutter.Whitespace()
    trainer = module.trainers.ParityBpeTrainer(show_progress=False, **options)
    trainer.train_from_iterator(tokenizer, [iter(corpus) for corpus in corpora], **more)
    file = json.loads(tokenizer.to_str())
    return file["model"]["merges"], file["model"]["vocab"], file["added_tokens"]


def random_options(draw: random.Random) -> tuple[dict[str, Any], list[list[str]], dict[str, Any]]:
    options: dict[str, Any] = {"num_merges": draw.choice([0, 3, 12, 60])}
    n_languages = draw.choice([1, 2, 3])

    def corpus(letters: str) -> list[str]:
        words = [
            "".join(draw.choice(letters) for _ in range(draw.randrange(1, 6))) for _ in range(draw.randrange(1, 9))
        ]
        return [" ".join(draw.choice(words) for _ in range(9)) for _ in range(draw.randrange(1, 5))]

    corpora = [corpus(draw.choice(["abc", "cde", "日本ab", "aé"])) for _ in range(n_languages)]
    more: dict[str, Any] = {}
    kind = draw.randrange(4)
    if kind == 1:
        more["dev_iterators"] = [corpus("abcde日") for _ in corpora]
    if kind == 2:
        more["ratio"] = [draw.choice([0.5, 1.0, 2.5]) for _ in corpora]
    if kind == 3:
        options["ratio"] = [draw.choice([0.5, 1.0, 3]) for _ in corpora]
        more["dev_iterators"] = draw.choice([None, [corpus("abc") for _ in corpora]])
    # With a smaller `alpha` and a language that has ended the peer may look for the next one for ever.
    windows = ["base", "window"] if n_languages > 1 else ["base"]
    options["variant"] = draw.choice(windows)
    options["alpha"], options["window_size"] = draw.choice([(float(n_languages), 3), (n_languages + 0.5, 5)])
    for name, values in (
        ("global_merges", (0, 2, 9)),
        ("min_frequency", (0, 2, 4)),
        ("total_symbols", (False, True)),
        ("special_tokens", ([], ["<s>", "ab"])),
        ("initial_alphabet", ([], ["z", "a"])),
        ("max_token_length", (None, 3, 4)),
    ):
        if draw.random() < 0.4:
            options[name] = draw.choice(values)
    return options, corpora, more


def test_random_corpora_and_options():
    for seed in range(400):
        options, corpora, more = random_options(random.Random(seed))
        assert trained(ours, options, corpora, **more) == trained(peer, options, corpora, **more), (seed, options)


@pytest.mark.parametrize(
    ("options", "more"),
    [
        ({}, {}),
        ({}, {"dev_iterators": [ENGLISH[:3], GERMAN[:2], HINDI[:2]]}),
        (
            {"variant": "window", "window_size": 4, "alpha": 1.5},
            {"dev_iterators": [ENGLISH[:3], GERMAN[:2], HINDI[:2]]},
        ),
        ({"ratio": [1.0, 1.1, 2.57]}, {}),
        ({"global_merges": 20, "total_symbols": True, "min_frequency": 2}, {"ratio": [1.0, 1.1, 2.57]}),
    ],
)
@pytest.mark.parametrize("byte_level", [False, True])
def test_languages(options, more, byte_level):
    options = {"num_merges": 90, "special_tokens": ["<s>"], **options}
    corpora = [ENGLISH, [GERMAN[:4], GERMAN[4:]], HINDI]
    assert trained(ours, options, corpora, byte_level, **more) == trained(peer, options, corpora, byte_level, **more)


@pytest.mark.parametrize("affixes", [{"continuing_subword_prefix": "##"}, {"end_of_word_suffix": "</w>"}])
def test_affixes_change_ids_alone(affixes):
    """Ids of characters with an affix follow a hash table in the peer."""
    options = {"num_merges": 40, **affixes}
    (merges, vocab, _), (expected, theirs, _) = (trained(m, options, [ENGLISH, GERMAN]) for m in (ours, peer))
    assert merges == expected
    assert set(vocab) == set(theirs)


def test_the_twin_gives_the_same():
    for seed in range(60):
        options, corpora, more = random_options(random.Random(1000 + seed))
        if options.get("max_token_length") or options.get("special_tokens"):
            continue
        words = [[word for text in corpus for word in text.split()] for corpus in corpora]
        dev = more.get("dev_iterators")
        parallel = None if dev is None else [[word for text in corpus for word in text.split()] for corpus in dev]
        window = (options["window_size"], options["alpha"]) if options["variant"] == "window" else None
        found = twin.train(
            words,
            0 if options.get("total_symbols") else options["num_merges"],
            parallel,
            None if parallel else more.get("ratio", options.get("ratio")),
            options.get("global_merges", 0),
            options.get("min_frequency", 0),
            window,
        )
        expected = trained(
            ours, {**options, **({"num_merges": 0} if options.get("total_symbols") else {})}, corpora, **more
        )
        assert [list(pair) for pair in found] == expected[0], (seed, options)


def test_a_language_that_has_ended_does_not_stop_the_others():
    """The peer looks for ever for a language that has not had its share."""
    options = {"num_merges": 9, "variant": "window", "window_size": 2, "alpha": 1.0}
    merges, _, _ = trained(ours, options, [["abcdef abcdef"], ["g"]])
    assert len(merges) == 5


def test_what_contradicts_itself_is_refused():
    for module in (peer, ours):
        for options, corpora, more in (
            ({}, [], {}),
            ({"ratio": [1.0]}, [ENGLISH, GERMAN], {}),
            ({"ratio": [1.0, 0.0]}, [ENGLISH, GERMAN], {}),
            ({}, [ENGLISH], {"dev_iterators": [ENGLISH, GERMAN]}),
            ({"variant": "window", "window_size": 0}, [ENGLISH], {}),
            ({"variant": "window", "alpha": -1.0}, [ENGLISH], {}),
            ({"variant": "other"}, [ENGLISH], {}),
            ({"initial_alphabet": ["ab"]}, [ENGLISH], {}),
        ):
            with pytest.raises(Exception, match=r".") as error:
                trained(module, options, corpora, **more)
            assert module is peer or isinstance(error.value, TrainError | ValueError)
    with pytest.raises(UnsupportedFeatureError, match="BPE"):
        ours.trainers.ParityBpeTrainer().train_from_iterator(ours.Tokenizer(ours.models.WordLevel()), [ENGLISH])
