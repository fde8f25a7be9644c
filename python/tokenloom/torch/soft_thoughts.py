"""What if a thought is not a token but a mixture of them?

Soft Thinking (arXiv 2505.15778). While the model thinks, its next input is the mean of the embeddings of the likeliest
tokens, weighted by their probabilities; the token that is shown is the likeliest of them. When the model has been
certain for many steps in a row (the cold stop), or shows the end of thinking itself, the thought is closed with the
end-of-thinking token, and what follows is drawn token by token. Where this departs from the authors' program is in
``docs/decisions.md``.

Entropies are those of the whole distribution at the temperature, before truncation. Lossy by design: models were not
trained on mixtures, and the authors warn that small ones fail.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache

from tokenloom import sample
from tokenloom.sample import Params
from tokenloom.torch.uncertainty import entropy

__all__ = ["SoftThought", "soft_mixture", "soft_thinking"]

THINKING = Params(temperature=0.6, top_k=30, top_p=0.95, min_p=0.001)
"""The rules of the mixture in the authors' commands."""


@dataclass(frozen=True)
class SoftThought:
    """A thought and the answer behind it.

    Attributes:
        shown_ids: the likeliest token of each soft step, uint32[m].
        entropies: of the distribution of each soft step, in nats, float64[m].
        ids: the tokens of the answer, uint32[n].
        text: the answer's text, without an end token.
        stopped_by: ``"token"`` (the model showed the end of thinking), ``"cold"``, ``"length"``, or ``"eos"`` (it
            showed the end of the text: there is no answer).
    """

    shown_ids: NDArray[np.uint32]
    entropies: NDArray[np.float64]
    ids: NDArray[np.uint32]
    text: str
    stopped_by: str


def soft_mixture(
    logits: Any, rules: Params = THINKING, n_kept: int = 10
) -> tuple[NDArray[np.int64], NDArray[np.float64], float]:
    """The tokens of one mixture, the likeliest first, their weights, and the entropy before truncation.

    Args:
        logits: float32[V].
        rules: temperature and truncation.
        n_kept: most tokens that are mixed.

    >>> import numpy as np
    >>> from tokenloom.torch.soft_thoughts import soft_mixture
    >>> tokens, weights, entropy = soft_mixture(np.log([0.1, 0.6, 0.3]).astype(np.float32), n_kept=2)
    >>> tokens.tolist(), weights.round(3).tolist(), round(entropy, 3)
    ([1, 2], [0.76, 0.24], 0.688)
    """
    row = np.asarray(logits, dtype=np.float32)[None]
    whole = sample.distribution(row, Params(temperature=rules.temperature))[0]
    uncertainty = float(entropy(whole))
    kept = sample.distribution(row, rules)[0]
    tokens = np.argsort(-kept, kind="stable")[:n_kept]
    tokens = tokens[kept[tokens] > 0]
    return tokens, kept[tokens] / kept[tokens].sum(), uncertainty


def soft_thinking(
    model: Any,
    tokenizer: Any,
    prompt: str | Iterable[int],
    *,
    end_of_thinking: int,
    max_soft_tokens: int = 256,
    max_new_tokens: int = 128,
    rules: Params = THINKING,
    n_kept: int = 10,
    cold_entropy: float = 0.01,
    cold_steps: int = 256,
    params: Params = Params(),  # noqa: B008 (immutable)
    seed: int = 0,
    eos: Iterable[int] = (),
) -> SoftThought:
    """Think in mixtures, then answer in tokens.

    Args:
        model: a Hugging Face causal language model that takes ``inputs_embeds``.
        tokenizer: whose ids the model reads.
        prompt: a text or token ids, up to and with the beginning of the thought.
        end_of_thinking: the token that closes a thought.
        max_soft_tokens: most soft steps.
        max_new_tokens: most tokens of the answer.
        rules: temperature and truncation of the mixture.
        n_kept: most tokens that are mixed.
        cold_entropy: a step below this entropy, in nats, is certain; 0: no cold stop.
        cold_steps: so many certain steps in a row close the thought. 256 in the authors' commands, 200 where their
            program is not told.
        params: sampling rules of the answer.
        seed: randomness of the answer; the thought has none.
        eos: tokens that end the answer, or the thought without one.
    """
    ids = tokenizer.encode_list(prompt) if isinstance(prompt, str) else [int(token) for token in prompt]
    n_vocab = min(int(tokenizer.vocab_size), int(model.config.get_text_config(decoder=True).vocab_size))
    walk = _Walk(model, n_vocab)
    logits = walk.read(ids)
    ends = frozenset(int(token) for token in eos)
    shown: list[int] = []
    entropies: list[float] = []
    n_cold, stopped_by = 0, "length"
    while len(shown) < max_soft_tokens:
        tokens, weights, uncertainty = soft_mixture(logits, rules, n_kept)
        n_cold = n_cold + 1 if uncertainty < cold_entropy else 0
        if tokens[0] == end_of_thinking or int(tokens[0]) in ends:
            stopped_by = "token" if tokens[0] == end_of_thinking else "eos"
            break
        if n_cold >= cold_steps > 0:
            stopped_by = "cold"
            break
        shown.append(int(tokens[0]))
        entropies.append(uncertainty)
        logits = walk.read_mixture(tokens, weights)
    answer: list[int] = []
    position = len(ids) + len(shown) + 1
    if stopped_by != "eos":
        logits = walk.read([end_of_thinking])
    while stopped_by != "eos" and len(answer) < max_new_tokens:
        drawn = sample.sample(logits[None], params, seeds=np.array([seed], np.uint64), positions=[position])
        answer.append(int(drawn.tokens[0]))
        position += 1
        if answer[-1] in ends or len(answer) == max_new_tokens:
            break
        logits = walk.read(answer[-1:])
    body = answer[:-1] if answer and answer[-1] in ends else answer
    return SoftThought(
        shown_ids=np.array(shown, dtype=np.uint32),
        entropies=np.array(entropies, dtype=np.float64),
        ids=np.array(answer, dtype=np.uint32),
        text=tokenizer.decode(body),
        stopped_by=stopped_by,
    )


class _Walk:
    """One text that the model reads step by step, as tokens or as mixtures."""

    def __init__(self, model: Any, n_vocab: int) -> None:
        self._model, self._n_vocab = model, n_vocab
        self._cache: Any = DynamicCache()
        self._embeddings = model.get_input_embeddings()

    def read(self, ids: list[int]) -> NDArray[np.float32]:
        tokens = torch.tensor([ids], device=self._model.device)
        with torch.inference_mode():
            return self._step(self._embeddings(tokens))

    def read_mixture(self, tokens: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float32]:
        with torch.inference_mode():
            rows = self._embeddings(torch.from_numpy(tokens).to(self._model.device))
            shares = torch.from_numpy(weights).to(rows.device, rows.dtype)
            return self._step((shares @ rows)[None, None])

    def _step(self, embedded: torch.Tensor) -> NDArray[np.float32]:
        output = self._model(inputs_embeds=embedded, past_key_values=self._cache, use_cache=True)
        row: NDArray[np.float32] = output.logits[0, -1, : self._n_vocab].float().cpu().numpy()
        return row
