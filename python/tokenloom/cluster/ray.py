"""How does Ray Data count a corpus?

Every block of a dataset is counted by a task, sixteen results at a time are added up by other tasks while the counting
goes on, and what is left comes to the caller.

Example:
    ```
    dataset = ray.data.read_parquet("s3://corpus/")
    counts = tl.cluster.ray.count(dataset, tl.patterns.O200K)
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
from tokenloom.cluster._parts import PART, Task, gathered, merged, pyarrow
from tokenloom.errors import TrainError

__all__ = ["count"]

_PARTS_PER_SUM = 16


def count(
    dataset: Any,
    pattern: str | Sequence[str] = patterns.O200K,
    stage2_pattern: str | Sequence[str] | None = None,
    *,
    column: str = "text",
    runs: bool = False,
    units: Units = "auto",
    folder: str | os.PathLike[str] | None = None,
) -> Counts:
    """Count the words of a ``ray.data.Dataset`` on its workers, where ``tokenloom`` and ``pyarrow`` must be installed.

    Args:
        dataset: Its rows are documents.
        pattern: As in :func:`tokenloom.train.count`.
        stage2_pattern: As in :func:`tokenloom.train.count`.
        column: Which column is the text; rows without one are left out.
        runs: As in :func:`tokenloom.train.count`.
        units: As in :func:`tokenloom.train.bpe`.
        folder: An empty folder for the counts, which must stay as long as they are used. Without one they come to
            memory.

    Returns:
        What :func:`tokenloom.train.count` gives for all rows on one machine. For sources with weights, count each
        and add them up by :meth:`tokenloom.train.Counts.merge`.

    Raises:
        TrainError: ``dataset`` is no dataset. That a block has no such column is an error of a worker, which Ray raises
            as one of its own that says so.
        PatternError: A pattern does not compile.
        MissingDependencyError: ``pyarrow`` is not installed.
        OSError: The folder cannot be written.
    """
    arrow = pyarrow()
    if not hasattr(dataset, "map_batches"):
        raise TrainError(f"dataset must be a ray.data.Dataset, found {type(dataset).__name__}")
    task = Task.of(pattern, stage2_pattern, runs, units)

    def count_block(block: Any) -> Iterator[Any]:
        if len(block) and column not in block.column_names:
            raise TrainError(f"expected a column {column!r}, found {', '.join(block.column_names)}")
        return _tables(arrow, task.count([block.column(column)] if len(block) else []))

    def add_up(parts: Any) -> Iterator[Any]:
        return _tables(arrow, merged(part.as_py() for part in parts.column(PART)))

    counted = dataset.map_batches(count_block, batch_size=None, batch_format="pyarrow")
    # Without this step in between both would become one, and every sum be of one part.
    grouped = counted.repartition(target_num_rows_per_block=_PARTS_PER_SUM, strict=True)
    sums = grouped.map_batches(add_up, batch_size=None, batch_format="pyarrow")
    return gathered(task, (row[PART] for row in sums.iter_rows()), folder)


def _tables(arrow: Any, parts: Iterator[bytes]) -> Iterator[Any]:
    return (arrow.table({PART: arrow.array([part], arrow.large_binary())}) for part in parts)
