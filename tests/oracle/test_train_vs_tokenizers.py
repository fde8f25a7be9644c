"""Are the merges those of the Hugging Face trainer, merge for merge and id for id?"""

from __future__ import annotations

import io
import json
import random
import sysconfig
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
import tokenloom as tl
from tokenizers import Regex, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as HfTokenizer
from tokenloom._core import train as core
from tokenloom._training import StageFields, Start, Veto
from trained_files import trained

# The second has no look-around and cuts runs of letters: more words of one or two bytes, hence more ties.
TINY_PATTERNS = [tl.patterns.GPT2, r"\p{L}{1,4}|\s"]


def hf_train(
    corpus: Iterable[str] | list[str],
    pattern: str,
    from_files: bool = False,
    initial_alphabet: list[str] | None = None,
    **options: Any,
) -> HfTokenizer:
    tokenizer = HfTokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(pattern), "isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    alphabet = pre_tokenizers.ByteLevel.alphabet() if initial_alphabet is None else initial_alphabet
    trainer = trainers.BpeTrainer(initial_alphabet=alphabet, show_progress=False, **options)
    if from_files:
        tokenizer.train(list(corpus), trainer)
    else:
        tokenizer.train_from_iterator(corpus, trainer)
    return tokenizer


def model_of(tokenizer: HfTokenizer) -> dict[str, Any]:
    model: dict[str, Any] = json.loads(tokenizer.to_str())["model"]
    return model


def saved_model(tokenizer: tl.Tokenizer, folder: Path) -> dict[str, Any]:
    tokenizer.save(folder / "tokenizer.json")
    return model_of(HfTokenizer.from_file(str(folder / "tokenizer.json")))


def stdlib_texts(n_bytes: int) -> list[str]:
    """Sources and doc strings of the standard library, every file a document."""
    texts: list[str] = []
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).rglob("*.py")):
        if "site-packages" in path.parts:
            continue
        try:
            texts.append(path.read_text(encoding="utf-8"))
        except UnicodeDecodeError:
            continue
        n_bytes -= len(texts[-1].encode())
        if n_bytes <= 0:
            break
    return texts


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return stdlib_texts(3_000_000)


