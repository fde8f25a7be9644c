"""Do clusters of two workers count what one process counts, also when a worker is killed while it counts?

Each engine runs in a process of its own: it starts threads and servers that outlive a test.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tokenloom as tl
from tokenloom.cluster import _parts

TEXTS = [f"the cat {i * i} sat on the mat: {i % 97} by the way, {i}th dog\n" for i in range(6000)]

COMMON = """
import os, signal, sys, threading
from pathlib import Path
import tokenloom as tl
folder = Path(sys.argv[1])
texts = [f"the cat {i * i} sat on the mat: {i % 97} by the way, {i}th dog\\n" for i in range(6000)]
stages = (tl.patterns.SUPERBPE_STAGE1, tl.patterns.SUPERBPE_STAGE2)

def only_once(name):
    try:
        os.close(os.open(folder / name, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True

def check(counts, name):
    assert (folder / name).exists(), f"no worker was {name}"
    alone = tl.train.count(texts, *stages, progress=False)
    for cut in (0, 1):
        assert sorted(counts.items(cut)) == sorted(alone.items(cut))
    tok = tl.train.superbpe(counts, 600, 400, progress=False)
    tok.save(folder / "found.json")
    print("checked", name)
"""

RAY = """
import pyarrow, ray
options = {"include_dashboard": False, "log_to_driver": False, "object_store_memory": 100 << 20}
for attempt in range(3):  # it waits 30 seconds for its servers, which a busy machine may need for itself
    try:
        ray.init(num_cpus=2, logging_level="CRITICAL", **options)
        break
    except Exception:
        ray.shutdown()
        if attempt == 2:
            raise

def dying(block):
    if only_once("killed"):
        threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGKILL)).start()
    return block

rows = [{"text": text} for text in texts] + [{"text": None}]
dataset = ray.data.from_items(rows, override_num_blocks=4).map_batches(dying, batch_format="pyarrow")
check(tl.cluster.ray.count(dataset, *stages, folder=folder / "counts"), "killed")
try:
    tl.cluster.ray.count(ray.data.from_items(rows, override_num_blocks=1), column="body")
except ray.exceptions.RayTaskError as error:
    print("refused", error)
"""

SPARK = """
from pyspark.sql import SparkSession
settings = {"spark.ui.enabled": "false", "spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1",
            "spark.sql.execution.arrow.maxRecordsPerBatch": "100", "spark.driver.memory": "512m"}
builder = SparkSession.builder.master("local[2,4]")
for key, value in settings.items():
    builder = builder.config(key, value)
spark = builder.getOrCreate()
spark.sparkContext.setLogLevel("OFF")

def dying(batches):
    for n_batches, batch in enumerate(batches):
        if n_batches == 5 and only_once("killed"):
            os.kill(os.getpid(), signal.SIGKILL)
        yield batch

frame = spark.createDataFrame([(text,) for text in texts] + [(None,)], "text string").repartition(4)
counts = tl.cluster.spark.count(frame.mapInArrow(dying, "text string"), *stages, n_sums=2)
check(counts, "killed")
try:
    tl.cluster.spark.count(frame, column="body")
except tl.errors.TrainError as error:
    print("refused", error)
spark.stop()
"""


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("alone") / "alone.json"
    tl.train.superbpe(TEXTS, 600, 400, progress=False).save(path)
    return path.read_bytes()


@pytest.mark.parametrize("engine", ["ray", "spark"])
def test_a_cluster_counts_what_one_process_counts(engine: str, alone: bytes, tmp_path: Path) -> None:
    if engine == "spark" and shutil.which("java") is None:
        pytest.fail("Spark needs Java: apt-get install openjdk-17-jre-headless")
    script = tmp_path / "script.py"
    script.write_text(COMMON + {"ray": RAY, "spark": SPARK}[engine])
    quiet = {"RAY_DATA_DISABLE_PROGRESS_BARS": "1", "RAY_USAGE_STATS_ENABLED": "0", "PYSPARK_PYTHON": sys.executable}
    run = subprocess.run(
        [sys.executable, script, tmp_path], capture_output=True, text=True, timeout=280, env=os.environ | quiet
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "checked killed" in run.stdout
    assert "column 'body'" in run.stdout.split("refused", 1)[1]
    assert (tmp_path / "found.json").read_bytes() == alone


class Column(list[Any]):
    """As much of an Arrow column as is used."""

    def slice(self, start: int, length: int) -> Column:
        return Column(self[start : start + length])

    def to_pylist(self) -> list[Any]:
        return list(self)


def test_parts_are_bounded_and_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_parts, "_BYTES_PER_PART", 2_000)
    monkeypatch.setattr("tokenloom._corpus._BLOCK_BYTES", 5_000)
    task = _parts.Task.of(tl.patterns.GPT2, None, True, "lines")
    parts = list(task.count([Column([*TEXTS[:4000], None]), Column(TEXTS[4000:])]))
    assert len(parts) > 20
    sums = list(_parts.merged(parts))
    assert 1 < len(sums) < len(parts)
    whole = tl.train.count(TEXTS, tl.patterns.GPT2, runs=True, progress=False)
    for counts in (_parts.gathered(task, sums, None), _parts.gathered(task, sums, tmp_path / "counts")):
        assert counts.cuts == whole.cuts
        assert all(sorted(counts.items(cut)) == sorted(whole.items(cut)) for cut in (0, 1))
    with pytest.raises(tl.errors.TrainError, match="folder must be empty"):
        _parts.gathered(task, sums, tmp_path / "counts")
    assert len(_parts.gathered(task, task.count([]), tmp_path / "nothing")) == 0


def test_what_is_no_dataset_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(tl.errors.TrainError, match=r"dataset must be a ray\.data\.Dataset, found list"):
        tl.cluster.ray.count(TEXTS)
    with pytest.raises(tl.errors.TrainError, match=r"frame must be a pyspark\.sql\.DataFrame, found list"):
        tl.cluster.spark.count(TEXTS)
    with pytest.raises(tl.errors.PatternError):
        tl.cluster.ray.count(SimpleNamespace(map_batches=None), "(")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(tl.errors.MissingDependencyError, match="pyarrow"):
        tl.cluster.spark.count(TEXTS)
    with pytest.raises(AttributeError, match="dask"):
        _ = tl.cluster.dask
