"""What a user of ``tl.train`` meets: corpora, options, errors, interruption, threads, fork."""

from __future__ import annotations

import copy
import io
import os
import pickle
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenloom as tl
from tokenloom._core import train as core
from tokenloom._training import StageFields, Start, Veto

DOCUMENTS = ["low lower lowest\n", "new newer newest: 12345\n", "the lowest of the new\n"] * 3


def train(corpus: Any, vocab_size: int = 280, **options: Any) -> tl.Tokenizer:
    return tl.train.bpe(corpus, vocab_size, progress=False, **options)


def tokens_of(tokenizer: tl.Tokenizer) -> list[bytes]:
    return [tokenizer.token_bytes(token) for token in range(tokenizer.vocab_size)]


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "a" / "1.txt", tmp_path / "b" / "2.txt"]
    for path, documents in zip(paths, (DOCUMENTS[:4], DOCUMENTS[4:]), strict=True):
        path.parent.mkdir()
        path.write_text("".join(documents))
    return paths


def test_every_spelling_of_a_corpus(files: list[Path], tmp_path: Path) -> None:
    expected = tokens_of(train(DOCUMENTS))
    spellings: list[Any] = [
        f"{tmp_path}/*/*.txt",
        f"{tmp_path}/**/*.txt",
        files,
        (path for path in files),
        [io.BytesIO(files[0].read_bytes()), io.StringIO(files[1].read_text())],
        [DOCUMENTS[0], *(document.encode() for document in DOCUMENTS[1:4]), files[1]],
        io.BytesIO("".join(DOCUMENTS).encode()),
    ]
    for spelling in spellings:
        assert tokens_of(train(spelling)) == expected
    with files[0].open("rb") as binary, files[1].open() as text:
        assert tokens_of(train([binary, text])) == expected
    assert tokens_of(train(files[0])) == tokens_of(train(str(files[0]))) == tokens_of(train(DOCUMENTS[:4]))