@pytest.mark.parametrize(
    ("pattern", "options"),
    [
        ("GPT2", {"vocab_size": 8_000}),
        ("CL100K", {"vocab_size": 4_000, "special_tokens": ["<s>", "<|end of text|>", "the", "\u0120the"]}),
        ("GPT2", {"vocab_size": 50_000, "min_frequency": 200}),
        ("CL100K", {"vocab_size": 2_000, "max_token_length": 6}),
        ("O200K", {"vocab_size": 1_000}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_real_text(texts: list[str], pattern: str, options: dict[str, Any], tmp_path: Path) -> None:
    pattern = getattr(tl.patterns, pattern)
    ours = tl.train.bpe(texts, pattern=pattern, progress=False, **options)
    theirs = model_of(hf_train(texts, pattern, **options))
    found = saved_model(ours, tmp_path)
    assert found["merges"] == theirs["merges"]
    assert found["vocab"] == theirs["vocab"]


def test_files_are_read_as_lines(texts: list[str], tmp_path: Path) -> None:
    paths = [tmp_path / f"{index}.txt" for index in range(3)]
    for index, path in enumerate(paths):
        # Line ends of both kinds, blank lines, and no line end at the end of a file.
        lines = "".join(texts[index::20]).replace("\n\n", "\n\r\n").rstrip()
        path.write_text(lines, encoding="utf-8", newline="")
    ours = tl.train.bpe(paths, 2_000, tl.patterns.CL100K, progress=False)
    theirs = model_of(hf_train(map(str, paths), tl.patterns.CL100K, from_files=True, vocab_size=2_000))
    assert saved_model(ours, tmp_path)["merges"] == theirs["merges"]
    whole = tl.train.bpe([path.read_text() for path in paths], 2_000, tl.patterns.CL100K, progress=False)
    assert saved_model(whole, tmp_path)["merges"] != theirs["merges"], "documents and lines must differ here"
    open_files = [io.BytesIO(paths[0].read_bytes()), io.StringIO(paths[1].read_bytes().decode(), newline=""), paths[2]]
    assert tl.train.bpe(open_files, 2_000, tl.patterns.CL100K, progress=False).encode_list(
        texts[5]
    ) == ours.encode_list(texts[5])


def random_corpus(rng: random.Random) -> list[str]:
    alphabet = rng.choice(["ab", "ab ", "abc d", "aé 1.\n", "a\u3042b"])
    return ["".join(rng.choices(alphabet, k=rng.randrange(60))) for _ in range(rng.randrange(1, 8))]


def trained_by_core(documents: Sequence[str], pattern: str, options: dict[str, Any]) -> tuple[Any, ...]:
    counter = core.WordCounter([[pattern]], None, False, 1)
    counter.add(list(documents), 1)
    names = ("vocab_size", "min_frequency", "max_token_length")
    stage = StageFields(*(options[name] for name in names), Veto())
    start = Start(options["special_tokens"], options["initial_alphabet"], options.get("limit_alphabet"))
    trained = core.run_stages(start, [(counter.finish()[0], stage)], [], (1, None), None, None)
    return trained.merges, dict(trained.tokens)


@pytest.mark.parametrize("block", range(4))
def test_tiny_corpora_where_ties_abound(block: int) -> None:
    seed = 20260 + block
    print(f"seed {seed}")
    rng = random.Random(seed)
    characters = byte_characters()
    for _ in range(150):
        documents, pattern = random_corpus(rng), rng.choice(TINY_PATTERNS)
        special = rng.sample(["<s>", "ab", "aa", "\u0120a", "\u0120ab", "x y"], rng.randrange(3))
        options = {
            "vocab_size": 256 + len(special) + rng.randrange(80),
            "special_tokens": special,
            "min_frequency": rng.choice([0, 0, 1, 2, 3]),
            "max_token_length": rng.choice([None, None, 0, 1, 2, 3, 4, 7]),
            "initial_alphabet": rng.choice([bytes(range(256)), b"", b"az"]),
        }
        seen = len({byte for text in documents for byte in text.encode()} | set(options["initial_alphabet"]))
        if rng.random() < 0.3 and no_ties(documents, options["initial_alphabet"]):
            options["limit_alphabet"] = max(seen - 1, len(options["initial_alphabet"]))
        spelled = [characters[byte] for byte in options["initial_alphabet"]]
        theirs = model_of(hf_train(documents, pattern, **(options | {"initial_alphabet": spelled})))
        merges, tokens = trained_by_core(documents, pattern, options)
        vocab = {"".join(characters[byte] for byte in string): token for token, string in tokens.items()}
        expected = [tuple(theirs["vocab"][part] for part in (a, b, a + b)) for a, b in theirs["merges"]]
        assert merges == expected, (documents, pattern, options)
        assert vocab | {token: special.index(token) for token in special} == theirs["vocab"]


def no_ties(documents: Sequence[str], initial: bytes) -> bool:
    """Whether the rarest bytes are different ones: the peer's choice among equally rare ones depends on a hash."""
    counts = Counter(byte for text in documents for byte in text.encode() if byte not in initial)
    rarest = sorted(counts.values())[:2]
    return len(rarest) == 2 and rarest[0] < rarest[1]


def byte_characters() -> list[str]:
    """The character of each byte, asked of the peer."""
    shown = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    order = sorted(pre_tokenizers.ByteLevel.alphabet())
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    characters = dict(zip(printable + [b for b in range(256) if b not in printable], order, strict=True))
    assert shown.pre_tokenize_str("a \n\u00e9")[0][0] == "".join(characters[b] for b in b"a \n\xc3\xa9")
    return [characters[byte] for byte in range(256)]


def test_superbpe_file_gives_the_same_ids(texts: list[str], tmp_path: Path) -> None:
    ours = tl.train.superbpe(texts, 3_000, 2_000, progress=False, special_tokens=["<s>"])
    ours.save(tmp_path / "tokenizer.json")
    theirs = HfTokenizer.from_file(str(tmp_path / "tokenizer.json"))
    spans = [token for token in theirs.get_vocab() if "\u0120" in token.strip("\u0120")]
    assert len(spans) > 150
    for text in [*texts[::40], "<s> by the way: 123456  \n\n...", "\u3042\u00e9 \U0001f600\u200d"]:
        assert ours.encode_list(text) == theirs.encode(text).ids


@pytest.mark.heavy
@pytest.mark.parametrize("pattern", ["GPT2", "CL100K", "O200K"])
def test_ten_megabytes(pattern: str, tmp_path: Path) -> None:
    texts = stdlib_texts(10_000_000)
    pattern = getattr(tl.patterns, pattern)
    ours = tl.train.bpe(texts, 32_000, pattern, progress=False)
    theirs = model_of(hf_train(texts, pattern, vocab_size=32_000))
    assert saved_model(ours, tmp_path)["merges"] == theirs["merges"]


def test_what_cannot_be_extended_is_named() -> None:
    found = {}
    for name, text in trained().items():
        tokenizer = tl.Tokenizer.from_bytes(text.encode(), kind="tokenizer.json")
        try:
            tl.train.bpe(["a b c d"] * 9, tokenizer.vocab_size + 3, resume=tokenizer, progress=False)
            found[name] = "extended"
        except tl.errors.UnsupportedFeatureError as error:
            found[name] = str(error).splitlines()[0]
    for name, model in {"wordpiece": "WordPiece", "wordlevel": "WordLevel", "unigram": "Unigram"}.items():
        assert found.pop(name) == f"resume must be a BPE tokenizer, found a {model} model"
    assert found.pop("bytelevel") == "extended"
    assert set(found.values()) <= {
        "extended",
        "resume must be a BPE tokenizer that the compiled machine runs; this one is interpreted",
    }
