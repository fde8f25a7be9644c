"""As which tokens should the model read a prompt that ends in the middle of a word?

Encoding the prompt by itself may end it with tokens that would never stand there in the whole text ("http:" is
followed by "//", but the token "://" is then out of reach). The covers of the prompt are the token sequences whose text
begins with it, the last token reaching past its end. One of them is drawn from their exact distribution, and generation
goes on behind it: exact token healing (Hayase et al., "Sampling from your language model one byte at a time", 2025).

Cost: one more forward pass a prompt, which reads its covers as a tree behind what they share. The cache of that pass is
handed on, so generation reads only the end of the drawn cover. Under sampling rules other than temperature 1 the covers
are drawn by the same rules applied to the covers' own distribution; greedy takes the most probable cover. Rules that
name tokens or look at the text (penalties, biases, bans) say nothing of covers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tokenloom import sample
from tokenloom.bytelevel import ByteModel
from tokenloom.errors import ArrayError
from tokenloom.exactness import TokenKind
from tokenloom.sample import Params
from tokenloom.torch.batch import Batch
from tokenloom.torch.language_model import LanguageModel

__all__ = ["Cover", "Healer", "Overhang", "ends_in_blank", "is_extendable", "overhang"]

_LAW_RULES = (
    *("temperature", "dynatemp_range", "dynatemp_exponent", "order", "top_k", "top_p", "min_p", "typical_p"),
    *("epsilon_cutoff", "eta_cutoff", "top_n_sigma", "p_less", "xtc_probability", "xtc_threshold"),
)
"""What looks at the probabilities alone, whatever they are probabilities of."""


@dataclass
class Cover:
    """How a prompt is read.

    Attributes:
        ids: its tokens; what they spell starts with the prompt.
        batch: one row that has read a beginning of ``ids``, never all of them.
        n_read: how many of ``ids`` it has read.
    """

    ids: list[int]
    batch: Batch
    n_read: int


class Healer:
    """Draws covers of prompts.

    Args:
        model: a Hugging Face causal language model.
        tokenizer: a :class:`tokenloom.Tokenizer`.

    Raises:
        UnsupportedFeatureError: the tokenizer's splits cannot be followed byte by byte.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._lm = LanguageModel(model)
        self._tokenizer, self._byte_model = tokenizer, ByteModel(self._lm, tokenizer)

    def cover(self, prompt: bytes, rules: Params, seed: int, context: Sequence[int] = ()) -> Cover:
        """Draw a cover of ``context``, which ends with an added token, and the prompt.

        Raises:
            DistributionError: no canonical encoding covers the prompt.
        """
        healed = self._byte_model.heal(prompt, context)
        logits = healed.log_probs[None].astype(np.float32)
        rules = Params(**{name: getattr(rules, name) for name in _LAW_RULES})
        # The position of the cover's first token: the loop draws only behind the cover, so no randomness is used twice.
        drawn = sample.sample(logits, rules, seeds=np.array([seed], np.uint64), positions=len(healed.ids))
        ids = [*healed.ids.tolist(), *healed.tokens[int(drawn.tokens[0])].tolist()]
        return Cover(ids, *self._lm.hand_over(ids))

    def cover_of_tokens(self, prompt: Sequence[int], rules: Params, seed: int) -> Cover:
        """Draw a cover of what tokens spell behind the last added one among them.

        Raises:
            ArrayError: there are no tokens.
            DistributionError: no canonical encoding covers the text.
        """
        if not prompt:
            raise ArrayError("expected at least one token to heal, found an empty prompt", argument="input_ids")
        symbols = set(self._byte_model.symbols.tolist())
        n_given = max((at + 1 for at, token in enumerate(prompt) if token in symbols), default=0)
        text = self._tokenizer.decode_bytes(prompt[n_given:])
        return self.cover(text, rules, seed, prompt[:n_given])


@dataclass
class Overhang:
    """What the tokens of a healed prompt say beyond it.

    Attributes:
        text: the text past the prompt's end.
        decoder: a decode stream that has read the prompt's tokens.
    """

    text: str
    decoder: Any


def overhang(tokenizer: Any, prompt: str, cover: Sequence[int]) -> Overhang:
    """What ``cover`` says beyond ``prompt``."""
    decoder = tokenizer.decode_stream()
    text = "".join(decoder.push(token) for token in cover)
    return Overhang(text[len(prompt) :], decoder)


def ends_in_blank(tokenizer: Any, prompt: str, ids: Sequence[int]) -> bool:
    """Whether the prompt ends with blanks that the next word would have in its own first token."""
    return prompt.endswith((" ", "\t")) and tokenizer.encode_list(prompt + "a")[: len(ids)] != list(ids)


def is_extendable(tokenizer: Any, ids: Sequence[int]) -> bool:
    """Whether a longer token of the vocabulary begins with the bytes of the prompt's last token."""
    last = tokenizer.token_bytes(ids[-1])
    vocabulary = tokenizer.vocabulary()
    starts = vocabulary.offsets[:-1]
    longer = (np.diff(vocabulary.offsets) > len(last)) & (vocabulary.kinds == TokenKind.NORMAL)
    found = starts[longer]
    for at, byte in enumerate(last):
        found = found[vocabulary.bytes[found + at] == byte]
    return bool(last) and found.size > 0
