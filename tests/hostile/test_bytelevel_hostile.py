"""Byte laws under models that misbehave, bytes that are no text, and texts that spell symbols: nothing is made up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tokenloom as tl
from numpy.typing import NDArray
from tokenloom.bytelevel import ByteModel, Ensemble, token_law
from tokenloom.errors import ArrayError, DistributionError, FormatError, ParamsError

RANKS = {bytes([byte]): byte for byte in range(256)} | {b"ab": 256, b" a": 257}
TOKENIZER = tl.Tokenizer.from_tiktoken(
    "toy", pat_str=tl.patterns.GPT2, mergeable_ranks=RANKS, special_tokens={"<end>": 258, "<sep>": 259}
)
N = 260
TARGETS = ["canonical", "marginal"]


def flat(change: Callable[[NDArray[np.float64], list[int]], None] | None = None) -> Any:
    """A uniform model whose rows are changed, each with its context."""

    def lm(contexts: list[list[int]]) -> NDArray[np.float64]:
        rows = np.full((len(contexts), N), -np.log(N))
        for row, context in zip(rows, contexts, strict=True):
            if change is not None:
                change(row, context)
        return rows

    return lm


def filled(value: float, behind: int = 0, at: int | slice = slice(None)) -> Any:
    """Rows behind at least so many tokens hold the value."""

    def change(row: NDArray[np.float64], context: list[int]) -> None:
        if len(context) >= behind:
            row[at] = value

    return flat(change)


def model(lm: Any, target: str = "canonical") -> ByteModel:
    return ByteModel(lm, TOKENIZER, target=target)  # type: ignore[arg-type]


ASKED: list[Callable[[ByteModel], Any]] = [
    lambda model: model.start(b"a").next_byte(),
    lambda model: model.score(b"ab a"),
    lambda model: model.byte_targets(b"ab a"),
    lambda model: model.sample(b"x", 4),
    lambda model: token_law(model.start(b"a"), TOKENIZER),
]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("asked", range(len(ASKED)))
@pytest.mark.parametrize(
    ("value", "at", "said"),
    [(np.nan, 97, "NaN for token 97"), (np.nan, 259, "NaN for token 259"), (np.inf, 3, "inf for token 3"),
     (5.0, slice(None), "more than 0 for token 0")],
)  # fmt: skip
def test_rows_that_are_no_log_probabilities(target: str, asked: int, value: float, at: Any, said: str) -> None:
    with pytest.raises(DistributionError, match=f"row . of the model holds {said}") as caught:
        ASKED[asked](model(filled(value, at=at), target))
    assert caught.value.row is not None


@pytest.mark.parametrize("target", TARGETS)
def test_no_mass_is_never_a_uniform_law(target: str) -> None:
    silent = model(filled(-np.inf), target)
    with pytest.raises(DistributionError, match="probability zero"):
        silent.start(b"a").next_byte()
    assert silent.score(b"ab a") == -np.inf
    # Behind the first token nothing comes: what the model still gives is said, the rest is leaked.
    dying = model(filled(-np.inf, behind=1), target).start(b"a")
    law = np.exp(dying.next_byte())
    assert (law.sum(), law[ord("b")]) == (pytest.approx(1), pytest.approx(1))
    assert dying.leaked == pytest.approx(0.5)
    dying.push(ord("b"))
    with pytest.raises(DistributionError, match="probability zero"):
        dying.next_byte()
    dying.pop()
    np.testing.assert_allclose(np.exp(dying.next_byte()), law)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("answer", "said"),
    [(np.zeros((9, N)), "an array of . rows"), (np.zeros(N), "an array of . rows"), (None, "an array of . rows"),
     ("x", "rows of numbers"), (np.zeros((1, 9)), "9 log-probabilities|an array of . rows")],
)  # fmt: skip
def test_answers_of_the_wrong_shape(target: str, answer: Any, said: str) -> None:
    state = model(lambda contexts: answer, target).start(b"")
    with pytest.raises(ArrayError, match=said):
        state.next_byte()

    def broken(contexts: list[list[int]]) -> Any:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        model(broken, target).start(b"").next_byte()


@pytest.mark.parametrize("prompt", [b"\xff", b"a\x80", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90", b"\xc3b"])
def test_bytes_that_are_no_text(prompt: bytes) -> None:
    canonical, marginal = (model(flat(), target) for target in TARGETS)
    for ask in (canonical.start, canonical.score, canonical.heal, Ensemble([canonical]).start):
        with pytest.raises(DistributionError, match=r"no canonical encoding|no member"):
            ask(prompt)
    # Token sequences spell them all the same.
    assert np.exp(marginal.start(prompt).next_byte()).sum() == pytest.approx(1)
    assert marginal.score(prompt) == pytest.approx(-len(prompt) * np.log(N))


@pytest.mark.parametrize("half", ["\u00e9".encode()[:1], "\u4e2d".encode()[:2], "\U0001f600".encode()[:3]])
@pytest.mark.parametrize("target", TARGETS)
def test_prompts_that_end_in_half_a_character(half: bytes, target: str) -> None:
    state = model(flat(), target).start(b"a " + half)
    law = np.exp(state.next_byte())
    assert law.sum() == pytest.approx(1)
    if target == "canonical":
        assert set(np.flatnonzero(law)) <= set(range(0x80, 0xC0))
        with pytest.raises(DistributionError, match="no canonical encoding"):
            state.push(ord("a"))
        np.testing.assert_array_equal(np.exp(state.next_byte()), law)
        assert np.exp(model(flat()).heal(b"a " + half).log_probs).sum() == pytest.approx(1)
    fork = state.fork()
    fork.push(0xA9)
    assert np.exp(fork.next_byte()).sum() == pytest.approx(1)


@pytest.mark.parametrize("target", TARGETS)
def test_symbols_that_text_spells(target: str) -> None:
    byte_model = model(flat(), target)
    assert byte_model.score(b"<sep>") == pytest.approx(0)  # given, as encode reads it
    plain = byte_model.start(b"<se")
    plain.push(ord("p"))
    plain.push(ord(">"))
    spelled = byte_model.start(b"<sep>", context=[258])
    given = byte_model.start(b"<sep>")
    # Behind a context the marginal target still counts the ways to spell "<sep>"; neither takes it for the symbol.
    for state in (plain, spelled, given):
        assert np.exp(state.next_byte()).sum() == pytest.approx(1)
    assert byte_model.score(b"<se") < 0
    for bad in ([97], [9999], [-1]):
        with pytest.raises(ParamsError, match="end with an added token"):
            byte_model.start(b"a", context=bad)


@pytest.mark.parametrize("target", TARGETS)
def test_arguments_that_make_no_sense(target: str) -> None:
    byte_model = model(flat(), target)
    for state in (byte_model.start(b"a"), Ensemble([byte_model]).start(b"a")):
        for byte in (-1, 256):
            with pytest.raises(ParamsError, match="from 0 to 255"):
                state.push(byte)
        with pytest.raises(ParamsError, match="at least 0"):
            state.pop(-1)
        with pytest.raises(ParamsError, match="take back"):
            state.pop()
    with pytest.raises(ParamsError, match="at least 0"):
        byte_model.sample(b"", -1)
    for max_tv in (-1.0, np.nan, 1.0):
        with pytest.raises(ParamsError, match="max_tv"):
            token_law(byte_model.start(b"a"), TOKENIZER, max_tv)
    wrong: list[Callable[[Any], Any]] = [byte_model.start, byte_model.score, byte_model.byte_targets]
    for ask in wrong:
        with pytest.raises(TypeError, match="expected bytes"):
            ask("text")
    with pytest.raises(ParamsError, match="a model or a function"):
        model(5, target)
    with pytest.raises(ParamsError, match="Tokenizer"):
        ByteModel(flat(), None)  # type: ignore[arg-type]
    with pytest.raises(ParamsError, match="byte models"):
        Ensemble([byte_model, 5])  # type: ignore[list-item]


def test_vocabularies_without_bytes_are_refused() -> None:
    for ranks in ({}, {b"a": 0, b"b": 1}):
        with pytest.raises(FormatError, match="byte 0x00 is no token"):
            tl.Tokenizer.from_tiktoken("none", pat_str=r"\S+", mergeable_ranks=ranks, special_tokens={})


def test_a_broken_member_is_not_a_silent_one() -> None:
    good, broken, silent = model(flat()), model(filled(np.nan, behind=2)), model(filled(-np.inf, behind=2))
    mixed = Ensemble([good, broken]).start(b"a")
    mixed.next_byte()
    mixed.push(ord("b"))
    mixed.push(ord("a"))
    with pytest.raises(DistributionError, match="NaN"):
        mixed.next_byte()
    pool = Ensemble([good, silent])
    assert pool.score(b"abab ab") > -np.inf
    with pytest.raises(DistributionError, match="probability zero"):
        Ensemble([good, silent], rule="product").score(b"abab ab")
    # Proxy tuning where the three have one byte in common.
    certain = filled(-np.inf)
    only = model(lambda contexts: np.where(np.arange(N) == 97, 0.0, certain(contexts)))
    tuned = Ensemble([good, good, only], [1, 1, -1], "product").start(b"a")
    assert np.flatnonzero(np.exp(tuned.next_byte())).tolist() == [97]
