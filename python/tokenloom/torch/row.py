"""What does one prompt of a batch remember between two steps?

Its tokens, the drafter's stream, the constraint's state and the text so far. A step plans a chain of drafted tokens,
the model reads what it has not seen yet (``pending``) and the chain, and the drawn tokens are accepted one by one, so
an end token or a stop string in the middle of an accepted chain ends the text right there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenloom.errors import ConstraintError
from tokenloom.torch.draw import Drawn
from tokenloom.torch.gate import Gate, get_bit
from tokenloom.torch.heal import Overhang
from tokenloom.torch.result import Generation, Stats
from tokenloom.torch.stopping import StoppingText

__all__ = ["Row"]


class Row:
    """One prompt and its growing continuation.

    Args:
        index: place of the prompt in the caller's list.
        prompt: its token ids; not empty.
        n_tokens: how many tokens may be generated.
        tokenizer: a :class:`tokenloom.Tokenizer`.
        params: sampling rules.
        seed: with the absolute position, the whole source of randomness.
        stream: the drafter's stream for this prompt, or None.
        gate: the constraint's gate, or None.
        wants_masks: whether the draw needs the constraint's mask at every place.
        eos: end tokens.
        stop: strings before which the text is cut.
        on_text: called with every final piece of text, or None.
        overhang: the text that a healed prompt's tokens spell beyond the prompt, or None.
    """

    def __init__(
        self,
        index: int,
        prompt: Sequence[int],
        *,
        n_tokens: int,
        tokenizer: Any,
        params: Any,
        seed: int,
        stream: Any,
        gate: Gate | None,
        wants_masks: bool,
        eos: frozenset[int],
        stop: Sequence[str],
        on_text: Callable[[str], None] | None,
        overhang: Overhang | None = None,
    ) -> None:
        self.index = index
        self.params = params
        self.seed = seed
        self.gate = gate
        self.chain: list[int] = []
        self.masks: list[NDArray[np.int32]] = []
        self.pending = [int(token) for token in prompt]
        self.finish_reason = "length" if n_tokens == 0 else ""
        self.stats = Stats()
        self._prompt_ids = np.array(self.pending, dtype=np.uint32)
        self._n_tokens = n_tokens
        self._tokenizer = tokenizer
        self._stream = stream
        self._wants_masks = wants_masks
        self._eos = eos
        self._on_text = on_text
        self._decoder = tokenizer.decode_stream() if overhang is None else overhang.decoder
        self._text = StoppingText(stop)
        if overhang is not None:
            self._emit(self._text.push(overhang.text))
            if self._text.stopped:
                self.finish_reason = "stop"
        self._ids: list[int] = []
        self._logprobs: list[float] = []
        self._log_weight = 0.0

    @property
    def position(self) -> int:
        """Absolute position of the next token to be drawn."""
        return len(self._prompt_ids) + len(self._ids)

    @property
    def step(self) -> int:
        """How many tokens have been generated."""
        return len(self._ids)

    def ends_with(self, token: int) -> bool:
        """Whether ``token`` ends the text."""
        return token in self._eos

    def plan(self, budget: int) -> None:
        """Propose a chain of at most ``budget`` tokens, cut where the constraint forbids it to go on."""
        self.chain = []
        n_useful = min(budget, self._n_tokens - len(self._ids) - 1)
        if self._stream is not None and n_useful > 0:
            self.chain = _spine(self._stream.propose(budget=n_useful))[:n_useful]
        if self.gate is not None:
            self._constrain(self.gate)
        self.stats.drafted += len(self.chain)
        self.stats.model_calls += 1

    def _constrain(self, gate: Gate) -> None:
        self.masks = [gate.mask()] if self._wants_masks else []
        n_allowed = 0
        for token in self.chain:
            if token in self._eos or not (get_bit(self.masks[-1], token) if self._wants_masks else gate(token)):
                break
            gate.advance(token)
            n_allowed += 1
            if self._wants_masks:
                try:
                    self.masks.append(gate.mask())
                except ConstraintError:  # a dead end behind this draft: an error only if the draft is drawn
                    gate.rollback(1)
                    n_allowed -= 1
                    break
        gate.rollback(n_allowed)
        self.chain = self.chain[:n_allowed]

    def accept(self, drawn: Drawn) -> int:
        """Take the drawn tokens, a beginning of the chain and one more. Returns how many fed tokens the model keeps.

        Raises:
            ConstraintError: the constraint neither accepts the text nor allows a token; names the text and the step.
        """
        n_fed = len(self.pending)
        taken: list[int] = []
        for token, logprob, log_weight in zip(drawn.tokens, drawn.logprobs, drawn.log_weights, strict=True):
            taken.append(token)
            self._ids.append(token)
            self._logprobs.append(logprob)
            self._log_weight += log_weight
            self._push(token)
            if self.finish_reason:
                break
        n_accepted = min(len(taken), len(drawn.tokens) - (not drawn.dead_end))
        self.stats.accepted += n_accepted
        self.stats.n_tokens = len(self._ids)
        if self._stream is not None and taken:
            self._stream.commit(np.array(taken, dtype=np.int32))
        self.pending = taken[-1:]
        if drawn.dead_end and not self.finish_reason:
            self._end_dead()
        return n_fed + n_accepted

    def _end_dead(self) -> None:
        assert self.gate is not None
        if not self.gate.is_accepting():
            prefix = bytes(self._tokenizer.decode_bytes(self._ids))
            raise ConstraintError(
                f"the constraint allows no token after {prefix[-60:]!r} (prompt {self.index}, step {self.step})",
                prefix=prefix,
                step=self.step,
            )
        self.finish_reason = "constraint"

    def _push(self, token: int) -> None:
        if token in self._eos:
            self.finish_reason = "eos"
            return
        if self.gate is not None:
            self.gate.advance(token)
        self._emit(self._text.push(self._decoder.push(token)))
        if self._text.stopped:
            self.finish_reason = "stop"
        elif len(self._ids) == self._n_tokens:
            self.finish_reason = "length"

    def _emit(self, piece: str) -> None:
        if piece and self._on_text is not None:
            self._on_text(piece)

    def finish(self, seconds: dict[str, float]) -> Generation:
        """End the text and say what it is."""
        if not self._text.stopped:
            self._emit(self._text.push(self._decoder.flush()))
            self._emit(self._text.flush())
        if self.gate is not None:
            self.stats.checks = self.gate.n_checks
        self.stats.seconds = seconds
        return Generation(
            prompt_ids=self._prompt_ids,
            text=self._text.text,
            ids=np.array(self._ids, dtype=np.uint32),
            logprobs=np.array(self._logprobs, dtype=np.float64),
            log_weight=self._log_weight,
            finish_reason=self.finish_reason,
            stats=self.stats,
        )

    def close(self) -> None:
        """Give the drafter's stream back; the row generates no more."""
        if self._stream is not None:
            self._stream.end()
            self._stream = None


def _spine(tree: Any) -> list[int]:
    """The chain that a draft tree begins with: its nodes as long as each is the child of the one before it."""
    chain = []
    for node, parent in enumerate(np.asarray(tree.parents)):
        if int(parent) != node - 1:
            break
        chain.append(int(tree.tokens[node]))
    return chain
