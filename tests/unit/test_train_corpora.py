"""Which corpora are read, and do counts add up, spill, and survive being stopped?"""

from __future__ import annotations

import bz2
import copy
import gzip
import io
import json
import lzma
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import tokenloom as tl
import zstandard
from tokenloom import _corpus, _counting, _memory

TEXTS = ["low lower lowest\n", "new newer newest: 12345\n", "the lowest of the new\n"] * 3


def table(tokenizer: tl.Tokenizer) -> list[bytes]:
    return [tokenizer.token_bytes(id) for id in range(tokenizer.vocab_size)]


def train(corpus: Any, vocab_size: int = 280, **options: Any) -> list[bytes]:
    return table(tl.train.bpe(corpus, vocab_size, progress=False, **options))


@pytest.fixture
def expected() -> list[bytes]:
    return train(TEXTS)


def test_packed_files(tmp_path: Path, expected: list[bytes]) -> None:
    data = "".join(TEXTS).encode()
    for suffix, pack in {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}.items():
        path = tmp_path / f"corpus.txt{suffix}"
        path.write_bytes(pack(data))
        assert train(path) == train(str(path)) == expected


def test_rows(tmp_path: Path, expected: list[bytes]) -> None:
    rows = [{"text": text, "other": 1} for text in TEXTS]
    assert train(iter(rows)) == expected
    assert train([{"body": text} for text in TEXTS], column="body") == expected
    lines = "\n".join(map(json.dumps, rows)) + "\n\n"
    (tmp_path / "a.jsonl").write_text(lines)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    assert train(tmp_path / "a.jsonl") == train(tmp_path / "a.jsonl.gz") == expected
    (tmp_path / "bad.jsonl").write_text('{"text": "a"}\n{"txt": "b"}\n')
    with pytest.raises(tl.errors.TrainError, match="line 2 must be a JSON object with the column 'text'"):
        train(tmp_path / "bad.jsonl")
    with pytest.raises(tl.errors.TrainError, match=r"item 1 must be .* found NoneType"):
        train([{"text": "a"}, {"txt": "b"}])


@pytest.mark.parametrize("kind", ["string", "large_string", "binary", "dictionary"])
def test_columns(kind: str, tmp_path: Path, expected: list[bytes]) -> None:
    path = tmp_path / "a.parquet"
    texts = pyarrow.array([*TEXTS, None], pyarrow.string())
    column = texts.dictionary_encode() if kind == "dictionary" else texts.cast(kind)
    table = pyarrow.table({"id": range(len(column)), "text": column})
    pyarrow.parquet.write_table(table, path, row_group_size=4)
    assert train(path) == train([path]) == expected
    with pytest.raises(tl.errors.TrainError, match="expected a column 'body', found id, text"):
        train(path, column="body")


def test_frames(tmp_path: Path, expected: list[bytes]) -> None:
    frames = [zstandard.compress("".join(texts).encode()) for texts in (TEXTS[:4], [], TEXTS[4:])]
    (tmp_path / "a.txt.zst").write_bytes(b"".join(frames))
    assert train(tmp_path / "a.txt.zst") == expected
    rows = zstandard.ZstdCompressor(write_checksum=True).compress(
        "\n".join(json.dumps({"text": t}) for t in TEXTS).encode()
    )
    (tmp_path / "a.jsonl.zst").write_bytes(rows)
    assert train(tmp_path / "a.jsonl.zst") == expected
    (tmp_path / "large.zst").write_bytes(zstandard.compress(b"ab" * (1 << 20)))
    assert train(tmp_path / "large.zst", 258, pattern="x")[256:] == [b"ab", b"abab"]


def test_packages_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pyarrow.parquet", "compression.zstd", "zstandard"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("a.parquet", "a.txt.zst"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(tl.errors.MissingDependencyError, match=r"pip install tokenloom\[data\]"):
        train(tmp_path / "a.parquet")
    with pytest.raises(tl.errors.MissingDependencyError, match="zstandard"):
        train(tmp_path / "a.txt.zst")


def test_hugging_face_data_sets(expected: list[bytes]) -> None:
    # Given a fingerprint, since datasets 5.2 cannot make one of a table of pyarrow 26.
    script = """
import datasets, json, pyarrow, sys
import tokenloom as tl
table = pyarrow.table({"text": json.loads(sys.argv[1])})
data = datasets.Dataset(datasets.table.InMemoryTable(table), fingerprint="x")
batches = (text for batch in data.with_format("arrow").iter(4) for text in batch["text"].to_pylist())
for corpus in (data, data.to_iterable_dataset(), data["text"], batches, data.rename_column("text", "body")):
    column = "body" if "body" in (getattr(corpus, "column_names", None) or []) else "text"
    tok = tl.train.bpe(corpus, 280, column=column, progress=False)
    print([tok.token_bytes(id) for id in range(tok.vocab_size)])
"""
    # Its import changes warnings and logging of the whole process.
    run = subprocess.run([sys.executable, "-c", script, json.dumps(TEXTS)], capture_output=True, text=True, timeout=200)
    assert run.stdout.splitlines() == [repr(expected)] * 5, run.stderr


