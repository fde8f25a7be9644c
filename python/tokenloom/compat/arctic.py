"""How do programs that draft with ``arctic_inference.suffix_decoding`` run on this drafter?

:class:`SuffixDecodingCache` has the calls, the arguments and the errors of the class in arctic-inference 0.3.0, so that
vLLM's suffix proposer and Arctic's own plug-in use it as it is. The drafts come from ``tl.draft.Suffix``: they are
blended from all matches and calibrated, where the original takes one match and its raw ratios, so they are not the
same. Three more things differ. Answers are shared when their request stops, not while it runs.
``evict_cached_response`` frees the name at once, while the text itself goes when the budget of bytes needs its room.
``max_spec_tokens=None``, the documented default, works: it is the depth.

Example:
    >>> from tokenloom.compat.arctic import SuffixDecodingCache
    >>> cache = SuffixDecodingCache(max_tree_depth=24, max_cached_requests=100)
    >>> cache.start_request("a", [1, 2, 3, 4, 5, 1, 2])
    >>> cache.add_active_response("a", [3])
    >>> cache.speculate("a", [1, 2, 3], max_spec_tokens=3).token_ids
    [4, 5, 1]
    >>> cache.stop_request("a")
"""

from __future__ import annotations

import math
import operator
from collections.abc import Hashable, KeysView, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenloom._core import draft as _core
from tokenloom.draft import Suffix
from tokenloom.errors import ArrayError, DraftError

__all__ = ["SuffixDecodingCache", "SuffixDecodingDraft"]

_MAX_REQUESTS = 2**31 - 1
_LEAST_PROB = 0.01
_MAX_DEPTH = 65536


@dataclass
class SuffixDecodingDraft:
    """A draft.

    Attributes:
        token_ids: the drafted tokens.
        parents: index of each token's parent, -1 for a child of the context's last token.
        probs: how probable it is that the text goes on with the path to each token.
        score: the sum of ``probs``, which is the expected number of accepted tokens.
        match_len: how many of the last tokens occurred before, in the request's own text or in an answer before it.
    """

    token_ids: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    probs: list[float] = field(default_factory=list)
    score: float = 0.0
    match_len: int = 0


