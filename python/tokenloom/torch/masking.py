"""How is a constraint applied inside somebody else's decoding loop?

A logits processor sees every row's tokens before each draw. It walks a state along them: the tokens that are new since
the last call are taken, and where a row was replaced (beams, another prompt in its place) the state that shares the
longest beginning goes back and walks from there. Then everything that is not allowed becomes ``-inf``.

What a processor cannot do: draw by checks, weigh, take forced tokens together. ``tl.torch.generate`` can.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import LogitsProcessor

from tokenloom._mask_words import unpack
from tokenloom.control import Constraint, State, fill_masks
from tokenloom.errors import UnsupportedFeatureError

__all__ = ["MaskProcessor"]


class MaskProcessor(LogitsProcessor):
    r"""A logits processor that keeps every row of a batch to a constraint.

    For ``model.generate(..., logits_processor=[MaskProcessor(constraint)])``, sampling or beams. A row that has ended,
    as the constraint sees it, is left alone: the host pads it.

    Args:
        constraint: one with masks, whose end tokens (``eos=``) are those that end a text for the host.
        n_prompt: how many columns of the ids are prompt, padding included; None: those of the first call.
        threads: at most this many fill the masks of a batch; every usable core where None.

    ```python
    import torch
    import tokenloom as tl
    from transformers import LlamaConfig, LlamaForCausalLM

    ranks = {bytes([byte]): byte for byte in range(256)}
    special = {"</s>": 256}
    tokenizer = tl.Tokenizer.from_tiktoken("toy", pat_str=r"\S+|\s+", mergeable_ranks=ranks, special_tokens=special)
    config = LlamaConfig(
        vocab_size=257, hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2,
    )
    model = LlamaForCausalLM(config).eval()
    processor = tl.torch.MaskProcessor(tl.control.regex("(yes|no)!", tokenizer))
    ids = model.generate(
        torch.tensor([[65, 66]]), logits_processor=[processor], max_new_tokens=8, eos_token_id=256, pad_token_id=0
    )
    assert tokenizer.decode(ids[0, 2:-1].tolist()) in ("yes!", "no!")
    ```
    """

    def __init__(self, constraint: Constraint, n_prompt: int | None = None, threads: int | None = None) -> None:
        self._constraint, self._n_prompt, self._threads = constraint, n_prompt, threads
        self._rows: list[tuple[list[int], State]] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores with ``-inf`` for what is not allowed.

        Raises:
            ConstraintError: a row holds a token that was not allowed, or has come to a dead end.
            UnsupportedFeatureError: the constraint has no masks.
        """
        if self._n_prompt is None:
            self._n_prompt = input_ids.shape[1]
        texts = input_ids[:, self._n_prompt :].tolist()
        self._rows = [self._walked(text) for text in texts]
        n_vocab = scores.shape[1]
        words = np.zeros((len(texts), -(-n_vocab // 32)), dtype=np.int32)
        has_mask = fill_masks([state for _, state in self._rows], words, self._threads)
        if not has_mask.all():
            raise UnsupportedFeatureError("a logits processor needs a constraint with masks: use tl.torch.generate")
        allowed = unpack(words, n_vocab)
        allowed[~allowed.any(axis=1)] = True  # ended
        masked: torch.Tensor = scores.masked_fill(~torch.from_numpy(allowed).to(scores.device), -torch.inf)
        return masked

    def _walked(self, text: list[int]) -> tuple[list[int], State]:
        """The state behind ``text``, from the known state that has most of it."""
        known = max(self._rows, key=lambda row: _n_shared(row[0], text), default=None)
        if known is None:
            state, start = self._constraint.start(), 0
        else:
            # Another row may start from the same state.
            state, start = known[1].fork(), _n_shared(known[0], text)
            state.rollback(len(state.ids) - min(start, len(state.ids)))
        taken = text[:start]
        for token in text[start:]:
            if _has_ended(state):
                break  # padding
            state.advance(token)
            taken.append(token)
        return taken, state


def _n_shared(one: list[int], other: list[int]) -> int:
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _has_ended(state: Any) -> bool:
    if not state.is_accepting():
        return False
    mask = state.mask()
    return mask is not None and not mask.any()