def test_units() -> None:
    documents = ["a\n\nb\n\nb", "b\n"]
    lines = ["a\n", "\n", "b\n", "\n", "b", "b\n"]
    assert train(documents, units="lines", pattern="x") == train(lines, pattern="x")
    file = io.BytesIO(b"a\n\nb\n\nb")
    assert train([file, documents[1]], units="documents", pattern="x") == train(documents, pattern="x")
    assert train(documents, pattern="x") != train(lines, pattern="x")


def test_weights(tmp_path: Path) -> None:
    paths = [tmp_path / "a.txt", tmp_path / "b.txt"]
    paths[0].write_text("ab ab\n")
    paths[1].write_text("cd cd cd\n")
    assert train(paths, 257)[256:] == [b"cd"]
    assert train(paths, 258, weights=[2, 1])[256:] == [b"ab", b"cd"]
    assert train(paths, 257, weights=[1 << 41, (1 << 41) - 1])[256:] == [b"cd"]
    assert train(["ab ab", "cd cd cd", *paths], 258, weights=[3, 1, 0, 0])[256:] == [b"ab", b"cd"]
    with pytest.raises(tl.errors.TrainError, match="a weight for every item of the corpus, found 1"):
        train(paths, weights=[1])


def test_counts_add_up(tmp_path: Path, expected: list[bytes]) -> None:
    parts = [tl.train.count([text], progress=False) for text in TEXTS]
    total = parts[0] + parts[1]
    for part in parts[2:]:
        total.merge(part)
    assert train(total) == expected
    assert len(total) == len(dict(total.items()))
    assert parts[0].n_bytes < total.n_bytes
    total.save(tmp_path / "counts")
    copies = [tl.train.Counts.load(tmp_path / "counts"), tl.train.Counts.from_bytes(total.to_bytes())]
    for counts in [*copies, pickle.loads(pickle.dumps(total)), copy.deepcopy(total)]:
        assert sorted(counts.items()) == sorted(total.items())
        assert train(counts) == expected
    assert [path.name for path in tmp_path.iterdir()] == ["counts"]
    twice = tl.train.count(TEXTS, progress=False).merge(parts[0], weight=5)
    assert dict(twice.items())[b"low"] == 3 + 5
    own = tl.train.count(TEXTS, tl.patterns.GPT2, progress=False)
    assert train(own) == train(TEXTS, pattern=tl.patterns.GPT2)
    with pytest.raises(tl.errors.TrainError, match="expected counts by the patterns"):
        train(total, pattern="x")
    with pytest.raises(tl.errors.TrainError, match="expected counts by the patterns"):
        total.merge(tl.train.count(["a"], "x", progress=False))
    for damaged in (b"", total.to_bytes()[:-1], total.to_bytes()[:40], b"x" + total.to_bytes()):
        with pytest.raises(tl.errors.FormatError, match="counts"):
            tl.train.Counts.from_bytes(damaged)


def test_counts_for_superwords() -> None:
    stages = (tl.patterns.SUPERBPE_STAGE1, tl.patterns.SUPERBPE_STAGE2)
    counts = tl.train.count(TEXTS, *stages, progress=False)
    whole = tl.train.superbpe(TEXTS, 300, 270, progress=False)
    assert table(tl.train.superbpe(counts, 300, 270, progress=False)) == table(whole)
    runs = tl.train.count(TEXTS, stages[0], runs=True, progress=False)
    boundless = tl.train.superbpe(TEXTS, 300, mode="boundless", progress=False)
    assert table(tl.train.superbpe(runs, 300, mode="boundless", progress=False)) == table(boundless)
    own = (tl.patterns.GPT2, r"\p{N}+|[^\p{N}]+")
    counts = tl.train.count(TEXTS, *own, progress=False)
    whole = tl.train.superbpe(TEXTS, 300, 270, pattern=own[0], stage2_pattern=own[1], progress=False)
    assert table(tl.train.superbpe(counts, 300, 270, progress=False)) == table(whole)


@pytest.mark.parametrize("mode", ["bpe", "superbpe", "boundless"])
def test_a_limit_of_memory_changes_nothing(mode: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(_corpus, "_BLOCK_BYTES", 50)
    monkeypatch.setattr(_counting, "_MAX_RUNS", 3)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)

    def trained(**options: Any) -> list[bytes]:
        if mode == "bpe":
            return train(TEXTS * 5, 300, **options)
        kind = "boundless" if mode == "boundless" else "exact"
        return table(tl.train.superbpe(TEXTS * 5, 300, mode=kind, progress=False, **options))  # type: ignore[arg-type]

    assert trained(memory_limit="60 KiB") == trained(memory_limit="90 KiB") == trained()
    with pytest.raises(tl.errors.TrainError, match="merging needs at least"):
        trained(memory_limit=1)
    assert list(tmp_path.iterdir()) == []


