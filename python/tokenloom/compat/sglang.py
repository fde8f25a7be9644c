"""How does SGLang's NGRAM speculation draft with a drafter of this library?

SGLang's registry of algorithms (``SpeculativeAlgorithm.register``) wants whole workers, which run the model. Its own
NGRAM worker keeps that work apart from where drafts come from: it asks an ``NgramCorpus``. :class:`NgramCorpus` answers
the same calls, so it is enough to put it in the other's place before the server starts its workers:

```text
import sglang.srt.speculative.ngram_worker as worker
from tokenloom.compat.sglang import NgramCorpus

worker.NgramCorpus = NgramCorpus
```

The worker sends the end of each text, ``max_trie_depth`` tokens, and how long the text is. What is new is committed to
the stream of the request; where the window does not reach what was seen last, or disagrees with it, the stream begins
anew with the window. So take a window as long as the prompts (``--speculative-ngram-max-trie-depth``): it is indexed
once, later only what is new.

An answer is the last token and the nodes of a tree, filled up with copies of token 0 behind the last token, as SGLang's
own does it, and the square mask of who sees whom. SGLang itself is not imported. Cost of a call: the windows, and the
proposals.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenloom.draft import Suffix
from tokenloom.errors import ArrayError, UnsupportedFeatureError

__all__ = ["NgramCorpus"]

_OVERLAP = 32
"""Tokens of a window that are compared with what was seen, before it is believed to go on from there."""


class NgramCorpus:
    """Where SGLang's NGRAM worker gets its trees.

    Args:
        max_trie_depth: longest match, in tokens.
        draft_token_num: tokens verified a step and request, the last committed one included.
        drafter: where drafts come from. Default: ``tl.draft.Suffix(max_depth=..., min_prob=0.0)``: the worker reads
            ``draft_token_num`` rows however many are drafted.
        options: breadths, capacity and other settings of SGLang's corpus that mean nothing here.

    >>> corpus = NgramCorpus(draft_token_num=4)
    >>> tokens, mask, n_matched = corpus.batch_get(["a"], [[1, 2, 3, 4, 1, 2]], [6])
    >>> tokens.tolist(), n_matched.tolist()
    ([2, 3, 4, 1], [2])
    >>> mask.reshape(4, 4)[2].tolist()
    [1, 1, 1, 0]
    """

    def __init__(self, max_trie_depth: int = 18, draft_token_num: int = 8, drafter: Any = None, **options: Any) -> None:
        self.draft_token_num = draft_token_num
        self._max_depth, self._given = max_trie_depth, drafter
        self._drafter = self._new_drafter()
        self._requests: dict[str, _Request] = {}
        self._corpora: dict[str, int] = {}

    def batch_get(
        self, req_ids: Sequence[str], batch_tokens: Sequence[Sequence[int]], total_lens: Sequence[int]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.int64]]:
        """A tree for each request.

        Args:
            req_ids: names of the requests.
            batch_tokens: the end of each text.
            total_lens: the length of each text.

        Returns:
            ``tokens`` int64[B * n] with n = ``draft_token_num``, ``mask`` uint8[B * n * n] (1: the row sees the
            column), and how many tokens of each text occurred before, int64[B].

        Raises:
            ArrayError: an empty window, or not one entry for each request.
        """
        if not len(req_ids) == len(batch_tokens) == len(total_lens):
            found = f"{len(batch_tokens)} windows and {len(total_lens)} lengths for {len(req_ids)} requests"
            raise ArrayError(f"expected one window and one length for each request, found {found}")
        n = self.draft_token_num
        tokens = np.zeros((len(req_ids), n), np.int64)
        mask = np.zeros((len(req_ids), n, n), np.uint8)
        matched = np.zeros(len(req_ids), np.int64)
        for row, (name, window, length) in enumerate(zip(req_ids, batch_tokens, total_lens, strict=True)):
            ids = np.asarray(window, dtype=np.int64)
            if len(ids) == 0:
                raise ArrayError(f"expected the last tokens of request {name!r}, found none", argument="batch_tokens")
            stream = self._follow(name, ids, length).stream
            tree = stream.propose(n - 1)
            occurrence = getattr(stream, "occurrence", lambda: None)()
            matched[row] = 0 if occurrence is None else occurrence[0]
            tokens[row, 0] = ids[-1]
            tokens[row, 1 : len(tree) + 1] = tree.tokens
            mask[row, :, 0] = 1
            mask[row, range(n), range(n)] = 1
            mask[row, : len(tree) + 1, : len(tree) + 1] = tree.attention_mask(0)
        return tokens.reshape(-1), mask.reshape(-1), matched

    def _follow(self, name: str, window: NDArray[np.int64], length: int) -> _Request:
        """The request's stream, with what is new in the window."""
        request = self._requests.get(name)
        if request is not None:
            n_new = length - request.length
            n_known = min(len(window) - n_new, len(request.end))
            if 0 <= n_new < len(window) and n_known > 0:
                known = window[len(window) - n_new - n_known : len(window) - n_new]
                if np.array_equal(known, request.end[len(request.end) - n_known :]):
                    request.stream.commit(window[len(window) - n_new :])
                    request.length, request.end = length, window[-_OVERLAP:].copy()
                    return request
            request.stream.end()
        request = _Request(self._drafter.begin(window), length, window[-_OVERLAP:].copy())
        self._requests[name] = request
        return request

    def batch_put(self, batch_tokens: Sequence[Sequence[int]]) -> None:
        """Nothing: the streams have read the texts already."""

    def synchronize(self) -> None:
        """Nothing: what was committed is known."""

    def erase_match_state(self, req_ids: Sequence[str]) -> None:
        """These requests are complete: their texts join the history. Names that are unknown are skipped."""
        for name in req_ids:
            if request := self._requests.pop(name, None):
                request.stream.end()

    def reset(self) -> None:
        """Forget all requests, and the history unless the drafter was given."""
        for request in self._requests.values():
            request.stream.end()
        self._requests.clear()
        self._corpora.clear()
        self._drafter = self._new_drafter()

    def _new_drafter(self) -> Any:
        return Suffix(max_depth=self._max_depth, min_prob=0.0) if self._given is None else self._given

    def load_external_corpus_named(self, corpus_id: str, chunks: Iterable[Sequence[int]]) -> int:
        """Add texts to the history; returns their tokens.

        Raises:
            ValueError: there is a corpus of that name.
        """
        if corpus_id in self._corpora:
            raise ValueError(f"expected a new name of a corpus, found {corpus_id!r} again")
        n_tokens = 0
        for chunk in chunks:
            self._drafter.begin(chunk).end()
            n_tokens += len(chunk)
        return n_tokens

    def commit_external_corpus_load(self, corpus_id: str, loaded_token_count: int) -> None:
        """The corpus is there."""
        self._corpora[corpus_id] = loaded_token_count

    def list_external_corpora(self) -> dict[str, int]:
        """Tokens of each corpus that was loaded."""
        return dict(self._corpora)

    def remove_external_corpus(self, corpus_id: str) -> None:
        """Not possible: a history forgets by age.

        Raises:
            UnsupportedFeatureError: always.
        """
        raise UnsupportedFeatureError("expected a corpus to stay: a history forgets its oldest texts by itself")


class _Request:
    """One text on its way: its stream, its length, its last tokens."""

    __slots__ = ("end", "length", "stream")

    def __init__(self, stream: Any, length: int, end: NDArray[np.int64]) -> None:
        self.stream, self.length, self.end = stream, length, end
