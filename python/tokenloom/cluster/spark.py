"""How does Spark count a corpus?

Every partition of a data frame is counted by a task, the results are shared out to a few tasks that add them up, and
what is left comes to the caller, one at a time.

Example:
    ```
    frame = spark.read.parquet("hdfs://corpus/")
    counts = tl.cluster.spark.count(frame, tl.patterns.O200K)
    tok = tl.train.bpe(counts, vocab_size=64_000)
    ```
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from tokenloom import patterns
from tokenloom._corpus import Units
from tokenloom._counts import Counts
from tokenloom._training import size_of
from tokenloom.cluster._parts import PART, Task, gathered, merged, pyarrow
from tokenloom.errors import TrainError

__all__ = ["count"]


def count(
    frame: Any,
    pattern: str | Sequence[str] = patterns.O200K,
    stage2_pattern: str | Sequence[str] | None = None,
    *,
    column: str = "text",
    runs: bool = False,
    units: Units = "auto",
    n_sums: int = 16,
    folder: str | os.PathLike[str] | None = None,
) -> Counts:
    """Count the words of a ``pyspark.sql.DataFrame`` on its workers, where ``tokenloom`` and ``pyarrow`` are installed.

    Args:
        frame: Its rows are documents. Of classic Spark or of Spark Connect.
        pattern: As in :func:`tokenloom.train.count`.
        stage2_pattern: As in :func:`tokenloom.train.count`.
        column: Which column is the text, a string or binary; rows without one are left out.
        runs: As in :func:`tokenloom.train.count`.
        units: As in :func:`tokenloom.train.bpe`.
        n_sums: Tasks that add up what all partitions gave.
        folder: An empty folder for the counts, which must stay as long as they are used. Without one they come to
            memory.

    Returns:
        What :func:`tokenloom.train.count` gives for all rows on one machine. For sources with weights, count each
        and add them up by :meth:`tokenloom.train.Counts.merge`.

    Raises:
        TrainError: ``frame`` is no data frame or has no such column.
        PatternError: A pattern does not compile.
        MissingDependencyError: ``pyarrow`` is not installed.
        OSError: The folder cannot be written.
    """
    arrow = pyarrow()
    if not hasattr(frame, "mapInArrow"):
        raise TrainError(f"frame must be a pyspark.sql.DataFrame, found {type(frame).__name__}")
    if column not in frame.columns:
        raise TrainError(f"expected a column {column!r}, found {', '.join(frame.columns)}")
    task = Task.of(pattern, stage2_pattern, runs, units)

    def count_partition(batches: Iterator[Any]) -> Iterator[Any]:
        return _batches(arrow, task.count(batch.column(0) for batch in batches))

    def add_up(batches: Iterator[Any]) -> Iterator[Any]:
        return _batches(arrow, merged(part.as_py() for batch in batches for part in batch.column(0)))

    schema = f"{PART} binary"
    counted = frame.select(column).mapInArrow(count_partition, schema)
    # The exchange keeps what was counted, so that asking for one sum after the other counts nothing again.
    sums = counted.repartition(max(1, size_of("n_sums", n_sums))).mapInArrow(add_up, schema)
    return gathered(task, (bytes(row[0]) for row in sums.toLocalIterator()), folder)


def _batches(arrow: Any, parts: Iterator[bytes]) -> Iterator[Any]:
    return (arrow.RecordBatch.from_arrays([arrow.array([part], arrow.binary())], [PART]) for part in parts)
