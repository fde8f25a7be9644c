"""Which tokens will the model probably say?

A drafter proposes tokens behind the committed text; :mod:`tokenloom.verify` keeps those that the model says anyway. All
drafters are used alike: ``begin`` opens a stream, ``propose`` drafts, ``commit`` says what came, ``end`` closes.

>>> import tokenloom as tl
>>> drafter = tl.draft.Suffix()
>>> stream = drafter.begin([5, 6, 7, 8, 9, 5, 6, 7])
>>> stream.propose(budget=3).tokens.tolist()
[8, 9, 5]
>>> stream.commit([8, 1])
>>> stream.end()
"""

from __future__ import annotations

import os
from typing import Any, Self

from tokenloom._callback import Callback, Merged
from tokenloom._core import draft as _core
from tokenloom._core.draft import DraftTree
from tokenloom._cost import CostCurve, as_pair
from tokenloom._replay import Record, Replayed, replay
from tokenloom._streams import Drafter, NativeDrafter, Stream, TreeBatch
from tokenloom._templates import Fallback, SlotTemplate, next_branch, sparse_tree, with_slots

__all__ = [
    "Callback",
    "CostCurve",
    "DraftTree",
    "Drafter",
    "Fallback",
    "Merged",
    "Ngram",
    "Record",
    "Recycling",
    "Replayed",
    "SlotTemplate",
    "Spine",
    "Stream",
    "Suffix",
    "TreeBatch",
    "Trie",
    "next_branch",
    "replay",
    "sparse_tree",
    "with_slots",
]

_N_TOP = 10
_DEFAULT_MAX_BYTES = 256 * 2**20
_DEFAULT_ROWS = 2**16


