"""As which tokens should the model read a prompt that ends in the middle of a word?

Encoding the prompt by itself may end it with tokens that would never stand there in the whole text ("http:" is
followed by "//", but the token "://" is then out of reach). The covers of the prompt are the token sequences whose text
begins with it, the last token reaching past its end. One of them is drawn from their exact distribution, and generation
goes on behind it: exact token healing (Hayase et al., "Sampling from your language model one byte at a time", 2025).

Cost: one more forward pass a prompt, which reads its covers as a tree. Under sampling rules other than temperature 1
the covers are drawn by the same rules applied to the covers' own distribution; greedy takes the most probable cover.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tokenloom import sample
from tokenloom.bytelevel import ByteModel
from tokenloom.errors import ArrayError
from tokenloom.sample import Params
from tokenloom.torch.language_model import LanguageModel

__all__ = ["Overhang", "heal_prompts"]


@dataclass
class Overhang:
    """What the tokens of a healed prompt say beyond it.

    Attributes:
        text: the text past the prompt's end.
        decoder: a decode stream that has read the prompt's tokens.
    """

    text: str
    decoder: Any


def heal_prompts(
    model: Any, tokenizer: Any, prompts: Sequence[str], params: Sequence[Params], seeds: Sequence[int]
) -> tuple[list[list[int]], list[Overhang | None]]:
    """Draw a cover for each prompt.

    Args:
        model: a Hugging Face causal language model.
        tokenizer: a :class:`tokenloom.Tokenizer`.
        prompts: texts; not empty.
        params: one set of sampling rules a prompt.
        seeds: one a prompt.

    Returns:
        The covers' token ids, and what they say beyond the prompts.

    Raises:
        ArrayError: a prompt is empty.
        UnsupportedFeatureError: the tokenizer's splits cannot be followed byte by byte.
        DistributionError: no canonical encoding covers a prompt.
    """
    byte_model = ByteModel(LanguageModel(model), tokenizer)
    ids: list[list[int]] = []
    overhangs: list[Overhang | None] = []
    for index, (prompt, rules, seed) in enumerate(zip(prompts, params, seeds, strict=True)):
        if not prompt:
            raise ArrayError(f"expected a text to heal, found an empty prompt at index {index}", argument="prompts")
        healed = byte_model.heal(prompt.encode())
        logits = healed.log_probs[None].astype(np.float32)
        # The position of the cover's first token: the loop draws only behind the cover, so no randomness is used twice.
        drawn = sample.sample(logits, rules, seeds=np.array([seed], np.uint64), positions=len(healed.ids))
        cover = [*healed.ids.tolist(), *healed.tokens[int(drawn.tokens[0])].tolist()]
        decoder = tokenizer.decode_stream()
        text = "".join(decoder.push(token) for token in cover)
        ids.append(cover)
        overhangs.append(Overhang(text[len(prompt) :], decoder))
    return ids, overhangs
