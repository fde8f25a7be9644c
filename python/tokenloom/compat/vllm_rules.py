"""How do requests to vLLM draw by the rules and the seeds of this library?

:class:`RulesProcessor` is a logits processor for vLLM's V1 engine:

```console
vllm serve MODEL --logits-processors tokenloom.compat.vllm_rules:RulesProcessor
```

A request asks for it by ``SamplingParams(extra_args={"tokenloom": {"seed": 7, "top_k": 50, "order": "llamacpp"}})``:
``seed`` and fields of :class:`tokenloom.sample.Params`. The processor draws and leaves that one token, so whatever
rules vLLM applies afterwards change nothing; requests that do not ask are left alone. The draw depends on the request's
text, rules and seed, not on the batch. vLLM's log-probabilities are those of its own rules.

vLLM calls processors before its penalties and temperature, once a step, with rows that move when requests come and go;
it does not call them for drafted tokens, so speculative decoding is refused. vLLM itself is not imported.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tokenloom import sample
from tokenloom.errors import ParamsError
from tokenloom.sample import Params

__all__ = ["RulesProcessor"]

_KEY = "tokenloom"


class _Request(NamedTuple):
    params: Params
    seed: int
    prompt: list[int]
    #: vLLM's own list, which grows.
    output: list[int]

    @property
    def text(self) -> list[int]:
        # Tokens that are still being computed are -1 in vLLM's list.
        return self.prompt + [token for token in self.output if token >= 0]


class RulesProcessor:
    """Draws for the requests that ask for it.

    Args:
        vllm_config: vLLM's configuration; ``speculative_config`` is looked at.
        device: Where the logits are.
        is_pin_memory: Not looked at.

    Raises:
        ParamsError: Speculative decoding is configured.
    """

    def __init__(self, vllm_config: Any, device: Any, is_pin_memory: bool) -> None:
        if getattr(vllm_config, "speculative_config", None) is not None:
            raise ParamsError(
                "expected no speculative decoding, because vLLM does not show drafted tokens to processors"
            )
        self._requests: dict[int, _Request] = {}

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        """Raise :class:`tokenloom.errors.ParamsError`, a ``ValueError``, for rules that do not exist."""
        _asked(sampling_params)

    def is_argmax_invariant(self) -> bool:
        """The draw is rarely the best token, so vLLM may not skip it."""
        return False

    def update_state(self, batch_update: Any) -> None:
        """Follow the rows: removed, then added, then moved."""
        if batch_update is None:
            return
        for index in batch_update.removed:
            self._requests.pop(index, None)
        for index, params, prompt, output in batch_update.added:
            self._requests.pop(index, None)
            asked = _asked(params)
            if asked is not None:
                self._requests[index] = _Request(*asked, list(prompt or ()), output)
        for here, there, direction in batch_update.moved:
            one, other = self._requests.pop(here, None), self._requests.pop(there, None)
            if one is not None:
                self._requests[there] = one
            if other is not None and direction.name == "SWAP":
                self._requests[here] = other

    def apply(self, logits: Any) -> Any:
        """Leave the drawn token of each row that asked, float[B, V], in place."""
        if not self._requests:
            return logits
        rows = sorted(self._requests)
        requests = [self._requests[row] for row in rows]
        texts = [request.text for request in requests]
        params = [request.params for request in requests]
        own = logits[rows]
        drawn = sample.sample(
            own.cpu() if any(item.mirostat == 1 for item in params) else own,  # mirostat as published has no kernel
            params,
            np.array([request.seed for request in requests], dtype=np.uint64),
            np.array([len(text) for text in texts]),
            history=texts,
            prompt_lengths=np.array([len(request.prompt) for request in requests]),
        )
        for row, token in zip(rows, drawn.tokens.tolist(), strict=True):
            # A row that cannot be drawn from is vLLM's to report.
            if token >= 0:
                logits[row] = -float("inf")
                logits[row, token] = 0.0
        return logits


def _asked(sampling_params: Any) -> tuple[Params, int] | None:
    asked = (sampling_params.extra_args or {}).get(_KEY)
    if asked is None:
        return None
    fields = dict(asked)
    seed = fields.pop("seed", None)
    if not isinstance(seed, int) or not 0 <= seed < 2**64:
        raise ParamsError(f"expected an int seed between 0 and 2**64 - 1 in extra_args[{_KEY!r}], found {seed!r}")
    try:
        return Params(**fields), seed
    except TypeError as error:
        raise ParamsError(
            f"expected fields of tokenloom.sample.Params in extra_args[{_KEY!r}], found {error}"
        ) from error
