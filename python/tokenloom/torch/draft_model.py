"""How does a small model draft for a large one, when they do not share a vocabulary?

Both vocabularies spell bytes. The committed tokens are spelled out and read by the small model as tokens of its own;
what it says is spelled out again and cut into tokens of the large model, as its tokenizer would cut the whole text. The
draft is a function of the committed text and of the small model alone, not of the large model's draw, so walk
verification of it is lossless whatever the two vocabularies are, and however badly the cutting fits: a token that does
not fit is a draft that is rejected. With one vocabulary the detour through bytes is left out.

Drafting stops where the small model is no longer sure enough, by a fixed probability or by a threshold that adapts, and
may follow several beginnings, each as far as its share (Xu et al., "LLMCad", 2023).

Cost: one forward pass of the small model a token it drafts, and one over what was committed since; a pass that turns to
another branch reads that branch's drafted tokens again. A stream re-reads only the last few tokens of its own where the
texts part, so a step does not depend on the length of the text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tokenloom.draft import DraftTree, Fallback, next_branch
from tokenloom.errors import ArrayError, DraftError
from tokenloom.exactness import TokenKind
from tokenloom.torch.batch import Batch, largest_exact_batch
from tokenloom.torch.options import check_count

__all__ = ["DraftModel"]

_SEAM = 8  # tokens that are cut again when text is added: no tokenizer looks back further but in one long word


class DraftModel:
    """A drafter that asks a model for its most probable continuations.

    Args:
        model: a causal language model with attention layers and a key-value cache, in evaluation mode.
        tokenizer: the :class:`tokenloom.Tokenizer` of the drafting model; None where the vocabulary is the target's.
        target_tokenizer: that of the model that verifies; needed with ``tokenizer``, and only then.
        min_prob: a branch ends before a token that makes its probability fall below this, by the drafting model.
        fallback: a threshold in the place of ``min_prob`` that learns from what is accepted; one object serves all
            texts of the drafter, and goes on learning.
        branches: how many of the most probable first tokens are followed. Each next token goes to the branch that is
            furthest behind its share (:func:`tokenloom.draft.next_branch`).

    Tokens of the text that the drafting model cannot know, of a larger vocabulary or its padding, are left out of what
    it reads.

    Raises:
        ArrayError: one of the two tokenizers is missing, or ``branches`` is no integer of at least 1.
        DraftError: ``min_prob`` is not from 0 to 1, or ``fallback`` is none.
        UnsupportedFeatureError: the model has layers that cannot take a token back, or a tokenizer's tokens are no
            bytes.

    ```python
    import tokenloom as tl
    from transformers import LlamaConfig, LlamaForCausalLM

    tok = tl.Tokenizer.from_file("tests/data/tiny.tokenizer.json")
    shape = {"vocab_size": tok.vocab_size, "intermediate_size": 32, "num_attention_heads": 2, "num_key_value_heads": 2}
    large = LlamaForCausalLM(LlamaConfig(hidden_size=32, num_hidden_layers=2, **shape)).eval()
    small = LlamaForCausalLM(LlamaConfig(hidden_size=16, num_hidden_layers=1, **shape)).eval()
    [plain] = tl.torch.generate(large, tok, "the cat", max_new_tokens=8)
    for drafter in (
        tl.torch.DraftModel(small),
        tl.torch.DraftModel(small, fallback=tl.draft.Fallback(0.001), branches=3),
    ):
        [drafted] = tl.torch.generate(large, tok, "the cat", max_new_tokens=8, drafter=drafter)
        assert drafted.ids.tolist() == plain.ids.tolist()
    ```
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any = None,
        target_tokenizer: Any = None,
        min_prob: float = 0.1,
        *,
        fallback: Fallback | None = None,
        branches: int = 1,
    ) -> None:
        largest_exact_batch(model, 1)
        if (tokenizer is None) != (target_tokenizer is None):
            missing, found = (
                ("tokenizer", "target_tokenizer") if tokenizer is None else ("target_tokenizer", "tokenizer")
            )
            raise ArrayError(f"expected both tokenizers or none, found {found} alone", argument=missing)
        if not 0 <= min_prob <= 1:
            raise DraftError(f"expected a min_prob from 0 to 1, found {min_prob}")
        if fallback is not None and not isinstance(fallback, Fallback):
            raise DraftError(f"expected fallback as a tl.draft.Fallback, found {type(fallback).__name__}")
        check_count(branches, 1, "branches")
        self._model, self._tokenizer, self._target = model, tokenizer, target_tokenizer
        self._min_prob, self._fallback, self._branches = min_prob, fallback, int(branches)
        config = model.config.get_text_config(decoder=True)
        self._n_positions: int | None = getattr(config, "max_position_embeddings", None)
        n_own = int(config.vocab_size)
        self._is_own = np.ones(n_own, np.bool_) if tokenizer is None else _tokens_of(tokenizer)[:n_own]
        self._is_theirs = self._is_own if target_tokenizer is None else _tokens_of(target_tokenizer)

    def begin(self, prompt_ids: Any) -> _Stream:
        """Open a stream with its prompt."""
        stream = _Stream(self)
        stream.commit(prompt_ids)
        return stream