class Suffix(NativeDrafter):
    """Drafts what followed earlier occurrences of the latest tokens.

    Every stream is indexed as it grows, its prompt included; a stream that has ended goes into a history that all
    streams of the drafter share. A proposal blends what followed every matching suffix in both, and takes the most
    probable nodes, wherever they branch. Committing a token takes constant time on average and a proposal time in
    proportion to its tokens, however long the streams are.

    SuffixDecoding (Oliaro et al., 2024) drafts from the same counts; the blend is prediction by partial matching
    (Cleary and Witten, 1984, section 2).

    Args:
        max_depth: longest match, in tokens, from 1 to 65536.
        max_bytes: memory of the history of ended streams, 8 bytes a token; 256 MiB where None, 0 for no history. Open
            streams come on top, with about 70 bytes a token.
        min_prob: a token is drafted when the probability that it and all before it are right is at least this. The
            default suits hardware on which a few more rows cost little; take 0.1 to 0.3 where every row costs.
        share_prompts: whether the history takes the prompts of ended streams too, or only what was committed.
        cost: if given, only the nodes are drafted that pay on this device.

    Raises:
        DraftError: an argument is out of range.
    """

    __slots__ = ("cost", "max_bytes", "max_depth", "min_prob", "share_prompts")

    max_depth: int
    """Longest match, in tokens."""

    max_bytes: int
    """Budget of the history, in bytes; ``n_bytes`` is never above it."""

    min_prob: float
    """Least probability of a drafted node."""

    share_prompts: bool
    """Does the history take prompts?"""

    cost: CostCurve | None
    """What a pass costs."""

    def __init__(
        self,
        max_depth: int = 64,
        max_bytes: int | None = None,
        min_prob: float = 0.05,
        *,
        share_prompts: bool = True,
        cost: CostCurve | None = None,
    ) -> None:
        self.max_depth, self.min_prob, self.share_prompts, self.cost = max_depth, min_prob, share_prompts, cost
        self.max_bytes = _DEFAULT_MAX_BYTES if max_bytes is None else max_bytes
        super().__init__(_core.Drafter.suffix(max_depth, self.max_bytes, min_prob, share_prompts, as_pair(cost)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the history to a file, 8 bytes a token, that appears whole or not at all.

        Raises:
            OSError: the file cannot be written.
        """
        self._drafter.save(path)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        max_depth: int = 64,
        max_bytes: int | None = None,
        min_prob: float = 0.05,
        *,
        share_prompts: bool = True,
        cost: CostCurve | None = None,
        mapped: bool = False,
    ) -> Self:
        """A drafter that begins with the history in a file.

        Args:
            path: a file that :meth:`save` wrote.
            max_depth: as in the constructor; the file serves any.
            max_bytes: as in the constructor; the newest segments of the file that fit are kept.
            min_prob: as in the constructor.
            share_prompts: as in the constructor.
            cost: as in the constructor.
            mapped: use the file where it lies: processes share its pages, it counts nothing towards ``max_bytes`` and
                is never evicted. It must not be changed meanwhile (``save`` replaces a file, which is fine).

        Raises:
            OSError: the file cannot be read.
            FormatError: the file is no history, of another version or byte order, or damaged.
        """
        drafter = cls(max_depth, max_bytes, min_prob, share_prompts=share_prompts, cost=cost)
        drafter._drafter.load(path, mapped)
        return drafter

    def __reduce__(self) -> tuple[Any, ...]:
        options = {
            name: getattr(self, name) for name in ("max_depth", "max_bytes", "min_prob", "share_prompts", "cost")
        }
        return (_restore, (type(self), options, self._drafter.to_bytes()))

    def __repr__(self) -> str:
        return f"Suffix(max_depth={self.max_depth}, max_bytes={self.max_bytes}, min_prob={self.min_prob})"


class Ngram(NativeDrafter):
    """Copies what followed the longest earlier occurrence of the latest tokens in the same text, the last one of them.

    Prompt lookup (Saxena, 2023), with the longest match and the latest place instead of the first of a fixed length,
    found without a search. Every token that it copies costs a row of the model, however unlikely.

    Args:
        min_match: shortest match that is copied from.
        max_match: longest match that is looked for.
        length: tokens copied.

    Raises:
        DraftError: an argument is out of range.

    >>> import tokenloom as tl
    >>> tl.draft.Ngram(length=4).begin([1, 2, 3, 1, 2]).propose().tokens.tolist()
    [3, 1, 2, 3]
    """

    __slots__ = ("length", "max_match", "min_match")

    def __init__(self, min_match: int = 1, max_match: int = 64, length: int = 10) -> None:
        self.min_match, self.max_match, self.length = min_match, max_match, length
        super().__init__(_core.Drafter.ngram(min_match, max_match, length))

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.min_match, self.max_match, self.length))

    def __repr__(self) -> str:
        return f"Ngram(min_match={self.min_match}, max_match={self.max_match}, length={self.length})"


class Trie(NativeDrafter):
    """Drafts the heaviest branches that followed the last two tokens.

    Branches of the text itself, prompt and answer, weigh by their frequency, those of ended streams far less (Zhao et
    al., "Lookahead", 2024). What the history evicts is gone from the branches too.

    Args:
        key_length: tokens that select the branches; fewer where those are new.
        branch_length: longest branch.
        max_bytes: memory of ended streams, 8 bytes a token; 256 MiB where None, 0 for none.

    Raises:
        DraftError: an argument is out of range.

    >>> import tokenloom as tl
    >>> tl.draft.Trie().begin([1, 2, 7, 1, 2, 8, 1, 2]).propose(budget=2).parents.tolist()
    [-1, -1]
    """

    __slots__ = ("branch_length", "key_length", "max_bytes")

    def __init__(self, key_length: int = 2, branch_length: int = 12, max_bytes: int | None = None) -> None:
        self.key_length, self.branch_length = key_length, branch_length
        self.max_bytes = _DEFAULT_MAX_BYTES if max_bytes is None else max_bytes
        super().__init__(_core.Drafter.trie(key_length, branch_length, self.max_bytes))

    def __reduce__(self) -> tuple[Any, ...]:
        options = {name: getattr(self, name) for name in self.__slots__}
        return (_restore, (type(self), options, self._drafter.to_bytes()))

    def __repr__(self) -> str:
        return f"Trie(key_length={self.key_length}, branch_length={self.branch_length}, max_bytes={self.max_bytes})"


class Recycling(NativeDrafter):
    """Drafts what the model found likely behind the same token, and the same pair, the last time.

    Token recycling (Luo et al., 2025) with a best-first tree instead of a fixed one. ``commit(ids, topk_ids, ...)``
    tells it what the model said, of rejected nodes and the prompt too; without, it learns from what comes. The last
    writer wins. What is learned is kept across streams, in memory of fixed size; it is not pickled.

    Args:
        rows: tokens, and as many pairs, that are remembered, 176 bytes each; later ones replace earlier ones.
        min_prob: a node is drafted when the probability that it and all before it are right is at least this.

    Raises:
        DraftError: an argument is out of range.

    >>> import tokenloom as tl
    >>> stream = tl.draft.Recycling().begin([5])
    >>> stream.commit([6], topk_ids=[[6, 9]], topk_logprobs=[[-0.1, -2.5]])
    >>> stream.commit([5])
    >>> stream.propose(budget=1).tokens.tolist()
    [6]
    """

    __slots__ = ("min_prob", "rows")

    def __init__(self, rows: int = _DEFAULT_ROWS, min_prob: float = 0.05) -> None:
        self.rows, self.min_prob = rows, min_prob
        super().__init__(_core.Drafter.recycling(rows, min_prob))

    @property
    def n_top(self) -> int:
        """How many of the model's likeliest tokens a ``commit`` should bring."""
        return _N_TOP

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.rows, self.min_prob))

    def __repr__(self) -> str:
        return f"Recycling(rows={self.rows}, min_prob={self.min_prob})"


class Spine(NativeDrafter):
    """Drafts one long copy with short branches of likely tokens beside it: Goose (2026), as published.

    At most 60 nodes, up to 100 where the copy is trusted; give it ``topk_ids`` at every commit.

    Args:
        rows: tokens, and as many pairs, whose likely successors are remembered, 176 bytes each.

    Raises:
        DraftError: an argument is out of range.

    >>> import tokenloom as tl
    >>> tl.draft.Spine().begin([1, 2, 3, 4, 1, 2, 3]).propose(budget=1).tokens.tolist()
    [4]
    """

    __slots__ = ("rows",)

    def __init__(self, rows: int = _DEFAULT_ROWS) -> None:
        self.rows = rows
        super().__init__(_core.Drafter.spine(rows))

    @property
    def n_top(self) -> int:
        """How many of the model's likeliest tokens a ``commit`` should bring."""
        return _N_TOP

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.rows,))

    def __repr__(self) -> str:
        return f"Spine(rows={self.rows})"


def _restore(cls: type[NativeDrafter], options: dict[str, Any], history: bytes) -> NativeDrafter:
    drafter: NativeDrafter = cls(**options)
    drafter._drafter.add_bytes(history)
    return drafter
