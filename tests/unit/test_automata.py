"""Constraints over bytes: tables, phrases, choices, excerpts and automata in Python, against judges of whole texts."""

from __future__ import annotations

import copy
import itertools
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tokenloom as tl
import torch
from tokenloom.errors import ArrayError, ConstraintError, DistributionError

PIECES = [b"ab", b"ba", b"aab", b"c, ", b", a", b"cab", b"bb", b"\xffa", b"a\xff"]
RANKS = {bytes([byte]): byte for byte in range(256)} | {piece: 256 + n for n, piece in enumerate(PIECES)}
EOS = 256 + len(PIECES)
LETTERS = b"abc, "


@pytest.fixture(scope="module")
def tok() -> tl.Tokenizer:
    special = {"</s>": EOS, "<|tool|>": EOS + 1}
    return tl.Tokenizer.from_tiktoken("pieces", pat_str=r"\S+|\s+", mergeable_ranks=RANKS, special_tokens=special)


class Balanced:
    """As many a as b in the end, never more b than a, at most three open."""

    def __init__(self) -> None:
        self.depths = [0]

    def feed(self, byte: int) -> bool:
        depth = self.depths[-1] + {97: 1, 98: -1}.get(byte, 9)
        if not 0 <= depth <= 3:
            return False
        self.depths.append(depth)
        return True

    def undo(self, n: int) -> None:
        del self.depths[len(self.depths) - n :]

    def is_complete(self) -> bool:
        return self.depths[-1] == 0


def balanced(text: bytes) -> bool | None:
    depth = 0
    for byte in text:
        depth += {97: 1, 98: -1}.get(byte, 9)
        if not 0 <= depth <= 3:
            return None
    return depth == 0


def depth_table() -> tuple[np.ndarray[Any, Any], list[bool]]:
    transitions = np.full((5, 256), -1)
    for depth in range(4):
        transitions[depth, 97] = depth + 1 if depth < 3 else 4  # state 4 is a trap that the table has to find
        if depth:
            transitions[depth, 98] = depth - 1
    transitions[4, :] = 4
    return transitions, [True, False, False, False, False]


def listed(text: bytes) -> bool | None:
    """Lists of a, ab and c without repeats, at least two: True, False for a beginning of one, None for neither."""
    lists = [b", ".join(p) for n in (2, 3) for p in itertools.permutations([b"a", b"ab", b"c"], n)]
    return True if text in lists else False if any(whole.startswith(text) for whole in lists) else None


def phrased(text: bytes) -> bool | None:
    heads = [text[:end] for end in range(1, len(text) + 1)]
    if any(head.endswith(b"cc") for head in heads) or b"ca" in text[:-1]:
        return None
    stopped = text.endswith(b"ca")
    if stopped and b"ab" not in text:
        return None
    return stopped


def quoted(text: bytes) -> bool | None:
    source = b"abcab ba"
    return None if text not in source or source.find(text) + 3 > len(source) else len(text) >= 3


CASES: dict[str, tuple[Callable[[tl.Tokenizer], tl.control.Constraint], Callable[[bytes], bool | None]]] = {
    "automaton": (lambda tok: tl.control.automaton(Balanced, tok), balanced),
    "table": (lambda tok: tl.control.table(*depth_table(), tok), balanced),
    "choose": (lambda tok: tl.control.choose(["a", "ab", "c"], tok, least=2), listed),
    "phrases": (lambda tok: tl.control.phrases(tok, required=["ab"], banned=["cc"], stop=["ca"]), phrased),
    "copy_from": (lambda tok: tl.control.copy_from("abcab ba", tok, least_bytes=3), quoted),
    "conjunction": (
        lambda tok: tl.control.table(*depth_table(), tok) & tl.control.regex("(ab|ba|aab|b)*", tok),
        balanced,
    ),
}


def bits(words: Any) -> set[int]:
    return set(np.flatnonzero(np.unpackbits(np.asarray(words).view(np.uint8), bitorder="little")).tolist())


