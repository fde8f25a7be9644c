"""How does a small model draft for a large one, when they do not share a vocabulary?

Both vocabularies spell bytes. The committed tokens are spelled out and read by the small model as tokens of its own;
what it says is spelled out again and cut into tokens of the large model, as its tokenizer would cut the whole text. The
draft is a function of the committed text and of the small model alone, not of the large model's draw, so walk
verification of it is lossless whatever the two vocabularies are, and however badly the cutting fits: a token that does
not fit is a draft that is rejected. With one vocabulary the detour through bytes is left out.

Cost: one forward pass of the small model a token it drafts, and one over what was committed since. A stream re-reads
only the last few tokens of its own where the texts part, so a step does not depend on the length of the text.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tokenloom.draft import DraftTree
from tokenloom.torch.batch import Batch, largest_exact_batch

__all__ = ["DraftModel"]

_SEAM = 8  # tokens that are cut again when text is added: no tokenizer looks back further but in one long word


class DraftModel:
    """A drafter that asks a model for its most probable continuation.

    Args:
        model: a causal language model with attention layers and a key-value cache, in evaluation mode.
        tokenizer: the :class:`tokenloom.Tokenizer` of the drafting model; None where the vocabulary is the target's.
        target_tokenizer: that of the model that verifies; needed with ``tokenizer``.
        min_prob: the draft ends before a token that makes its probability fall below this, by the drafting model.

    ```python
    import tokenloom as tl
    from transformers import LlamaConfig, LlamaForCausalLM

    tok = tl.Tokenizer.from_file("tests/data/tiny.tokenizer.json")
    shape = {"vocab_size": tok.vocab_size, "intermediate_size": 32, "num_attention_heads": 2, "num_key_value_heads": 2}
    large = LlamaForCausalLM(LlamaConfig(hidden_size=32, num_hidden_layers=2, **shape)).eval()
    small = LlamaForCausalLM(LlamaConfig(hidden_size=16, num_hidden_layers=1, **shape)).eval()
    [plain] = tl.torch.generate(large, tok, "the cat", max_new_tokens=8)
    [drafted] = tl.torch.generate(large, tok, "the cat", max_new_tokens=8, drafter=tl.torch.DraftModel(small))
    assert drafted.ids.tolist() == plain.ids.tolist()
    ```
    """

    def __init__(self, model: Any, tokenizer: Any = None, target_tokenizer: Any = None, min_prob: float = 0.1) -> None:
        largest_exact_batch(model, 1)
        self._model = model
        self._tokenizer = tokenizer
        self._target = target_tokenizer
        self._min_prob = min_prob

    def begin(self, prompt_ids: Any) -> _Stream:
        """Open a stream with its prompt."""
        stream = _Stream(self._model, self._tokenizer, self._target, self._min_prob)
        stream.commit(prompt_ids)
        return stream


class _Stream:
    """One text, in the target's tokens and in the drafting model's."""

    def __init__(self, model: Any, tokenizer: Any, target: Any, min_prob: float) -> None:
        self._model, self._tokenizer, self._target, self._min_prob = model, tokenizer, target, min_prob
        self._batch = Batch(model, 1)
        self._read: list[int] = []  # what the cache holds
        self._own: list[int] = []  # the text in the drafting model's tokens
        self._theirs: list[int] = []  # its end in the target's tokens

    def commit(self, ids: Any) -> None:
        new = [int(token) for token in ids]
        if self._tokenizer is None:
            self._own += new
            return
        self._theirs = (self._theirs + new)[-_SEAM:]
        seam = self._own[-_SEAM:]
        text = self._tokenizer.decode_bytes(seam) + self._target.decode_bytes(new)
        del self._own[len(self._own) - len(seam) :]
        self._own += self._tokenizer.encode_list(text)

    def propose(self, budget: int) -> DraftTree:
        if budget <= 0 or not self._own:
            return DraftTree(tokens=[], parents=[])
        tokens, probs = self._continue(budget)
        if self._tokenizer is not None:
            tokens, probs = self._cut_again(tokens, probs)
        return DraftTree(tokens[:budget], range(-1, min(budget, len(tokens)) - 1), np.array(probs[:budget], np.float32))

    def end(self) -> None:
        self._batch = Batch(self._model, 1)
        self._read, self._own, self._theirs = [], [], []

    def _continue(self, budget: int) -> tuple[list[int], list[float]]:
        """The drafting model's most probable next tokens, one after the other."""
        n_common = 0
        for mine, wanted in zip(self._read, self._own[:-1], strict=False):
            if mine != wanted:
                break
            n_common += 1
        if n_common < len(self._read):
            self._batch.forget(len(self._read) - n_common)
            del self._read[n_common:]
        tokens: list[int] = []
        probs: list[float] = []
        block, reached = self._own[n_common:], 1.0
        limit = getattr(self._model.config.get_text_config(decoder=True), "max_position_embeddings", None)
        while len(tokens) < budget and (limit is None or len(self._read) + len(block) <= limit):
            logits = self._batch.feed([block])[0].double()
            self._read += block
            law = torch.softmax(logits, dim=-1)
            token = int(law.argmax())
            reached *= float(law[token])
            if reached < self._min_prob:
                break
            tokens.append(token)
            probs.append(float(law[token]))
            block = [token]
        return tokens, probs

    def _cut_again(self, tokens: list[int], probs: list[float]) -> tuple[list[int], list[float]]:
        """Tokens of the drafting model as tokens of the target, each with the probability of what it spells."""
        spelled = [self._tokenizer.token_bytes(token) for token in tokens]
        text = b"".join(spelled)
        seam = self._target.decode_bytes(self._theirs)
        whole = self._target.encode_list(seam + text, allowed_special=set())
        n_seam = len(self._theirs)
        fits = whole[:n_seam] == self._theirs
        cut = whole[n_seam:] if fits else self._target.encode_list(text, allowed_special=set())
        ends = np.cumsum([len(piece) for piece in spelled])
        logs = np.concatenate([[0.0], np.cumsum(np.log(probs))]) if probs else np.zeros(1)
        found: list[float] = []
        at, before = 0, 0.0
        for token in cut:
            at += len(self._target.token_bytes(token))
            n_covering = min(int(np.searchsorted(ends, at)) + 1, len(ends))
            found.append(float(np.exp(logs[n_covering] - before)))
            before = float(logs[n_covering])
        # The last token would perhaps have been longer, had the draft gone on.
        n_sure = len(cut) - 1 if len(cut) > 1 else len(cut)
        return [int(token) for token in cut[:n_sure]], found[:n_sure]