class SuffixDecodingCache:
    """Drafts for requests, from their own text and from the answers of requests before them.

    Args:
        max_tree_depth: longest match, in tokens, of which at most 65536 count.
        max_cached_requests: most names of answered requests that are remembered, the oldest going first; -1 for no
            limit. 0: nothing is drafted from other requests.
        max_bytes: memory of answers; None for the drafter's own default. Not an argument of the original.

    Raises:
        ValueError: ``max_cached_requests`` is 2**31 or more.
    """

    def __init__(
        self, max_tree_depth: int = 64, max_cached_requests: int = -1, *, max_bytes: int | None = None
    ) -> None:
        if max_cached_requests > _MAX_REQUESTS:
            raise DraftError(f"expected max_cached_requests of at most {_MAX_REQUESTS}, found {max_cached_requests}")
        self._max_tree_depth = max_tree_depth
        self._max_cached_requests = max_cached_requests
        n_bytes = 0 if max_cached_requests == 0 else max_bytes
        self._drafter = Suffix(min(max_tree_depth, _MAX_DEPTH), n_bytes, _LEAST_PROB, share_prompts=False)
        self._streams: dict[Hashable, Any] = {}
        self._texts: dict[Hashable, list[NDArray[np.int32]]] = {}
        self._cached: dict[Hashable, None] = {}

    @property
    def max_tree_depth(self) -> int:
        """Longest match, in tokens."""
        return self._max_tree_depth

    @property
    def max_cached_requests(self) -> int:
        """Most names of answered requests; -1 for no limit."""
        return self._max_cached_requests

    @property
    def active_requests(self) -> KeysView[Hashable]:
        """Requests that were started and not stopped."""
        return self._streams.keys()

    @property
    def cached_requests(self) -> KeysView[Hashable]:
        """Requests whose answers others draft from."""
        return self._cached.keys()

    def start_request(self, req_id: Hashable, prompt_token_ids: NDArray[np.int32] | Sequence[int]) -> None:
        """A request begins.

        Args:
            req_id: its name.
            prompt_token_ids: its prompt, a sequence of ints or a contiguous int32[n].

        Raises:
            ValueError: the name is in use by an active request, or the array is not such.
            TypeError: what is given is no sequence of token ids.
        """
        if req_id in self._streams:
            raise DraftError(f"expected a request that is not active, found {req_id!r}")
        prompt = _tokens(prompt_token_ids)
        self._streams[req_id] = self._drafter.begin(prompt)
        self._texts[req_id] = [prompt]
        if self._max_cached_requests != 0:
            self._cached.pop(req_id, None)
            self._cached[req_id] = None
            while 0 < self._max_cached_requests < len(self._cached):
                del self._cached[next(name for name in self._cached if name != req_id)]

    def stop_request(self, req_id: Hashable) -> None:
        """A request is complete.

        Raises:
            ValueError: the request is not active.
        """
        self._stream(req_id)
        del self._texts[req_id]
        self._streams.pop(req_id).end()

    def add_active_response(self, req_id: Hashable, token_ids: NDArray[np.int32] | Sequence[int]) -> None:
        """The answer goes on.

        Raises:
            ValueError: the request is not active, or the array is not a contiguous int32[n].
            TypeError: what is given is no sequence of token ids.
        """
        stream = self._stream(req_id)
        tokens = _tokens(token_ids)
        stream.commit(tokens)
        self._texts[req_id].append(tokens)

    def evict_cached_response(self, req_id: Hashable) -> None:
        """Free the name of an answered request.

        Raises:
            ValueError: there is no such answer.
        """
        if req_id not in self._cached:
            raise DraftError(f"expected a cached request, found {req_id!r}")
        del self._cached[req_id]

    def speculate(
        self,
        req_id: Hashable,
        context: NDArray[np.int32] | Sequence[int],
        max_spec_tokens: int | None = None,
        max_spec_factor: float = 1.0,
        max_spec_offset: float = 0.0,
        min_token_prob: float = 0.1,
        use_tree_spec: bool = False,
    ) -> SuffixDecodingDraft:
        """Draft what follows ``context``.

        Args:
            req_id: an active request.
            context: tokens to continue, of which the last ``max_tree_depth`` count. Where they are not the end of the
                request's own text, that text is read again, which takes time in proportion to its length.
            max_spec_tokens: most tokens; None for ``max_tree_depth``.
            max_spec_factor: with ``max_spec_offset``: where the longest match is of ``m`` tokens, at most
                ``max_spec_factor * m + max_spec_offset`` are drafted.
            max_spec_offset: see there.
            min_token_prob: least probability of the path to a token; below 0.01 it is 0.01.
            use_tree_spec: draft a tree, not its main chain alone.

        Raises:
            ValueError: the request is not active, the array is not a contiguous int32[n], or the limits are NaN.
            TypeError: ``context`` is no sequence of token ids, or ``max_spec_tokens`` no int.
        """
        stream = self._stream(req_id)
        tail = _tokens(context)[-self._max_tree_depth :]
        if not len(tail):
            return SuffixDecodingDraft()
        budget = self._max_tree_depth if max_spec_tokens is None else operator.index(max_spec_tokens)
        if not np.array_equal(tail, self._end_of(req_id, len(tail))):
            stream = self._drafter.begin(np.concatenate([*self._texts[req_id], tail]))
        match_len = stream.n_matched()
        limit = max_spec_factor * match_len + max_spec_offset + 1e-6
        if math.isnan(limit):
            found = f"{max_spec_factor} and {max_spec_offset}"
            raise DraftError(f"expected numbers as max_spec_factor and max_spec_offset, found {found}")
        budget = int(max(min(budget, limit), 0))
        if budget == 0 or match_len == 0:
            return SuffixDecodingDraft(match_len=match_len)
        return _draft(stream.propose(budget=budget, chain=not use_tree_spec), match_len, min_token_prob, use_tree_spec)

    def _stream(self, req_id: Hashable) -> Any:
        if req_id not in self._streams:
            raise DraftError(f"expected an active request, found {req_id!r}")
        return self._streams[req_id]

    def _end_of(self, req_id: Hashable, n_tokens: int) -> NDArray[np.int32]:
        """The last tokens of a request's text."""
        parts: list[NDArray[np.int32]] = []
        for part in reversed(self._texts[req_id]):
            parts.append(part[-n_tokens:])
            n_tokens -= len(parts[-1])
            if n_tokens <= 0:
                break
        return np.concatenate(parts[::-1])


def _draft(tree: Any, match_len: int, min_prob: float, as_tree: bool) -> SuffixDecodingDraft:
    """A tree of ours, whose nodes have probabilities given their parents, as theirs."""
    draft = SuffixDecodingDraft(match_len=match_len)
    place = {-1: -1}
    nodes = zip(tree.tokens.tolist(), tree.parents.tolist(), tree.probs.tolist(), strict=True)
    for node, (token, parent, prob) in enumerate(nodes):
        if parent not in place or not (as_tree or parent == node - 1):
            continue
        reached = prob * (1.0 if parent < 0 else draft.probs[place[parent]])
        if not reached >= min_prob:  # as the original, none where it is NaN
            continue
        place[node] = len(draft.token_ids)
        draft.token_ids.append(token)
        draft.parents.append(place[parent])
        draft.probs.append(reached)
    draft.score = sum(draft.probs)
    return draft


def _tokens(values: Any) -> NDArray[np.int32]:
    if isinstance(values, np.ndarray):
        if values.ndim != 1 or values.dtype != np.int32 or not values.flags.contiguous:
            found = f"{values.dtype}{list(values.shape)}"
            raise ArrayError(f"expected token ids as a contiguous int32[n], found {found}", argument="token_ids")
    try:
        return _core.checked_ids(values)
    except DraftError as error:
        # The original raises TypeError where an id does not fit.
        raise ArrayError(str(error), argument="token_ids") from None