@pytest.mark.parametrize("name", CASES)
def test_masks_equal_the_judge_of_whole_texts(tok: tl.Tokenizer, name: str) -> None:
    make, judge = CASES[name]
    constraint = make(tok)
    random = np.random.default_rng(5)
    again = [constraint, pickle.loads(pickle.dumps(constraint)), copy.deepcopy(constraint)]
    for walk in range(12):
        state = again[walk % 3].start()
        for _ in range(10):
            allowed = bits(state.mask())
            words = np.full(12, -1, dtype=np.int32)
            assert state.fill_mask(words)
            assert bits(words) == allowed
            if name != "conjunction":
                expected = {id for piece, id in RANKS.items() if judge(state.prefix + piece) is not None}
                assert allowed - {EOS} == expected, state.prefix
            probe = [*range(-2, EOS + 40)]
            assert [id for id, ok in zip(probe, state.check_many(probe), strict=True) if ok] == sorted(allowed)
            assert (EOS in allowed) == state.is_accepting()
            fork = state.fork()
            id = int(random.choice(sorted(allowed)))
            fork.advance(id)
            for forced in fork.forced():
                assert bits(fork.mask()) <= {forced, EOS} | set(RANKS.values())
                fork.advance(int(forced))
            fork.rollback(len(fork.ids) - len(state.ids))
            assert (fork.prefix, bits(fork.mask())) == (state.prefix, allowed)
            refused = next(id for id in range(EOS + 2) if id not in allowed)
            with pytest.raises(ConstraintError):
                state.advance(refused)
            assert bits(state.mask()) == allowed
            state.advance(id)
            if id == EOS:
                assert judge(state.prefix)
                assert bits(state.mask()) == set()
                state.rollback(1)
                break


def test_forced_bytes_are_the_encoders_tokens(tok: tl.Tokenizer) -> None:
    state = tl.control.choose(["abba"], tok).start()
    assert state.forced().tolist() == tok.encode("abba").tolist()
    state.advance(97)
    assert state.forced().tolist() == tok.encode("bba").tolist()


