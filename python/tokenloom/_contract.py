"""Does a constraint keep what decoding relies on?

Walks of random and of given texts ask every question in two ways: before and after going back, of the state and of its
fork, by check and by mask. A predicate is asked about longer texts behind a refused one. Finding nothing proves
nothing; what is found is a fault, named with the text that shows it.

Cost: about a hundred checks a step.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from tokenloom._constraint import Constraint, State
from tokenloom._mask_words import unpack
from tokenloom._predicate import Predicate
from tokenloom.errors import ConstraintError
from tokenloom.tokenizer import Tokenizer

__all__ = ["check_contract"]

_N_PROBES = 32


def check_contract(
    constraint: Constraint,
    tokenizer: Tokenizer,
    examples: Sequence[str | bytes] = (),
    n_walks: int = 8,
    n_steps: int = 16,
    seed: int = 0,
) -> list[str]:
    r"""Look for faults of a constraint of your own; returns what was found, one sentence each, at most one of a kind.

    Does a predicate that has refused a text refuse every longer one? Are equal questions answered equally? Is a token's
    ``check`` its bit of the ``mask``? Does ``rollback`` restore the state, and does a ``fork`` leave it alone?

    Args:
        constraint: the one to try.
        tokenizer: whose tokens its texts are made of.
        examples: texts to walk along, right or wrong ones; without any, only random tokens are tried.
        n_walks: how many random walks.
        n_steps: how many tokens each takes at most.
        seed: of the walks.

    Raises:
        Exception: whatever the constraint raises.

    >>> import tokenloom as tl
    >>> ranks = {bytes([b]): b for b in range(256)}
    >>> toy = tl.Tokenizer.from_tiktoken("toy", pat_str=r"\s|\S+", mergeable_ranks=ranks, special_tokens={})
    >>> even = tl.control.predicate(lambda prefix: len(prefix) % 2 == 0, toy)
    >>> tl.control.check_contract(even, toy)[0][:35]
    'not monotone: the predicate refuses'
    """
    found: dict[str, str] = {}
    random = np.random.default_rng(seed)
    walks: list[list[int] | None] = [tokenizer.encode_list(text) for text in examples]
    for wanted in [*walks, *[None] * n_walks]:
        state = constraint.start()
        for step in range(n_steps if wanted is None else len(wanted)):
            probes = _probes(random, tokenizer, None if wanted is None else wanted[step])
            allowed = _try(state, probes, tokenizer, found)
            if isinstance(constraint, Predicate):
                _try_longer(constraint, state.prefix, probes, allowed, tokenizer, found)
            choices = [id for id, ok in zip(probes, allowed, strict=True) if ok]
            if not choices or (wanted is not None and wanted[step] not in choices):
                break
            if "rollback" in found or "fork" in found:
                break  # what a state says from here on means nothing
            state.advance(int(random.choice(choices)) if wanted is None else wanted[step])
    if isinstance(constraint, Predicate):
        for text in examples:
            _try_heads(constraint, text.encode() if isinstance(text, str) else bytes(text), found)
    return list(found.values())


def _probes(random: np.random.Generator, tokenizer: Tokenizer, wanted: int | None) -> list[int]:
    drawn = random.integers(0, tokenizer.vocab_size, _N_PROBES).tolist()
    ends = list(tokenizer.special_tokens.values())[:4]
    return list(dict.fromkeys([*([] if wanted is None else [wanted]), *drawn, *ends, tokenizer.vocab_size + 7]))


def _try(state: State, probes: list[int], tokenizer: Tokenizer, found: dict[str, str]) -> list[bool]:
    """What the state allows of the probes, after asking in every other way too."""
    here = state.prefix
    allowed = [bool(ok) for ok in state.check_many(probes)]

    def differs(kind: str, says: list[bool], how: str) -> None:
        for id, one, other in zip(probes, allowed, says, strict=True):
            if one != other:
                found.setdefault(kind, f"{kind}: after {here!r} token {id} is {_word(one)} by check_many, {how}")

    differs("unequal answers", [bool(state.check(id)) for id in probes], "not by check")
    mask = _mask_of(state)
    if mask is not None:
        bits = unpack(np.asarray(mask), 32 * len(mask))
        differs("mask and check", [id < len(bits) and bool(bits[id]) for id in probes], "not by its bit of the mask")
    first = next((id for id, ok in zip(probes, allowed, strict=True) if ok), None)
    if first is None:
        return allowed
    before = (list(state.ids), here, state.is_accepting())
    try:
        fork = state.fork()
        fork.advance(first)
        if (list(state.ids), state.prefix, state.is_accepting()) != before:
            found.setdefault("fork", f"fork: after {here!r} advancing a fork by token {first} moves the state itself")
        differs("fork", [bool(ok) for ok in state.check_many(probes)], f"not after a fork took token {first}")
        state.advance(first)
        state.rollback(1)
        if (list(state.ids), state.prefix, state.is_accepting()) != before:
            found.setdefault(
                "rollback", f"rollback: after {here!r} taking back token {first} does not restore the state"
            )
        differs("rollback", [bool(ok) for ok in state.check_many(probes)], f"not after token {first} was taken back")
        fork.rollback(1)
        differs("rollback", [bool(ok) for ok in fork.check_many(probes)], f"not by a fork that took back {first}")
    except ConstraintError as error:
        found.setdefault("rollback", f"rollback: after {here!r} token {first} is allowed and cannot be taken: {error}")
    return allowed


def _mask_of(state: State) -> Any:
    try:
        return state.mask()
    except ConstraintError:
        return None  # a dead end: there is nothing to compare


def _try_longer(
    constraint: Predicate,
    prefix: bytes,
    probes: list[int],
    allowed: list[bool],
    tokenizer: Tokenizer,
    found: dict[str, str],
) -> None:
    """Texts behind a refused one must be refused."""
    texts = [tokenizer.token_bytes(id) for id in probes if id < tokenizer.vocab_size and id not in constraint.special]
    refused = [text for text in texts if not constraint.fn(prefix + text)]
    for text, more in zip(refused, texts[::-1], strict=False):
        if constraint.fn(prefix + text + more):
            says = f"refuses {(prefix + text)!r} and allows {(prefix + text + more)!r}"
            found.setdefault("not monotone", f"not monotone: the predicate {says}")


def _try_heads(constraint: Predicate, text: bytes, found: dict[str, str]) -> None:
    """Along a text, no true may follow a false; where it may end, it must be allowed."""
    verdicts = [bool(constraint.fn(text[:end])) for end in range(len(text) + 1)]
    for end, (one, other) in enumerate(itertools.pairwise(verdicts)):
        if other and not one:
            says = f"refuses {text[:end]!r} and allows {text[: end + 1]!r}"
            found.setdefault("not monotone", f"not monotone: the predicate {says}")
    if constraint.complete is not None and constraint.complete(text) and not verdicts[-1]:
        found.setdefault("complete", f"complete: {text!r} may end, and the predicate refuses it")


def _word(allowed: bool) -> str:
    return "allowed" if allowed else "refused"