def _tokens_of(tokenizer: Any) -> NDArray[np.bool_]:
    """Which ids are tokens: ids may have gaps."""
    is_token: NDArray[np.bool_] = tokenizer.vocabulary().kinds != TokenKind.ABSENT
    return is_token


@dataclass
class _Branch:
    """Tokens that follow each other, and how probable each is behind the ones before it."""

    tokens: list[int] = field(default_factory=list)
    probs: list[float] = field(default_factory=list)

    @property
    def confidence(self) -> float:
        return float(np.prod(self.probs))


class _Stream:
    """One text, in the target's tokens and in the drafting model's."""

    def __init__(self, drafter: DraftModel) -> None:
        self._drafter = drafter
        self._tokenizer, self._target = drafter._tokenizer, drafter._target
        self._batch = Batch(drafter._model, 1)
        self._held: list[int] = []  # what the cache holds
        self._own: list[int] = []  # the text in the drafting model's tokens
        self._theirs: list[int] = []  # its end in the target's tokens
        self._drafted: list[_Branch] = []  # what was proposed last, in the target's tokens

    def commit(self, ids: Any) -> None:
        new = [int(token) for token in ids]
        self._learn(new)
        is_known = self._drafter._is_theirs
        new = [token for token in new if token < len(is_known) and is_known[token]]
        if self._tokenizer is None:
            self._own += new
            return
        self._theirs = (self._theirs + new)[-_SEAM:]
        seam = self._own[-_SEAM:]
        text = self._tokenizer.decode_bytes(seam) + self._target.decode_bytes(new)
        del self._own[len(self._own) - len(seam) :]
        self._own += self._tokenizer.encode_list(text)

    def propose(self, budget: int) -> DraftTree:
        self._drafted = []
        if budget > 0 and self._own:
            self._drafted = self._continue(budget)
            if self._tokenizer is not None:
                self._drafted = [self._cut_again(branch) for branch in self._drafted]
        return _joined(self._drafted, budget)

    def end(self) -> None:
        self._batch = Batch(self._drafter._model, 1)
        self._held, self._own, self._theirs, self._drafted = [], [], [], []

    def _learn(self, new: list[int]) -> None:
        """The threshold learns from the branch that the text followed furthest."""
        if self._drafter._fallback is None or not self._drafted:
            return
        branch = max(self._drafted, key=lambda branch: _n_common(branch.tokens, new))
        n_right = _n_common(branch.tokens, new)
        # Where the text ended in the middle of the draft, nothing was found wrong.
        n_judged = n_right if n_right == len(new) else len(branch.tokens)
        self._drafter._fallback.update(n_right, n_judged, branch.confidence)
        self._drafted = []

    def _continue(self, budget: int) -> list[_Branch]:
        """The drafting model's most probable beginnings, each as far as it is sure of it, the surest first."""
        law = self._law_after([])
        if law is None:
            return []
        probs, tokens = law.topk(min(self._drafter._branches, budget, len(law)))
        firsts = zip(tokens.tolist(), probs.tolist(), strict=True)
        branches = [_Branch([token], [prob]) for token, prob in firsts if prob and not self._is_over(prob)]
        growing, n_drafted = list(branches), len(branches)
        while growing and n_drafted < budget:
            at = next_branch([branch.confidence for branch in growing], [len(branch.tokens) for branch in growing])
            branch = growing[at]
            law = self._law_after(branch.tokens)
            best = None if law is None else law.max(dim=-1)
            if best is None or self._is_over(branch.confidence * float(best.values)):
                del growing[at]
                continue
            branch.tokens.append(int(best.indices))
            branch.probs.append(float(best.values))
            n_drafted += 1
        return sorted(branches, key=lambda branch: -branch.confidence)

    def _is_over(self, confidence: float) -> bool:
        fallback = self._drafter._fallback
        return confidence < self._drafter._min_prob if fallback is None else fallback.should_verify([confidence])

    def _law_after(self, path: list[int]) -> torch.Tensor | None:
        """What the drafting model says behind the text and ``path``, or None where it has no position for it.

        The text itself, an empty path, is asked about first.
        """
        start = len(self._own) if path else 0
        wanted, held = path or self._own, self._held[start:]
        n_common = _n_common(held, wanted[:-1])
        if n_common < len(held):
            self._batch.forget(len(held) - n_common)
            del self._held[start + n_common :]
        block, n_positions = wanted[n_common:], self._drafter._n_positions
        if n_positions is not None and len(self._held) + len(block) > n_positions:
            return None
        logits = self._batch.feed([block])[0].double()
        self._held += block
        is_own = torch.from_numpy(self._drafter._is_own)
        return torch.softmax(logits[: len(is_own)].where(is_own, -torch.inf), dim=-1)

    def _cut_again(self, branch: _Branch) -> _Branch:
        """Tokens of the drafting model as tokens of the target, each with the probability of what it spells."""
        spelled = [self._tokenizer.token_bytes(token) for token in branch.tokens]
        text = b"".join(spelled)
        seam = self._target.decode_bytes(self._theirs)
        whole = self._target.encode_list(seam + text, allowed_special=set())
        n_seam = len(self._theirs)
        fits = whole[:n_seam] == self._theirs
        cut = whole[n_seam:] if fits else self._target.encode_list(text, allowed_special=set())
        ends = np.cumsum([len(piece) for piece in spelled])
        logs = np.concatenate([[0.0], np.cumsum(np.log(branch.probs))])
        found: list[float] = []
        at, before = 0, 0.0
        for token in cut:
            at += len(self._target.token_bytes(token))
            n_covering = min(int(np.searchsorted(ends, at)) + 1, len(ends))
            found.append(float(np.exp(logs[n_covering] - before)))
            before = float(logs[n_covering])
        # The last token would perhaps have been longer, had the draft gone on.
        n_sure = len(cut) - 1 if len(cut) > 1 else len(cut)
        return _Branch([int(token) for token in cut[:n_sure]], found[:n_sure])


def _n_common(one: list[int], other: list[int]) -> int:
    """How many tokens both begin with."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _joined(branches: list[_Branch], budget: int) -> DraftTree:
    """The branches as one tree of at most ``budget`` nodes; what they begin with in common is there once."""
    nodes: dict[tuple[int, int], int] = {}
    probs: list[float] = []
    for branch in branches:
        at = -1
        for token, prob in zip(branch.tokens, branch.probs, strict=True):
            if (at, token) not in nodes:
                if len(nodes) >= budget:
                    break
                nodes[at, token] = len(nodes)
                probs.append(prob)
            at = nodes[at, token]
    parents = [parent for parent, _ in nodes]
    return DraftTree([token for _, token in nodes], parents, np.array(probs, np.float32))
