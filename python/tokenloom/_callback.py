"""How does a trained head, a draft model or an early exit become a drafter?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokenloom._core import draft as _core
from tokenloom._core.draft import DraftTree
from tokenloom._cost import CostCurve, as_pair
from tokenloom._streams import NativeDrafter, Stream, TreeBatch, as_buffers, top_rows
from tokenloom.errors import ArrayError, DraftError

__all__ = ["Callback", "Merged"]

Step = Callable[[NDArray[np.int32]], "tuple[int, float]"]


class Callback:
    """Drafts what a function of the text says.

    Args:
        propose: ``propose(ids, budget)`` gets the text so far, int32[n], read-only, and returns a :class:`DraftTree`,
            or for a chain its tokens, or tokens and their probabilities. A tree that is too large is cut.

    Raises:
        DraftError: what the function returned is no tree.

    >>> import tokenloom as tl
    >>> counter = tl.draft.Callback(lambda ids, budget: [int(ids[-1]) + 1, int(ids[-1]) + 2])
    >>> counter.begin([7]).propose().tokens.tolist()
    [8, 9]
    """

    __slots__ = ("_propose",)

    def __init__(self, propose: Callable[[NDArray[np.int32], int], Any]) -> None:
        self._propose = propose

    @classmethod
    def stepwise(cls, exits: Step | Sequence[tuple[Step, float]], stop: float = 0.4) -> Self:
        """Draft token by token, while the confidence lasts.

        Args:
            exits: ``step(ids) -> (token, confidence)``; or several with a threshold each, the cheapest first, for
                nested exits: the first whose confidence reaches its threshold says the token, else the last one.
            stop: the chain ends before a token whose confidence is below this.
        """
        steps: Sequence[tuple[Step, float]] = [(exits, 0.0)] if callable(exits) else list(exits)
        if not steps:
            raise DraftError("expected at least one exit, found none")

        def propose(ids: NDArray[np.int32], budget: int) -> tuple[list[int], list[float]]:
            tokens: list[int] = []
            confidences: list[float] = []
            while len(tokens) < budget:
                text = np.concatenate([ids, np.array(tokens, np.int32)])
                for step, threshold in steps:
                    token, confidence = step(text)
                    if confidence >= threshold:
                        break
                if confidence < stop:
                    break
                tokens.append(int(token))
                confidences.append(float(confidence))
            return tokens, confidences

        return cls(propose)

    def begin(
        self,
        prompt_ids: ArrayLike | Sequence[int],
        topk_ids: ArrayLike | None = None,
        topk_logprobs: ArrayLike | None = None,
    ) -> CallbackStream:
        """Open a stream with its prompt; what the model found likely is not used.

        Raises:
            ArrayError: ``prompt_ids`` are no integers of one dimension.
            DraftError: an id is negative or above 2**31 - 1.
        """
        return CallbackStream(self._propose, _core.checked_ids(prompt_ids))

    def propose_batch(
        self,
        streams: Sequence[CallbackStream],
        budget: int = 64,
        *,
        chain: bool = False,
        out: TreeBatch | None = None,
        threads: int = 1,
    ) -> list[DraftTree] | TreeBatch:
        """Ask the function about many streams, one after the other.

        Args:
            streams: streams of this drafter.
            budget: most tokens drafted for each.
            chain: draft chains only.
            out: buffers to write into, one row a stream; also bounds the budget. It is returned.
            threads: what other drafters take; the function is asked from the caller's thread alone.

        Raises:
            ArrayError: buffers of the wrong shape or type.
            DraftError: as :meth:`CallbackStream.propose`, or a stream is another drafter's.
        """
        self._check_own(streams)
        if out is not None:
            budget = min(budget, as_buffers(out).tokens.shape[1])
        trees = [stream.propose(budget, chain=chain) for stream in streams]
        if out is None:
            return trees
        _core.write_trees(trees, out)
        return out

    def commit_batch(
        self,
        streams: Sequence[CallbackStream],
        ids: Sequence[ArrayLike],
        topk_ids: Sequence[ArrayLike | None] | None = None,
        topk_logprobs: Sequence[ArrayLike | None] | None = None,
        *,
        threads: int = 1,
    ) -> None:
        """Commit to many streams. All streams take theirs, or none does; what the model found likely is not used.

        Args:
            streams: streams of this drafter.
            ids: what each text goes on with.
            topk_ids: what other drafters take.
            topk_logprobs: what other drafters take.
            threads: what other drafters take.

        Raises:
            ArrayError: not one entry for each stream, or an array of the wrong shape or type.
            DraftError: as :meth:`CallbackStream.commit`, or a stream is another drafter's.
        """
        self._check_own(streams)
        if len(ids) != len(streams):
            raise ArrayError(f"expected one entry for each of the {len(streams)} streams, found {len(ids)}")
        pairs = list(zip(streams, ids, strict=True))
        for stream, news in pairs:
            stream.continued(news)
        for stream, news in pairs:
            stream.commit(news)

    def _check_own(self, streams: Sequence[CallbackStream]) -> None:
        for index, stream in enumerate(streams):
            if getattr(stream, "_propose", None) is not self._propose:
                raise DraftError(f"expected streams of this drafter, found another's at index {index}")


class CallbackStream:
    """One text of a :class:`Callback`; used like a :class:`Stream`."""

    def __init__(self, propose: Callable[[NDArray[np.int32], int], Any], ids: NDArray[np.int32]) -> None:
        self._propose = propose
        # The function gets it as it is, and must not rewrite the text.
        ids.flags.writeable = False
        self._ids: NDArray[np.int32] | None = ids

    @property
    def n_tokens(self) -> int:
        """Tokens of the text; 0 once the stream has ended."""
        return 0 if self._ids is None else len(self._ids)

    def propose(self, budget: int = 64, *, chain: bool = False) -> DraftTree:
        """Ask the function for at most ``budget`` tokens.

        Raises:
            DraftError: the stream has ended, the budget is negative, or the answer is no tree.
        """
        if self._ids is None:
            raise DraftError("the stream has ended: no tokens can be proposed or committed")
        if budget < 0:
            raise DraftError(f"expected a budget of at least 0 tokens, found {budget}")
        found = self._propose(self._ids, budget)
        if not isinstance(found, DraftTree):
            pair = isinstance(found, tuple) and len(found) == 2 and not np.isscalar(found[0])
            tokens, probs = found if pair else (found, None)
            found = DraftTree.chain(tokens, None if probs is None else np.asarray(probs, dtype=np.float32))
        keep = np.arange(len(found)) < (min(budget, found.chain_length) if chain else budget)
        return found if keep.all() else found.cut(keep)[0]

    def commit(
        self,
        ids: ArrayLike | Sequence[int],
        topk_ids: ArrayLike | None = None,
        topk_logprobs: ArrayLike | None = None,
        *,
        tree: DraftTree | None = None,
    ) -> None:
        """Append tokens that are now part of the text.

        Raises:
            ArrayError: ``ids`` are no integers of one dimension.
            DraftError: the stream has ended, or an id is negative or above 2**31 - 1.
        """
        self._ids = self.continued(ids)

    def continued(self, ids: ArrayLike | Sequence[int]) -> NDArray[np.int32]:
        """The text with these tokens behind it; the stream stays as it is."""
        if self._ids is None:
            raise DraftError("the stream has ended: no tokens can be proposed or committed")
        text = np.concatenate([self._ids, _core.checked_ids(ids)])
        text.flags.writeable = False
        return text

    def end(self) -> None:
        """End the stream. Ending twice is nothing."""
        self._ids = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


class Merged(NativeDrafter):
    """One tree from several drafters: the best nodes by what all of them say.

    How far each kind of context of each source is trusted, and the probabilities of whole paths, are corrected by what
    came: a source that is wrong on this text, or repeats what another one knows, loses its say. A stream hands on what
    it learned of its sources when it ends; that is pickled with the drafter.

    Args:
        drafters: any of this module but ``Merged``, each at most once; their shared state is theirs, their own floors
            are not used.
        min_prob: a node is drafted when the probability that it and all before it are right is at least this.
        cost: if given, only the nodes are drafted that pay on this device.

    Raises:
        DraftError: an argument is out of range, or a drafter is of another kind or there twice.

    >>> import tokenloom as tl
    >>> drafter = tl.draft.Merged([tl.draft.Suffix(), tl.draft.Recycling()])
    >>> drafter.begin([5, 6, 7, 5, 6]).propose(budget=1).tokens.tolist()
    [7]
    """

    __slots__ = ("cost", "drafters", "min_prob")

    drafters: tuple[NativeDrafter | Callback, ...]
    """What is merged."""

    min_prob: float
    """Least probability of a drafted node."""

    cost: CostCurve | None
    """What a pass costs."""

    def __init__(
        self,
        drafters: Sequence[NativeDrafter | Callback],
        min_prob: float = 0.04,
        *,
        cost: CostCurve | None = None,
    ) -> None:
        self.drafters, self.min_prob, self.cost = tuple(drafters), min_prob, cost
        unknown = [type(one).__name__ for one in self.drafters if not isinstance(one, (NativeDrafter, Callback))]
        if unknown or not self.drafters:
            raise DraftError(f"expected drafters of tokenloom.draft, found {', '.join(unknown) or 'none'}")
        if any(isinstance(one, Merged) for one in self.drafters):
            raise DraftError("expected drafters other than Merged, found one\nhint: list what it merges in its place")
        if len({id(one) for one in self.drafters}) < len(self.drafters):
            raise DraftError(f"expected each drafter at most once, found one twice in {list(self.drafters)}")
        native = [one._drafter for one in self.drafters if isinstance(one, NativeDrafter)]
        super().__init__(_core.Drafter.merged(native, len(self._callbacks), min_prob, as_pair(cost)))

    @property
    def n_top(self) -> int:
        """How many of the model's likeliest tokens a ``commit`` should bring, for the drafters that learn from them."""
        return max((one.n_top for one in self.drafters if isinstance(one, NativeDrafter)), default=0)

    @property
    def _callbacks(self) -> list[Callback]:
        return [one for one in self.drafters if isinstance(one, Callback)]

    def begin(
        self,
        prompt_ids: ArrayLike | Sequence[int],
        topk_ids: ArrayLike | None = None,
        topk_logprobs: ArrayLike | None = None,
    ) -> Stream:
        """Open a stream with its prompt; see :meth:`Suffix.begin`."""
        if not self._callbacks:
            return super().begin(prompt_ids, topk_ids, topk_logprobs)
        stream = MergedStream(self._drafter, prompt_ids, top_rows(topk_ids, topk_logprobs))
        stream._callbacks = [callback.begin(prompt_ids) for callback in self._callbacks]
        return stream

    def propose_batch(self, streams: Sequence[Stream], budget: int = 64, **options: Any) -> Any:
        """Propose for many streams in one call; see :meth:`Suffix.propose_batch`."""
        for stream in streams:
            if isinstance(stream, MergedStream):
                stream.guide(stream.told(budget))
        return super().propose_batch(streams, budget, **options)

    def commit_batch(self, streams: Sequence[Stream], ids: Sequence[ArrayLike], *args: Any, **options: Any) -> None:
        """Commit to many streams in one call; see :meth:`Suffix.commit_batch`."""
        super().commit_batch(streams, ids, *args, **options)
        for stream, news in zip(streams, ids, strict=True):
            if isinstance(stream, MergedStream):
                stream.follow(news)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_merge, (list(self.drafters), self.min_prob, self.cost, self._drafter.learned()))

    def __repr__(self) -> str:
        return f"Merged({list(self.drafters)}, min_prob={self.min_prob})"


