"""Push, pop and fork leave no trace: every state says what a fresh one at the same bytes says."""

from __future__ import annotations

import numpy as np
import tokenloom as tl
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, rule
from numpy.typing import NDArray
from tokenloom.bytelevel import ByteModel, ByteState
from tokenloom.errors import DistributionError, ParamsError

RANKS = {bytes([byte]): byte for byte in range(256)} | {b"ab": 256, b" a": 257, b"aba": 258, b"\n\n": 259}
TOKENIZER = tl.Tokenizer.from_tiktoken(
    "toy", pat_str=tl.patterns.GPT2, mergeable_ranks=RANKS, special_tokens={"<end>": 260}
)


def lm(contexts: list[list[int]]) -> NDArray[np.float64]:
    rows = np.stack([np.random.default_rng([*context, 9]).normal(size=261) for context in contexts])
    normed: NDArray[np.float64] = rows - np.logaddexp.reduce(rows, axis=1, keepdims=True)
    return normed


MODELS = {
    "canonical": ByteModel(lm, TOKENIZER),
    "marginal": ByteModel(lm, TOKENIZER, target="marginal", max_tv=1e-9, window=10**6),
}


class Walk(RuleBasedStateMachine):
    states = Bundle("states")

    @rule(target=states, name=st.sampled_from(sorted(MODELS)), prompt=st.sampled_from([b"", b"a", b"ab ", b"\n"]))
    def begin(self, name: str, prompt: bytes) -> tuple[str, bytes, bytearray, ByteState]:
        return name, prompt, bytearray(), MODELS[name].start(prompt)

    @rule(state=states, text=st.lists(st.sampled_from(b"ab \n\xc3\xa9"), max_size=20), look=st.booleans())
    def push(self, state: tuple[str, bytes, bytearray, ByteState], text: list[int], look: bool) -> None:
        _, _, pushed, byte_state = state
        for byte in text[: max(0, 24 - len(pushed))]:
            if look:
                byte_state.next_byte()
            try:
                byte_state.push(byte)
            except DistributionError:
                continue
            pushed.append(byte)

    @rule(state=states, n=st.integers(0, 20))
    def pop(self, state: tuple[str, bytes, bytearray, ByteState], n: int) -> None:
        _, _, pushed, byte_state = state
        try:
            byte_state.pop(n)
        except ParamsError:
            assert n > len(pushed)
            return
        del pushed[len(pushed) - n :]

    @rule(target=states, state=states)
    def fork(self, state: tuple[str, bytes, bytearray, ByteState]) -> tuple[str, bytes, bytearray, ByteState]:
        name, prompt, pushed, byte_state = state
        return name, prompt, pushed.copy(), byte_state.fork()

    @rule(state=states)
    def compare(self, state: tuple[str, bytes, bytearray, ByteState]) -> None:
        name, prompt, pushed, byte_state = state
        fresh = MODELS[name].start(prompt + bytes(pushed))
        np.testing.assert_allclose(np.exp(byte_state.next_byte()), np.exp(fresh.next_byte()), atol=1e-8)


TestWalk = Walk.TestCase
TestWalk.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
