"""How does transformers' own assisted generation take its candidates from a drafter?

Its loop asks a candidate generator for a chain, reads it in one forward pass and keeps what it would have said; without
logits of the candidates it compares with its own draw at each place, which is lossless. It knows chains and batches of
one only; ``custom_generate`` has neither limit.

transformers has no public place to hand a generator in: :func:`assisted` sets the method that makes one on the model
and takes it back at the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from transformers.generation.candidate_generator import CandidateGenerator as _Base

from tokenloom._streams import NativeDrafter
from tokenloom.torch.row import as_tree, known_part
from tokenloom.torch.tree_attention import main_chain

__all__ = ["CandidateGenerator", "assisted"]


class CandidateGenerator(_Base):
    """Candidates from a drafter, as transformers asks for them.

    Args:
        drafter: where drafts come from (``tl.draft``).
        budget: most tokens drafted in one step.
        max_length: tokens after which the text ends, prompt included, or None.
        n_vocab: tokens that the model knows; a draft ends before one from here on. None: the drafter names no others.

    A call with another text than the last one's continuation ends the drafter's stream and begins another.
    """

    def __init__(
        self, drafter: Any, budget: int = 16, max_length: int | None = None, n_vocab: int | None = None
    ) -> None:
        self._drafter = drafter
        self._budget = budget
        self._max_length = max_length
        self._n_vocab = n_vocab
        self._stream: Any = None
        self._text: list[int] = []

    def get_candidates(self, input_ids: torch.Tensor, **_: Any) -> tuple[Any, Any]:
        """The text and the drafted chain behind it.

        Args:
            input_ids: the text so far, int64[1, n].

        Returns:
            int64[1, n + drafted] and None: a drafter's candidates have no logits.
        """
        text = [int(token) for token in input_ids[0]]
        n_known = len(self._text)
        if self._stream is None or n_known > len(text) or text[:n_known] != self._text:
            self.close()
            self._stream = self._drafter.begin(np.array(text, dtype=np.int32))
        elif len(text) > n_known:
            self._stream.commit(np.array(text[n_known:], dtype=np.int32))
        self._text = text
        room = self._budget if self._max_length is None else min(self._budget, self._max_length - len(text) - 1)
        if room <= 0:
            return input_ids, None
        shape = {"chain": True} if isinstance(self._drafter, NativeDrafter) else {}
        tree = as_tree(self._stream.propose(budget=room, **shape))
        if self._n_vocab is not None:
            tree = known_part(tree, self._n_vocab)
        drafted = tree.tokens[main_chain(tree)[:room]].astype(np.int64)
        added = torch.from_numpy(drafted)[None].to(input_ids.device)
        return torch.cat([input_ids, added], dim=1), None

    def update_candidate_strategy(self, input_ids: torch.Tensor, scores: torch.Tensor, num_matches: int) -> None:
        """Nothing: the next call brings the accepted text."""

    def close(self) -> None:
        """End the drafter's stream; its text joins what the drafter shares."""
        if self._stream is not None:
            self._stream.end()
            self._stream, self._text = None, []


@contextmanager
def assisted(model: Any, drafter: Any, budget: int = 16) -> Iterator[None]:
    """``model.generate`` takes its candidates from ``drafter`` while this is entered.

    ```python
    import torch
    import tokenloom as tl
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2,
    )
    model = LlamaForCausalLM(config).eval()
    ids = torch.tensor([[5, 6, 7, 5, 6, 7, 5, 6]])
    options = {"max_new_tokens": 12, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    plain = model.generate(ids, **options)
    with tl.torch.assisted(model, tl.draft.Suffix()):
        assert torch.equal(model.generate(ids, **options), plain)
    ```

    Args:
        model: a causal language model of transformers 5.
        drafter: where drafts come from (``tl.draft``).
        budget: most tokens drafted in one step.
    """
    made: list[CandidateGenerator] = []
    n_vocab = int(model.config.get_text_config(decoder=True).vocab_size)

    def make(*, generation_config: Any, **_: Any) -> CandidateGenerator:
        for before in made:
            before.close()
        made.append(CandidateGenerator(drafter, budget, generation_config.max_length, n_vocab))
        return made[-1]

    # An instance's own method, if any, is that of an outer call.
    before = vars(model).get("_get_candidate_generator")
    chosen = model.generation_config.prompt_lookup_num_tokens
    model._get_candidate_generator = make
    model.generation_config.prompt_lookup_num_tokens = budget  # what chooses assisted generation
    try:
        yield
    finally:
        if before is None:
            del model._get_candidate_generator
        else:
            model._get_candidate_generator = before
        model.generation_config.prompt_lookup_num_tokens = chosen
        for generator in made:
            generator.close()