def test_without_a_limit_the_memory_of_the_machine_is_one(
    expected: list[bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    system, group = tmp_path / "meminfo", tmp_path / "group"
    group.mkdir()
    monkeypatch.setattr(_memory, "_SYSTEM", system)
    monkeypatch.setattr(_memory, "_GROUP", group)
    assert _memory.n_bytes_of_limit(None) is None
    assert train(TEXTS) == expected
    system.write_text("MemTotal:  9000 kB\nMemAvailable:    1000 kB\n")
    assert _memory.available_bytes() == 1_024_000
    (group / "memory.current").write_text("2000\n")
    (group / "memory.max").write_text("max\n")
    assert _memory.n_bytes_of_limit(None) == 921_600
    (group / "memory.max").write_text("5000\n")
    (group / "memory.stat").write_text("inactive_file 400\nactive_file 7\n")
    assert _memory.available_bytes() == 3400
    with pytest.raises(tl.errors.TrainError, match="merging needs at least"):
        train(["".join(map(chr, range(97, 1000)))] * 3)


class Stopped(Exception):
    """What ends a corpus early."""


def test_a_stopped_counting_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(_counting, "_SECONDS_PER_CHECKPOINT", 0.0)
    monkeypatch.setattr(_corpus, "_BLOCK_BYTES", 40)
    path = tmp_path / "a.txt"
    path.write_text("".join(TEXTS * 4))
    packed = tmp_path / "b.txt.gz"
    packed.write_bytes(gzip.compress("".join(TEXTS * 3).encode()))
    rows = tmp_path / "c.jsonl"
    rows.write_text("\n".join(json.dumps({"text": text}) for text in TEXTS * 2))
    items: list[Any] = [*TEXTS, path, packed, rows, *TEXTS]
    expected = train(items, 330)
    reads = 0

    def stopping(reader: _corpus.Reader, *arguments: Any) -> Iterator[_corpus.Block]:
        for n_blocks, block in enumerate(blocks(reader, *arguments)):
            if n_blocks == 3:
                raise Stopped
            yield block

    blocks = _corpus.Reader.blocks
    monkeypatch.setattr(_corpus.Reader, "blocks", stopping)
    folder = tmp_path / "checkpoint"
    while True:
        reads += 1
        try:
            found = train(items, 330, checkpoint=folder)
            break
        except Stopped:
            assert reads < 100
    assert reads > 5
    assert found == expected
    assert not folder.exists()


@pytest.mark.parametrize(
    ("mode", "transition", "expected_stages"),
    [("exact", 600, {0, 1}), ("boundless", None, {0, 1}), ("boundless", "auto", {0, 1, 2}), ("boundless", 600, {0, 2})],
)
def test_a_stopped_merging_goes_on(
    mode: Any, transition: Any, expected_stages: set[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(_counting, "_SECONDS_PER_CHECKPOINT", 0.0)
    texts = [
        "".join(f" {(i * j) % 97:b}x{i % 7}y{j % 5} {'abcdefgh'[i * j % 8] * 3}" for j in range(40)) for i in range(200)
    ]
    texts += [" ".join(f"w{chr(97 + i * j % 26)}{chr(97 + j * j % 23)}v" for j in range(30)) for i in range(200)]
    options: dict[str, Any] = {"mode": mode, "progress": False}
    expected = table(tl.train.superbpe(texts, 900, transition, **options))
    save, n_saves = _counting.Store.save_merges, 0
    stages = []

    def stopping(store: _counting.Store, stage: int, merges: bytes) -> None:
        nonlocal n_saves
        save(store, stage, merges)
        n_saves += 1
        stages.append(stage)
        if n_saves % 5 == 4:
            raise Stopped

    monkeypatch.setattr(_counting.Store, "save_merges", stopping)
    folder = tmp_path / "checkpoint"
    for _ in range(50):
        try:
            found = table(tl.train.superbpe(texts, 900, transition, checkpoint=folder, **options))
            break
        except Stopped:
            continue
    assert found == expected
    assert set(stages) == expected_stages
    assert not folder.exists()


def test_a_checkpoint_belongs_to_one_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(_counting, "_SECONDS_PER_CHECKPOINT", 0.0)

    def corpus() -> Iterator[str]:
        yield from TEXTS
        raise Stopped

    monkeypatch.setattr(_corpus, "_BLOCK_BYTES", 10)
    with pytest.raises(Stopped):
        train(corpus(), checkpoint=tmp_path)
    with pytest.raises(tl.errors.TrainError, match="holds the checkpoint of another training"):
        train(TEXTS, 281, checkpoint=tmp_path)
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(tl.errors.TrainError, match=r"state.json is damaged"):
        train(TEXTS, checkpoint=tmp_path)
