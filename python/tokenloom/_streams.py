"""What is a drafter, whatever its kind? Streams, batches of streams and their buffers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokenloom._core import draft as _core
from tokenloom._core.draft import DraftTree
from tokenloom.errors import ArrayError

__all__ = ["Drafter", "Stream", "TreeBatch"]


@runtime_checkable
class Drafter(Protocol):
    """What a decoding loop asks of a drafter: write a class with ``begin`` and it can be used wherever ours can.

    ``begin(prompt_ids)`` opens a stream: ``propose(budget) -> DraftTree``, ``commit(ids)`` and ``end()``.
    """

    def begin(self, prompt_ids: Any) -> Any:
        """Open a stream with its prompt."""


class TreeBatch(NamedTuple):
    """Buffers for the trees of a batch; views of pinned torch tensors (``tensor.numpy()``) do as well.

    Attributes:
        tokens: drafted ids, int32[B, width]; -1 behind the end of a tree.
        parents: index of each node's parent, -1 for a child of the last committed token, int32[B, width].
        depths: int32[B, width], from 1; 0 behind the end of a tree.
        probs: how likely each node is given its parent, float32[B, width].
        lengths: nodes of each tree, int32[B].
    """

    tokens: NDArray[np.int32]
    parents: NDArray[np.int32]
    depths: NDArray[np.int32]
    probs: NDArray[np.float32]
    lengths: NDArray[np.int32]

    @classmethod
    def empty(cls, n_streams: int, width: int) -> Self:
        """Buffers for ``n_streams`` trees of at most ``width`` nodes."""
        tokens, parents = (np.full((n_streams, width), -1, np.int32) for _ in range(2))
        depths, probs = np.zeros((n_streams, width), np.int32), np.zeros((n_streams, width), np.float32)
        return cls(tokens, parents, depths, probs, np.zeros(n_streams, np.int32))

    def tree(self, row: int) -> DraftTree:
        """The tree of one row."""
        n = int(self.lengths[row])
        return DraftTree(self.tokens[row, :n], self.parents[row, :n], np.ascontiguousarray(self.probs[row, :n]))


class Stream(_core.Stream):
    """One text that grows; made by ``begin`` of a drafter. Use it as a context manager to have it ended.

    Calls from several threads take turns. A stream cannot be pickled: pickle the drafter.
    """

    __slots__ = ()

    def commit(
        self,
        ids: ArrayLike | Sequence[int],
        topk_ids: ArrayLike | None = None,
        topk_logprobs: ArrayLike | None = None,
        *,
        tree: DraftTree | None = None,
    ) -> None:
        """Append tokens that are now part of the text, drafted or not. All of them are taken, or none.

        Args:
            ids: token ids, integer[n] or a sequence of ints.
            topk_ids: the model's likeliest tokens behind each row it verified, integer[nodes + 1, k], the likeliest
                first, -1 where there are fewer: row 0 behind the last committed token, row j + 1 behind node j of the
                draft. Drafters that learn from the model take them; others ignore them.
            topk_logprobs: their natural log-probabilities, float[nodes + 1, k]; ranks stand in where None.
            tree: the draft that was verified, where it is not the one proposed last (a part of it, for example).

        Raises:
            ArrayError: an array of the wrong shape or type.
            DraftError: the stream has ended, an id is out of range, or the rows do not fit the draft.
        """
        self.append(ids, tree, top_rows(topk_ids, topk_logprobs))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


class NativeDrafter:
    """Base of the compiled drafters."""

    __slots__ = ("_drafter",)

    def __init__(self, drafter: _core.Drafter) -> None:
        self._drafter = drafter

    @property
    def n_top(self) -> int:
        """How many of the model's likeliest tokens a ``commit`` should bring; 0 where nothing is learned from them."""
        return 0

    @property
    def n_bytes(self) -> int:
        """Memory that the streams of this drafter share."""
        return self._drafter.n_bytes

    @property
    def n_tokens(self) -> int:
        """Tokens that the streams of this drafter share, one mark for the end of each text included."""
        return self._drafter.n_tokens

    def begin(
        self,
        prompt_ids: ArrayLike | Sequence[int],
        topk_ids: ArrayLike | None = None,
        topk_logprobs: ArrayLike | None = None,
    ) -> Stream:
        """Open a stream with its prompt.

        Args:
            prompt_ids: token ids, integer[n] or a sequence of ints, possibly empty.
            topk_ids: the model's likeliest tokens behind each token of the prompt, integer[n, k]; see
                :meth:`Stream.commit`.
            topk_logprobs: their natural log-probabilities, float[n, k].

        Raises:
            ArrayError: an array of the wrong shape or type.
            DraftError: an id is negative or above 2**31 - 1, or the rows do not fit the prompt.
        """
        return Stream(self._drafter, prompt_ids, top_rows(topk_ids, topk_logprobs))

    def propose_batch(
        self,
        streams: Sequence[Stream],
        budget: int = 64,
        *,
        chain: bool = False,
        out: TreeBatch | None = None,
        threads: int = 1,
    ) -> list[DraftTree] | TreeBatch:
        """Propose for many streams in one call, without the interpreter lock.

        Args:
            streams: streams of this drafter; each tree is the one its own ``propose`` would give.
            budget: most tokens drafted for each.
            chain: draft chains only.
            out: buffers to write into, one row a stream; also bounds the budget. It is returned.
            threads: how many threads share the work; a few dozen streams are not worth a second one.

        Raises:
            ArrayError: buffers of the wrong shape or type.
            DraftError: a stream has ended or is another drafter's, or the budget is negative.
        """
        if out is None:
            return _core.propose_batch(self._drafter, streams, budget, chain, threads)
        _core.propose_into(self._drafter, streams, budget, chain, threads, as_buffers(out))
        return out

    def commit_batch(
        self,
        streams: Sequence[Stream],
        ids: Sequence[ArrayLike],
        topk_ids: Sequence[ArrayLike | None] | None = None,
        topk_logprobs: Sequence[ArrayLike | None] | None = None,
        *,
        threads: int = 1,
    ) -> None:
        """Commit to many streams in one call, without the interpreter lock. All streams take theirs, or none does.

        Args:
            streams: streams of this drafter.
            ids: what each text goes on with, integer arrays or sequences; a ``Ragged`` does as well.
            topk_ids: as in :meth:`Stream.commit`, one entry a stream.
            topk_logprobs: as in :meth:`Stream.commit`, one entry a stream.
            threads: how many threads share the work.

        Raises:
            ArrayError: not one entry for each stream, or an array of the wrong shape or type.
            DraftError: as :meth:`Stream.commit`, or a stream is another drafter's.
        """
        nothing = [None] * len(streams)
        pairs = zip(topk_ids or nothing, topk_logprobs or nothing, strict=True)
        tops = [top_rows(*pair) for pair in pairs]
        _core.commit_batch(self._drafter, streams, list(ids), tops, threads)


