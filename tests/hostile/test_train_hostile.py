"""Does training end well on bad files, full disks, kills, and corpora made to be slow?"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import tokenloom as tl
import zstandard

TEXT = "the cat sat on the mat: 12345 times\n" * 3000


def train(corpus: object, **options: object) -> tl.Tokenizer:
    return tl.train.bpe(corpus, 300, progress=False, **options)  # type: ignore[arg-type]


def parquet(data: bytes) -> bytes:
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"text": data.decode().splitlines()}), out)
    return out.getvalue()


PACKED: dict[str, Callable[[bytes], bytes]] = {
    ".txt.gz": gzip.compress,
    ".txt.bz2": bz2.compress,
    ".txt.xz": lzma.compress,
    ".txt.zst": zstandard.ZstdCompressor(write_checksum=True).compress,
    ".parquet": parquet,
}


@pytest.mark.parametrize("damage", ["cut", "short", "flipped", "other"])
@pytest.mark.parametrize("suffix", PACKED)
def test_a_damaged_file_is_named(suffix: str, damage: str, tmp_path: Path) -> None:
    packed = bytearray(PACKED[suffix](TEXT.encode()))
    if damage == "cut":
        del packed[len(packed) // 2 :]
    elif damage == "short":
        del packed[-3:]
    elif damage == "flipped":
        at = 40 if suffix == ".parquet" else len(packed) // 2
        packed[at : at + 9] = bytes(byte ^ 0xFF for byte in packed[at : at + 9])
    else:
        packed[:4] = packed[-4:] = b"PKPK"
    path = tmp_path / f"corpus{suffix}"
    path.write_bytes(packed)
    with pytest.raises(tl.errors.TrainError, match=rf"corpus{suffix} is damaged"):
        train(path, memory_limit="1MB")


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"file"):
        train([TEXT], checkpoint=tmp_path / "file" / "folder")
    with pytest.raises(OSError, match=r"file"):
        tl.train.count([TEXT], progress=False).save(tmp_path / "file" / "counts")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))
    with pytest.raises(OSError, match=r"file"):
        train([TEXT], memory_limit="1MB")


FULL = """
import hashlib, resource, signal, sys, tempfile
from pathlib import Path
import tokenloom as tl
folder = Path(sys.argv[1])
tempfile.tempdir = str(folder)
words = ["".join(chr(97 + byte % 26) for byte in hashlib.md5(b"%d" % i).digest()) for i in range(20_000)]
counts = tl.train.count(words, progress=False)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
for call in (lambda: tl.train.bpe(words, 300, memory_limit=1, progress=False), lambda: counts.save(folder / "counts")):
    try:
        call()
    except OSError as error:
        print(type(error).__name__, error)
print(sorted(path.name for path in folder.iterdir()))
"""


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", FULL, tmp_path], capture_output=True, text=True, check=True, timeout=120
    )
    lines = run.stdout.splitlines()
    assert [line.startswith("OSError File too large") for line in lines[:2]] == [True, True], run.stderr
    assert lines[2:] == ["[]"]


KILLED = """
import sys
from pathlib import Path
from tokenloom import _corpus, _counting
import tokenloom as tl
_counting._SECONDS_PER_CHECKPOINT = 0.02
_corpus._BLOCK_BYTES = 20_000
mode = sys.argv[4]
transition = 4_000 if mode == "exact" else None
tok = tl.train.superbpe(Path(sys.argv[1]), 6_000, transition, mode=mode, progress=False, checkpoint=sys.argv[2])
tok.save(sys.argv[3])
"""


def kill_and_resume(folder: Path, mode: Any, n_kills: int, n_words: int) -> None:
    rng = random.Random(7)
    corpus = folder / "corpus.txt"
    words = ["".join(rng.choices("abcdefgh", k=rng.randrange(2, 9))) for _ in range(n_words // 10)]
    corpus.write_text("".join(" ".join(rng.choices(words, k=12)) + "\n" for _ in range(n_words // 12)))
    transition = 4_000 if mode == "exact" else None
    expected = tl.train.superbpe(corpus, 6_000, transition, mode=mode, progress=False)
    output = folder / "tokenizer.json"
    command = [sys.executable, "-c", KILLED, corpus, folder / "checkpoint", output, mode]
    started = time.monotonic()
    subprocess.run(command, check=True, timeout=300)
    whole = time.monotonic() - started
    output.unlink()
    n_killed = 0
    for _ in range(n_kills):
        child = subprocess.Popen(command)
        time.sleep(rng.uniform(0.1, 1.0) * whole)
        child.send_signal(signal.SIGKILL)
        n_killed += child.wait() == -signal.SIGKILL
    subprocess.run(command, check=True, timeout=300)
    expected.save(folder / "expected.json")
    assert output.read_bytes() == (folder / "expected.json").read_bytes()
    assert n_killed > n_kills // 4
    assert not (folder / "checkpoint").exists()


def test_a_killed_training_goes_on_to_the_same_merges(tmp_path: Path) -> None:
    kill_and_resume(tmp_path, "exact", 3, 20_000)


@pytest.mark.heavy
@pytest.mark.parametrize("mode", ["exact", "boundless"])
def test_twenty_kills(mode: str, tmp_path: Path) -> None:
    kill_and_resume(tmp_path, mode, 20, 300_000)


def test_a_run_that_is_killed_while_it_clears_up_can_be_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("ab abc abcd bcd\n" * 50)
    expected = tl.train.bpe(corpus, 262, progress=False)
    unlink = Path.unlink
    for n_unlinked in range(12):
        left = iter(range(n_unlinked))

        def stopping(path: Path, missing_ok: bool = False, left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt
            unlink(path, missing_ok=missing_ok)

        folder = tmp_path / str(n_unlinked)
        with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            patch.setattr(Path, "unlink", stopping)
            tl.train.bpe(corpus, 262, progress=False, checkpoint=folder)
        again = tl.train.bpe(corpus, 262, progress=False, checkpoint=folder)
        assert [again.token_bytes(id) for id in range(262)] == [expected.token_bytes(id) for id in range(262)]
        assert not folder.exists()


def test_corpora_made_to_be_slow() -> None:
    fibonacci = ["a", "ab"]
    while len(fibonacci[-1]) < 150_000:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    # A de Bruijn sequence: no pair is more frequent than any other.
    sequence: list[int] = []
    word = [0] * 9

    def extend(at: int, period: int) -> None:
        if at > 8:
            sequence.extend(word[1 : period + 1] if 8 % period == 0 else [])
            return
        word[at] = word[at - period]
        extend(at + 1, period)
        for symbol in range(word[at - period] + 1, 4):
            word[at] = symbol
            extend(at + 1, at)

    extend(1, 1)
    assert len(sequence) == 4**8
    for text in ("a" * 300_000, fibonacci[-1], bytes(97 + symbol for symbol in sequence).decode(), "ab" * 100_000):
        for trained in (
            tl.train.bpe([text], 2_000, "x", progress=False),
            tl.train.superbpe([text], 2_000, 1_000, pattern="x", progress=False),
            tl.train.superbpe([text], 2_000, mode="boundless", progress=False),
        ):
            assert trained.vocab_size > 256


def test_umask_and_cwd_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "merges.txt").write_text("#version\na b\n")
    train([TEXT], memory_limit="1MB")
    assert os.listdir(tmp_path) == ["merges.txt"]