def test_a_line_longer_than_the_read_blocks(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_bytes(b"ab" * (5 << 20) + b"\ncd")
    assert tokens_of(train(path, 258, pattern="x"))[256:] == [b"ab", b"abab"]


@pytest.mark.parametrize("corpus", [[], [""], ["a"], [b"\xff"], io.BytesIO(b"")])
def test_nothing_to_merge(corpus: Any) -> None:
    tokenizer = train(corpus, 1000, special_tokens=["<s>"])
    assert tokenizer.vocab_size == 257
    assert tokenizer.decode_bytes(tokenizer.encode(b"<s>\xff a")) == b"<s>\xff a"


def test_identical_documents_and_long_runs() -> None:
    assert tokens_of(train(["aaaa"] * 1000, 300))[256:] == [b"aa", b"aaaa"]
    run = train(["a" * 1_000_000], 300)
    assert [len(token) for token in tokens_of(run)[256:275]] == [2**k for k in range(1, 20)]
    assert run.vocab_size == 256 + 25  # what is left over is joined, too


def test_ids_are_laid_out_as_documented() -> None:
    tokenizer = train(DOCUMENTS, special_tokens=["<s>", "<|the end|>"])
    assert tokenizer.special_tokens == {"<s>": 0, "<|the end|>": 1}
    assert tokens_of(tokenizer)[2:6] == [b"!", b'"', b"#", b"$"]
    assert tokens_of(tokenizer)[2 + 188] == b"\0"
    assert tokenizer.vocab_size == 280
    assert tokenizer.encode_list("<s>low<|the end|>")[-1] == 1


def test_the_result_is_a_tokenizer_like_any_other() -> None:
    tokenizer = tl.train.superbpe(DOCUMENTS, 300, 270, progress=False)
    ids = tokenizer.encode_list("the lowest of the new")
    for copied in (pickle.loads(pickle.dumps(tokenizer)), copy.deepcopy(tokenizer)):
        assert copied.encode_list("the lowest of the new") == ids
    assert any(b" " in tokenizer.token_bytes(token).strip() for token in ids)


def test_patterns_of_several_steps() -> None:
    tokenizer = train(DOCUMENTS, pattern=tl.patterns.DEEPSEEK_V3)
    assert tokenizer.decode(tokenizer.encode(DOCUMENTS[1])) == DOCUMENTS[1]
    assert tokens_of(train(["abab"], 258, pattern=["a", "b"])) == tokens_of(train([""], 258))


def test_threads_do_not_matter() -> None:
    documents = [f"{word} {index % 7}" for index, word in enumerate(" ".join(DOCUMENTS * 50).split())]
    for vocab_size in (300, 400):
        tables = [tokens_of(train(documents, vocab_size, threads=threads)) for threads in (1, 2, 5)]
        assert tables[0] == tables[1] == tables[2]
    supers = [tl.train.superbpe(documents, 400, 300, progress=False, threads=threads) for threads in (1, 3)]
    assert tokens_of(supers[0]) == tokens_of(supers[1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: train(["a"], 255), "vocab_size must be at least 256"),
        (lambda: train(["a"], 257, special_tokens=["x y", "z z"]), "258 .256 bytes and 2 special tokens., found 257"),
        (lambda: train(["a"], 1 << 40), "vocab_size must be at most"),
        (lambda: train(["a"], -1), "vocab_size must be between"),
        (lambda: train(["a"], 300.0), "vocab_size must be an int, found float"),
        (lambda: train(["a"], special_tokens=["<s>", "<s>"]), "given twice, at 0 and 1"),
        (lambda: train(["a"], special_tokens=[""]), "special token 0 is empty"),
        (lambda: train(["a"], special_tokens=["\u00e9"]), "byte 0xe9"),
        (lambda: train(["a"], special_tokens="<s>"), "sequence of str"),
        (lambda: train(["a"], special_tokens=[b"<s>"]), "special token 0 must be a str, found bytes"),
        (lambda: train(["a"], ties="bytes"), "ties must be 'hf'"),
        (lambda: train(["a"], min_frequency=-1), "min_frequency must be"),
        (lambda: train(["a"], max_token_length="9"), "max_token_length must be an int"),
        (lambda: train(["a"], threads=0), "threads must be between 1"),
        (lambda: train("/no/such/file*.txt"), "no file matches"),
        (lambda: train("/tmp"), "no file matches '/tmp'\nhint: "),
        (lambda: train(b"abc"), "iterable of documents, found bytes"),
        (lambda: train(5), "found int"),
        (lambda: train(["a", 5]), "corpus item 1 must be .* found int"),
        (lambda: tl.train.superbpe(["a"], 300, 255, progress=False), "between 256 and vocab_size 300, found 255"),
        (lambda: tl.train.superbpe(["a"], 300, 301, progress=False), "between 256 and vocab_size 300, found 301"),
        (lambda: tl.train.superbpe(["a"], 300, 280, 0, progress=False), "max_words must be at least 1"),
        (lambda: tl.train.superbpe(["a"], 300, 280, forbidden=["a", ""], progress=False), "forbidden string 1"),
        (lambda: tl.train.superbpe(["a"], 300, mode="x", progress=False), "mode must be 'exact' or 'boundless'"),  # type: ignore[arg-type]
        (lambda: tl.train.superbpe(["a"], 300, "auto", progress=False), "transition must be an int in mode 'exact'"),
        (lambda: tl.train.superbpe(["a"], 300, mode="boundless", compat="superbpe", progress=False), "are for mode"),
        (lambda: tl.train.superbpe(["a"], 300, 280, compat="x", progress=False), "compat must be"),  # type: ignore[arg-type]
        (lambda: train(["a"], seed_merges=[("a", "b"), ("a", "bc")]), 'seed merge 1 joins "bc"'),
        (lambda: train(["a"], seed_merges=[("a", "b"), ("a", "b")]), 'seed merge 1 makes "ab", which is a token'),
        (lambda: train(["a"], 257, seed_merges=[("a", "b"), ("a", "c")]), "no room for the 2 seed merges"),
        (lambda: train(["a"], resume=train(["ab"], 257), special_tokens=["<s>"]), "special_tokens cannot be given"),
        (lambda: train(["a"], 256, resume=train(["abab"], 257)), "must be at least 257"),
        (lambda: train(["a"], resume="gpt2"), "resume must be a tokenloom.Tokenizer, found str"),
        (lambda: train(["a"], veto="x"), "veto must be"),
        (lambda: tl.train.Veto(forbidden="ab"), "forbidden must be several strings"),
        (lambda: train(["a"], veto=tl.train.Veto(forbidden=[""])), "forbidden string 0 is empty"),
        (lambda: train(["a"], memory_limit="16 apples"), "memory_limit must be bytes or a text"),
    ],
)
def test_bad_options(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(tl.errors.TrainError, match=message) as caught:
        call()
    assert isinstance(caught.value, ValueError)


def test_bad_patterns_and_files(tmp_path: Path) -> None:
    with pytest.raises(tl.errors.PatternError):
        train(["a"], pattern="(")
    with pytest.raises(FileNotFoundError):
        train([tmp_path / "absent.txt"])
    with pytest.raises(ZeroDivisionError):
        train(str(1 // zero) for zero in [1, 0])


def test_lone_surrogates_and_nul_are_text() -> None:
    tokenizer = train(["\ud800\0" * 4], 270, pattern="x")
    assert "\ufffd\0".encode() in tokens_of(tokenizer)


def run(words: list[str], transition: int, vocab_size: int, progress: Callable[..., object], **more: Any) -> Any:
    counter = core.WordCounter([["[^ ]+"], ["x"]], None, False, 1)
    counter.add(words, 1)
    stages = [StageFields(size, 0, None, Veto(), **more) for size in (transition, vocab_size)]
    return core.run_stages(Start(), list(zip(counter.finish(), stages, strict=True)), [], (1, None), progress, None)


def test_progress_rises_and_its_exceptions_end_the_training() -> None:
    seen: list[tuple[str, int, int, int, int]] = []
    words = ["".join(map(str, range(i, i + 9))) for i in range(400)] * 200
    run(words, 500, 800, lambda *now: seen.append(now))
    merges = [done for kind, stage, done, total, _ in seen if kind == "merge" and stage == 1 and total == 800]
    assert merges == sorted(merges)
    assert all(done <= total for kind, _, done, total, _ in seen if kind == "merge")

    def fail(*_: object) -> None:
        raise KeyError("stop")

    with pytest.raises(KeyError, match="stop"):
        run(words, 500, 800, fail)


def test_a_signal_ends_the_training() -> None:
    words = ["".join(map(str, range(i, i + 9))) for i in range(400)]
    # A shell that starts the tests in the background leaves SIGINT ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(words, 500, 800, lambda *_: signal.raise_signal(signal.SIGINT))
    finally:
        signal.signal(signal.SIGINT, before)


def test_trainings_side_by_side() -> None:
    expected = tokens_of(train(DOCUMENTS))
    found: list[list[bytes]] = []
    threads = [threading.Thread(target=lambda: found.append(tokens_of(train(DOCUMENTS, threads=2)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4


def test_training_after_fork() -> None:
    expected = tokens_of(train(DOCUMENTS, threads=2))
    child = os.fork()
    if child == 0:
        os._exit(0 if tokens_of(train(DOCUMENTS, threads=2)) == expected else 1)
    assert os.waitpid(child, 0)[1] == 0
