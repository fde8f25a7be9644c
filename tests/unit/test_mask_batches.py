"""Batches of masks: rows that coincide, threads, processes that fork, texts that inherit the lexer's tables."""

from __future__ import annotations

import gc
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenloom as tl
from tokenloom.errors import ConstraintError

RANKS = {bytes([byte]): byte for byte in range(256)} | {b'{"': 256, b'":': 257, b"true": 258, b"ab": 259}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}, "required": ["a"]}
TEXT = b'{"a": "abba", "b": 12}'
N_WORDS = -(-261 // 32)


def fresh() -> tl.Tokenizer:
    return tl.Tokenizer.from_tiktoken("toy", pat_str=r"\S+|\s+", mergeable_ranks=RANKS, special_tokens={"</s>": 260})


@pytest.fixture(scope="module")
def tok() -> tl.Tokenizer:
    return fresh()


def filled(states: list[Any], threads: int = 3) -> np.ndarray[Any, Any]:
    out = np.full((len(states), N_WORDS), 9, dtype=np.int32)
    assert tl.control.fill_masks(states, out, threads=threads).all()
    return out


def at(constraint: tl.control.Constraint, n_bytes: int) -> tl.control.State:
    state = constraint.start()
    for byte in TEXT[:n_bytes]:
        state.advance(byte)
    return state


def test_rows_at_one_place_and_at_many(tok: tl.Tokenizer) -> None:
    constraint = tl.control.json_schema(SCHEMA, tok)
    other = constraint & tl.control.phrases(tok, banned=["bbb"])
    states = [at(made, n) for made in (constraint, other) for n in (0, 3, 8, 8, 9, 22)]
    states += [states[3], states[2].fork(), states[9].fork()]
    back = states[11].fork()
    back.rollback(14)
    states.append(back)
    expected = [state.mask() for state in states]
    for threads in (1, 2, 9):
        for row, mask in zip(filled(states, threads), expected, strict=True):
            np.testing.assert_array_equal(row, mask)
    # Same number of tokens and same last one, other tokens before them.
    one = tl.control.regex("abb|cba", tok).start()
    two = one.fork()
    for a, b in ((97, 99), (98, 98)):
        one.advance(a)
        two.advance(b)
    assert not np.array_equal(*filled([one, two]))


def test_the_first_row_that_fails_is_named_and_the_others_are_filled(tok: tl.Tokenizer) -> None:
    dead = (tl.control.regex("ab|b", tok) & tl.control.regex("a[^b]|b", tok)).start()
    dead.advance(97)
    good = tl.control.json_schema(SCHEMA, tok).start()
    for threads in (1, 4):
        out = np.zeros((5, N_WORDS), dtype=np.int32)
        with pytest.raises(ConstraintError) as caught:
            tl.control.fill_masks([good, dead, None, dead.fork(), good.fork()], out, threads=threads)
        assert caught.value.prefix == b"a"
        assert (out[[0, 4]] == good.mask()).all()
        assert (out[2] == -1).all()


def test_a_child_process_goes_on_by_itself() -> None:
    tok = fresh()
    constraint = tl.control.json_schema(SCHEMA, tok)
    states = [at(constraint, n) for n in range(0, 22, 3)]
    expected = filled(states)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            again = [at(constraint, n) for n in range(0, 22, 3)]
            if (filled(states) == expected).all() and (filled(again) == expected).all():
                del states, again, constraint, tok
                gc.collect()
                code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    np.testing.assert_array_equal(filled(states), expected)


def test_threads_fill_batches_at_once_and_tokenizers_go_away() -> None:
    faults: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            tok = shared[0] if seed % 2 else fresh()
            constraint = tl.control.json_schema(SCHEMA, tok)
            states = [at(constraint, n % 22) for n in range(seed, seed + 9)]
            expected = [state.mask() for state in states]
            for _ in range(10):
                for row, mask in zip(filled(states), expected, strict=True):
                    np.testing.assert_array_equal(row, mask)
        except BaseException as fault:
            faults.append(fault)

    n_before = _n_helpers()
    shared = [fresh()]
    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    shared.clear()
    del thread, threads
    gc.collect()
    assert _n_helpers() == n_before


def _n_helpers() -> int:
    folder = Path("/proc/self/task")
    return sum(task.joinpath("comm").read_text("utf-8") == "tokenloom-masks\n" for task in folder.glob("*"))


def test_one_state_from_many_threads(tok: tl.Tokenizer) -> None:
    """Calls take turns: every answer is that of some moment."""
    state = tl.control.regex("(ab)*", tok).start()
    seen: set[bytes] = set()

    def work() -> None:
        for _ in range(200):
            seen.add(state.mask().tobytes())  # type: ignore[union-attr]
            state.check_many([97, 98, 259])
            try:
                state.advance(259)
                state.rollback(1)
            except ConstraintError:
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 1
    assert state.prefix == b""