def _merge(
    drafters: list[NativeDrafter | Callback], min_prob: float, cost: CostCurve | None, learned: NDArray[np.float32]
) -> Merged:
    merged = Merged(drafters, min_prob, cost=cost)
    merged._drafter.learn_from(learned)
    return merged


class MergedStream(Stream):
    """A stream that asks functions first, while no lock is held."""

    __slots__ = ("_callbacks",)

    _callbacks: list[CallbackStream]

    def told(self, budget: int) -> list[DraftTree]:
        """What the functions say."""
        return [callback.propose(max(budget, 0)) for callback in self._callbacks]

    def follow(self, ids: ArrayLike | Sequence[int]) -> None:
        """The functions see what was committed."""
        for callback in self._callbacks:
            callback.commit(ids)

    def propose(self, budget: int = 64, *, chain: bool = False) -> DraftTree:
        """Draft at most ``budget`` tokens; see :meth:`Stream.propose`."""
        self.guide(self.told(budget))
        return super().propose(budget, chain=chain)

    def commit(
        self,
        ids: ArrayLike | Sequence[int],
        topk_ids: ArrayLike | None = None,
        topk_logprobs: ArrayLike | None = None,
        *,
        tree: DraftTree | None = None,
    ) -> None:
        """Append tokens; see :meth:`Stream.commit`."""
        super().commit(ids, topk_ids, topk_logprobs, tree=tree)
        self.follow(ids)

    def end(self) -> None:
        """End the stream; see :meth:`Stream.end`."""
        super().end()
        for callback in self._callbacks:
            callback.end()
