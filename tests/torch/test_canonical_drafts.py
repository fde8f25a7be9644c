"""Drafts that no encoding would have are cut where the constraint asks for canonical text."""

from __future__ import annotations

from typing import Any

import numpy as np
import tokenloom as tl
from transformers import LlamaForCausalLM


class Spelled:
    """Proposes the right bytes one by one: seldom what encoding them would give; and their encoding beside it."""

    def __init__(self, tokenizer: tl.Tokenizer, answer: list[int]) -> None:
        self.tokenizer, self.answer, self.n_done, self.proposed = tokenizer, answer, 0, 0

    def begin(self, prompt_ids: Any) -> Spelled:
        return self

    def propose(self, budget: int) -> tl.draft.DraftTree:
        ahead = self.answer[self.n_done : self.n_done + 3]
        text = self.tokenizer.decode_bytes(ahead)
        tokens = [*text, *ahead][:budget]
        parents = [*range(-1, len(text) - 1), -1, *range(len(text), len(text) + 2)][: len(tokens)]
        self.proposed += len(tokens)
        return tl.draft.DraftTree(tokens, parents, np.full(len(tokens), 0.5, np.float32))

    def commit(self, ids: Any) -> None:
        self.n_done += len(ids)

    def end(self) -> None: ...


def test_drafts_that_are_not_canonical_are_cut(tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer) -> None:
    options = {"max_new_tokens": 24, "seed": 3, "eos": (), "constraint": tl.control.canonical(tiny_tokenizer)}
    prompt = "the cat and the"
    (plain,) = tl.torch.generate(tiny_model, tiny_tokenizer, prompt, **options)
    drafter = Spelled(tiny_tokenizer, plain.ids.tolist())
    (drafted,) = tl.torch.generate(tiny_model, tiny_tokenizer, prompt, drafter=drafter, **options)
    assert drafted.ids.tolist() == plain.ids.tolist()
    assert drafter.proposed > 0
    assert drafted.stats.model_calls < plain.stats.model_calls
    # A constraint starts behind the prompt: what is canonical is the continuation.
    state = tl.control.canonical(tiny_tokenizer).start()
    for id in drafted.ids.tolist():
        assert state.check(id)
        state.advance(id)