def as_buffers(out: TreeBatch) -> TreeBatch:
    """Buffers that the core can write into."""
    for name, buffer in out._asdict().items():
        dtype, n_axes = np.dtype(np.float32 if name == "probs" else np.int32), 1 if name == "lengths" else 2
        if not isinstance(buffer, np.ndarray) or (buffer.dtype, buffer.ndim) != (dtype, n_axes):
            raise ArrayError(f"expected out.{name} as a writable C-contiguous array of {dtype} with {n_axes} axes")
        if not buffer.flags.carray:
            raise ArrayError(f"expected out.{name} as a writable C-contiguous array of {dtype}, found another layout")
    return out


def top_rows(
    topk_ids: ArrayLike | None, topk_logprobs: ArrayLike | None
) -> tuple[NDArray[np.int64], NDArray[np.float32] | None] | None:
    """Check what the model said."""
    if topk_ids is None:
        if topk_logprobs is not None:
            raise ArrayError("expected topk_ids beside topk_logprobs, found none")
        return None
    ids = np.asarray(topk_ids)
    if ids.ndim != 2 or ids.shape[1] == 0 or ids.dtype.kind not in "iu":
        raise ArrayError(f"expected topk_ids as integer[rows, k], found shape {list(ids.shape)} of {ids.dtype}")
    logprobs = None
    if topk_logprobs is not None:
        logprobs = np.asarray(topk_logprobs, dtype=np.float32)
        if logprobs.shape != ids.shape:
            raise ArrayError(f"expected topk_logprobs of shape {list(ids.shape)}, found {list(logprobs.shape)}")
    return ids.astype(np.int64), logprobs
