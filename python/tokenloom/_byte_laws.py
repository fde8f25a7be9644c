"""What does a byte law say about tokens of another vocabulary? Public in ``tokenloom.bytelevel``."""

from __future__ import annotations

import heapq
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokenloom._byte_pools import State
from tokenloom._core.bytelevel import TokenTrie
from tokenloom.errors import ParamsError
from tokenloom.tokenizer import Tokenizer

__all__ = ["FIM_FORMATS", "TokenLaw", "fim_context", "token_law"]


class TokenLaw(NamedTuple):
    """The law of the next token of a foreign vocabulary. See :func:`token_law`.

    Attributes:
        log_probs: float64 ``[V]``, natural.
        end: the natural log-probability of an added token or the end.
        unresolved: the mass that was not looked into: a bound of the total variation.
    """

    log_probs: NDArray[np.float64]
    end: float
    unresolved: float


def token_law(state: State, tokenizer: Tokenizer, max_tv: float = 1e-3) -> TokenLaw:
    """Which token of another vocabulary comes next: the longest one that the text to come starts with.

    A byte law makes a law of texts, and every text starts with exactly one longest token of a vocabulary that has all
    bytes, so this is a distribution. It is what distillation and drafting across vocabularies need; the tokenizer's own
    first token differs from the longest one where its merges do.

    The byte trie of the vocabulary is followed from the most probable prefix on until at most ``max_tv`` of the mass is
    open, which then counts for the longest token seen so far. One :meth:`ByteState.next_byte` a prefix.

    Args:
        state: where the text stands; it is not moved.
        tokenizer: whose vocabulary is asked for.
        max_tv: how far the answer may be from the exact law, in total variation.

    Raises:
        ParamsError: ``max_tv`` is not in [0, 1).
    """
    if not 0 <= max_tv < 1:
        raise ParamsError(f"expected max_tv in [0, 1), found {max_tv}")
    trie = TokenTrie(tokenizer._core)
    law = np.zeros(tokenizer.vocab_size)
    end = spelled = 0.0
    # Largest mass first: its node, the longest token so far, a state at the node's parent and the byte behind it.
    root = (-1.0, 0, trie.root(), -1, state, -1)
    queue: list[tuple[float, int, tuple[int, int, int], int, State, int]] = [root]
    number, open_mass = 1, 1.0
    while queue and open_mass > max_tv:
        negative, _, node, longest, parent, byte = heapq.heappop(queue)
        open_mass += negative
        here = parent.fork()
        if byte >= 0:
            here.push(byte)
        probs = -negative * np.exp(here.next_byte())
        if longest < 0:
            end += probs[256]
        else:
            law[longest] += probs[256]
        left = 1.0 * probs[:256]
        for next_byte, child in trie.children(node):
            mass, left[next_byte] = float(left[next_byte]), 0.0
            if mass == 0.0:
                continue
            ids = trie.exact(child)
            token = ids[0] if ids else longest
            if child[1] - child[0] == len(ids):
                law[token] += mass
            else:
                heapq.heappush(queue, (-mass, number, child, token, here, next_byte))
                number += 1
                open_mass += mass
        if longest >= 0:
            law[longest] += left.sum()
        else:
            spelled += left.sum()
    for negative, _, _, longest, _, _ in queue:
        if longest >= 0:
            law[longest] -= negative
    with np.errstate(divide="ignore"):
        return TokenLaw(np.log(law), float(np.log(end)), float(max(open_mass, 0.0) if queue else 0.0) + float(spelled))


FIM_FORMATS: dict[str, tuple[str, str, str]] = {
    "starcoder": ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    "qwen2.5-coder": ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    "codegemma": ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    "deepseek-coder": ("<\uff5cfim\u2581begin\uff5c>", "<\uff5cfim\u2581hole\uff5c>", "<\uff5cfim\u2581end\uff5c>"),
}
"""What stands before the prefix, before the suffix and before the middle."""


def fim_context(tokenizer: Tokenizer, prefix: bytes, suffix: bytes, format: str = "starcoder") -> list[int]:
    """The tokens after which a model fills in the middle: use as ``model.start(b"", context=...)``.

    Prefix and suffix are plain text, also where they spell an added token. ``format`` is a name of :data:`FIM_FORMATS`;
    DeepSeek's puts its last mark behind the suffix, as the others do.

    Raises:
        ParamsError: an unknown format, or the tokenizer lacks one of its tokens.
    """
    if format not in FIM_FORMATS:
        raise ParamsError(f"expected a format of {sorted(FIM_FORMATS)}, found {format!r}")
    marks = []
    for mark in FIM_FORMATS[format]:
        # Not every file calls them special, DeepSeek's does not: an added token is read as one token all the same.
        ids = tokenizer.encode(mark).tolist()
        if len(ids) != 1:
            raise ParamsError(f"expected a tokenizer with the token {mark!r} of the format {format!r}")
        marks += ids
    parts = [tokenizer.encode(part, allowed_special=()).tolist() for part in (prefix, suffix)]
    return [marks[0], *parts[0], marks[1], *parts[1], marks[2]]