def test_masks_go_into_rows_of_the_callers(tok: tl.Tokenizer) -> None:
    states = [make(tok).start() for make, _ in CASES.values()]
    states.append(tl.control.predicate(lambda prefix: len(prefix) < 4, tok).start())
    n_words = -(-tok.vocab_size // 32)
    expected = [state.mask() for state in states]
    for threads in (1, 3, None):
        out = np.full((len(states) + 1, n_words), 7, dtype=np.int32)
        has_mask = tl.control.fill_masks([*states, None], out, threads=threads)
        assert has_mask.tolist() == [True] * (len(states) - 1) + [False, True]
        for row, words in zip(out, expected, strict=False):
            assert words is None or (row == words).all()
    wide = np.ones(n_words + 3, dtype=np.int32)
    states[1].fill_mask(wide)
    assert (wide[n_words:] == 0).all()
    for wrong in (np.zeros(n_words), np.zeros((n_words, 2), np.int32)[:, 0], [0] * n_words, np.zeros((1, 9), np.int32)):
        with pytest.raises(ArrayError, match="expected out"):
            states[1].fill_mask(wrong)
    elsewhere = torch.zeros(n_words, dtype=torch.int32, device="meta")
    for tensor in (
        elsewhere,
        torch.zeros(n_words, requires_grad=True),
        torch.zeros(n_words, 2, dtype=torch.int32)[:, 0],
    ):
        with pytest.raises(ArrayError, match="expected out"):
            states[1].fill_mask(tensor)
    assert not states[1].check(2**64)
    with pytest.raises(ArrayError, match="a row for each of 1 states"):
        tl.control.fill_masks(states[:1], out)
    dead = tl.control.table(*depth_table(), tok) & tl.control.regex("ac", tok)
    state = dead.start()
    state.advance(97)
    with pytest.raises(ConstraintError, match="no token can follow after 1 tokens") as caught:
        tl.control.fill_masks([states[0], state], np.zeros((2, n_words), np.int32))
    assert (caught.value.prefix, caught.value.step) == (b"a", 1)


def test_exceptions_of_an_automaton_are_its_own(tok: tl.Tokenizer) -> None:
    class Fails(Balanced):
        def feed(self, byte: int) -> bool:
            if byte == 98:
                raise ZeroDivisionError("mine")
            return super().feed(byte)

    state = tl.control.automaton(Fails, tok).start()
    with pytest.raises(ZeroDivisionError, match="mine"):
        state.mask()
    with pytest.raises(ZeroDivisionError, match="mine"):
        state.check(256)
    assert state.check(97)
    assert state.prefix == b""


def test_predicates_are_asked_once_and_in_batches(tok: tl.Tokenizer) -> None:
    asked: list[list[bytes]] = []

    def batch(prefixes: list[bytes]) -> list[bool]:
        asked.append(prefixes)
        return [b"bb" not in prefix for prefix in prefixes]

    constraint = tl.control.predicate(lambda prefix: batch([prefix])[0], tok, batch=batch)
    state = constraint.start()
    assert state.check_many([97, 98, 256, RANKS[b"bb"], 97]).tolist() == [True, True, True, False, True]
    assert asked == [[b"a", b"b", b"ab", b"bb"]]
    state.advance(97)
    other = constraint.start()
    assert other.check_many([256, 99]).tolist() == [True, True]
    assert asked[1:] == [[b"c"]], "states of one constraint share what is known"
    wrong = tl.control.predicate(lambda _: True, tok, batch=lambda prefixes: [True])
    with pytest.raises(ConstraintError, match="expected 2 verdicts"):
        wrong.start().check_many([97, 98])

    def fails(prefix: bytes) -> bool:
        raise ZeroDivisionError("mine")

    def fails_together(prefixes: list[bytes]) -> list[bool]:
        raise ZeroDivisionError("mine")

    single = tl.control.predicate(fails, tok)
    together = tl.control.predicate(fails, tok, batch=fails_together)
    ending = tl.control.predicate(lambda _: True, tok, complete=fails)
    joined = (tl.control.regex("[ab]*", tok) & single).start()
    logits = np.zeros(tok.vocab_size, dtype=np.float32)
    logits[97] = 60
    asks: list[tuple[Callable[[], object], str]] = [
        (lambda: single.start().check(97), "b'a'"),
        (lambda: single.start().advance(97), "b'a'"),
        (lambda: together.start().check_many([97, 98]), "b'a' and 1 more"),
        (lambda: ending.start().is_accepting(), "b''"),
        (lambda: ending.start().check(EOS), "b''"),
        (lambda: joined.check_many([99, 98, 97]), "b'b'"),
        (lambda: joined.advance(97), "b'a'"),
        (lambda: tl.control.draw_checked(logits, single.start(), 1), "b'a'"),
        (lambda: tl.control.awrs(logits - np.logaddexp.reduce(logits), single.start().check, 1), "b'a'"),
    ]
    for ask, note in asks:
        with pytest.raises(ZeroDivisionError, match="mine") as caught:
            ask()
        assert caught.value.__notes__ == [f"while the constraint asked about the text {note}"]
    assert (joined.prefix, len(joined.ids)) == (b"", 0)


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda tok: tl.control.table(np.zeros((2, 255), int), [True] * 2, tok), ArrayError, "256"),
        (lambda tok: tl.control.table(np.full((1, 256), 5), [True], tok), ConstraintError, "states below 1, found 5"),
        (lambda tok: tl.control.table(np.full((1, 256), -1), [False], tok), ConstraintError, "no complete text"),
        (lambda tok: tl.control.phrases(tok, required=["xccx"], banned=["cc"]), ConstraintError, "holds a banned one"),
        (lambda tok: tl.control.choose([], tok), ConstraintError, "at least one byte"),
        (lambda tok: tl.control.choose(["a"], tok, least=2), ConstraintError, "at most 1"),
        (lambda tok: tl.control.copy_from("", tok), ConstraintError, "found 0"),
        (lambda tok: tl.control.phrases(tok, eos=[9999]), ConstraintError, "9999"),
        (lambda tok: tl.control.phrases(tok, eos=[-1]), ConstraintError, "end token -1"),
        (lambda tok: tl.control.phrases(tok, eos=[1.5]), TypeError, "integer"),
        (lambda tok: tl.control.table(np.full((1, 256), 2**40), [True], tok), ConstraintError, "found 1099511627776"),
        (lambda tok: tl.control.table(np.full((1, 256), -1), [True], tok, start=-1), ConstraintError, "found -1"),
        (lambda tok: tl.control.choose(["a"], tok, least=-1), ConstraintError, "found -1 and None"),
        (lambda tok: tl.control.copy_from("a", tok, least_bytes=-1), ConstraintError, "found -1"),
        (lambda tok: tl.control.regex("a", tok).start().rollback(-1), ConstraintError, "take back -1 tokens of 0"),
        (lambda tok: tl.control.regex("a", tok).start().advance(2**64), ConstraintError, "not allowed after 0"),
    ],
)
def test_what_makes_no_sense_is_named(tok: tl.Tokenizer, make: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        make(tok)


def test_caps_are_kept_exactly() -> None:
    random = np.random.default_rng(1)
    for _ in range(50):
        probs, caps = random.dirichlet(np.full(20, 0.3)), random.random(20)
        capped, scale = tl.control.cap_probs(probs, caps)
        np.testing.assert_allclose(capped, np.minimum(scale * probs, caps), atol=1e-14)
        assert abs(capped.sum() - 1) < 1e-12
    capped, scale = tl.control.cap_probs([0.9, 0.1, 0.0], [0.1, 0.3, 1.0])
    assert scale == np.inf
    np.testing.assert_allclose(capped, [0.25, 0.75, 0.0])
    with pytest.raises(DistributionError):
        tl.control.cap_probs([1.0, 0.0], [0.0, 1.0])
    with pytest.raises(ArrayError):
        tl.control.cap_probs([1.0], [1.0, 1.0])


class KeepsWhatItRefuses(Balanced):
    def feed(self, byte: int) -> bool:
        taken = super().feed(byte)
        if not taken:
            self.depths.append(0)
        return taken


class ForgetsToUndo(Balanced):
    def undo(self, n: int) -> None:
        pass


class ChangesItsMind(Balanced):
    n_asked = 0

    def feed(self, byte: int) -> bool:
        type(self).n_asked += 1
        return self.n_asked % 2 == 0 and super().feed(byte)


@pytest.mark.parametrize("liar", [KeepsWhatItRefuses, ForgetsToUndo, ChangesItsMind])
def test_automata_that_lie_are_found(tok: tl.Tokenizer, liar: Callable[[], Any]) -> None:
    assert tl.control.check_contract(tl.control.automaton(liar, tok), tok, ["ab", "aabb"])
    assert not tl.control.check_contract(tl.control.automaton(Balanced, tok), tok, ["ab", "aabb"])


def test_faults_of_a_constraint_are_found(tok: tl.Tokenizer) -> None:
    texts = ["aabb", "ab, c", "xyz"]
    for make, _ in CASES.values():
        assert tl.control.check_contract(make(tok), tok, texts, n_walks=3, n_steps=5) == []
    short = tl.control.predicate(lambda prefix: len(prefix) < 5, tok)
    assert tl.control.check_contract(short, tok, texts, n_walks=3) == []

    def kinds(constraint: tl.control.Constraint) -> list[str]:
        return [says.split(":")[0] for says in tl.control.check_contract(constraint, tok, texts, n_walks=4)]

    even = tl.control.predicate(lambda prefix: len(prefix) % 2 == 0, tok)
    assert kinds(even) == ["not monotone"]
    ends = tl.control.predicate(lambda prefix: b"y" not in prefix, tok, complete=lambda prefix: True)
    assert kinds(ends) == ["complete"]

    class Forgets(Balanced):
        def undo(self, n: int) -> None:
            del self.depths[max(1, len(self.depths) - n - 1) :]

    assert "rollback" in kinds(tl.control.automaton(Forgets, tok))

    class Shares(Balanced):
        def __deepcopy__(self, memo: Any) -> Any:
            return self

    assert "fork" in kinds(tl.control.automaton(Shares, tok))
