"""Which tokens may come next, and what does a rejected draw weigh?

A constraint is compiled once for a tokenizer; ``start()`` gives a state that walks one text. States answer for all
tokens at once (``mask``) where that is possible, and always for single tokens (``check``). See
``docs/concepts/control.md``.

>>> import numpy as np, tokenloom as tl
>>> logprobs = np.log([0.5, 0.3, 0.2])
>>> token, log_weight, n_checks = tl.control.awrs(logprobs, lambda token: token != 0, rng=1)
>>> token in (1, 2), round(np.exp(log_weight), 6) in (0.2, 0.3, 0.5)
(True, True)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokenloom._awrs import Weighted, awrs, awrs_batch
from tokenloom._canonical import Canonical
from tokenloom._checking import CheckedDraw, draw_checked
from tokenloom._constraint import END_TOKENS, Compiled, Conjunction, Constraint, Grammar, State, fill_masks
from tokenloom._contract import check_contract
from tokenloom._core import control as _core
from tokenloom._feeding import Feeding, ReadsBytes
from tokenloom._predicate import Predicate
from tokenloom._rejection import ExactSampler, Sampled
from tokenloom._smc import Particles, Reader, Smc, log_mean, resample
from tokenloom.errors import ArrayError, ConstraintError
from tokenloom.tokenizer import Tokenizer

__all__ = [
    "END_TOKENS",
    "Canonical",
    "CheckedDraw",
    "Compiled",
    "Conjunction",
    "Constraint",
    "ExactSampler",
    "Feeding",
    "Grammar",
    "Particles",
    "Predicate",
    "Reader",
    "ReadsBytes",
    "Sampled",
    "Smc",
    "State",
    "Weighted",
    "automaton",
    "awrs",
    "awrs_batch",
    "canonical",
    "cap_probs",
    "check_contract",
    "choose",
    "copy_from",
    "draw_checked",
    "fill_masks",
    "json_schema",
    "lark",
    "log_mean",
    "phrases",
    "predicate",
    "regex",
    "resample",
    "table",
]


def json_schema(
    schema: Mapping[str, Any] | bool | str, tokenizer: Tokenizer, eos: Collection[int] | None = None
) -> Constraint:
    """Texts that are JSON and satisfy a JSON Schema.

    The schema is compiled by ``llguidance``; a keyword that it does not support is an error, never left out. Members
    come in the order of ``properties``; white space between tokens of JSON is allowed. References must be inside the
    schema (``#/...``).

    Args:
        schema: a mapping, True or False, or JSON text.
        tokenizer: whose tokens the texts are made of.
        eos: the tokens that end a text; by default the special tokens named in :data:`END_TOKENS`.

    Raises:
        ConstraintError: the schema is not JSON, not a schema, not satisfiable, or uses an unsupported keyword.

    Geng et al., "JSONSchemaBench" (2025) compares engines and says what is covered.
    """
    try:
        text = schema if isinstance(schema, str) else json.dumps(schema)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConstraintError(f"the JSON Schema cannot be written as JSON: {error}") from error
    return Grammar("grammar", ("json_schema", text), tokenizer, eos)


def regex(pattern: str, tokenizer: Tokenizer, eos: Collection[int] | None = None) -> Constraint:
    r"""Texts that a regular expression matches as a whole.

    Args:
        pattern: the syntax of Rust's ``regex`` crate, Unicode; no look-around, no back-references.
        tokenizer: whose tokens the texts are made of.
        eos: the tokens that end a text; by default the special tokens named in :data:`END_TOKENS`.

    Raises:
        ConstraintError: the pattern cannot be compiled.
    """
    return Grammar("grammar", ("regex", pattern), tokenizer, eos)


def lark(grammar: str, tokenizer: Tokenizer, eos: Collection[int] | None = None) -> Constraint:
    """Texts of a context-free grammar.

    Args:
        grammar: in ``llguidance``'s dialect of Lark; the text is what ``start`` derives.
        tokenizer: whose tokens the texts are made of.
        eos: the tokens that end a text; by default the special tokens named in :data:`END_TOKENS`. The grammar does not
            spell them.

    Raises:
        ConstraintError: the grammar cannot be compiled.
    """
    return Grammar("grammar", ("lark", grammar), tokenizer, eos)


def predicate(
    fn: Callable[[bytes], bool],
    tokenizer: Tokenizer,
    complete: Callable[[bytes], bool] | None = None,
    eos: Collection[int] | None = None,
    batch: Callable[[list[bytes]], Sequence[bool]] | None = None,
) -> Constraint:
    """Texts whose every token keeps ``fn(prefix)`` true.

    ``mask()`` of its states is None, because the function is never asked about a vocabulary: use ``check``, or
    :func:`awrs` for samples with weights. Answers are remembered by prefix. What ``fn`` raises is raised unchanged,
    with a note that names the prefix. :func:`check_contract` finds functions that do not keep the contract.

    Args:
        fn: takes the bytes so far, the new token's included; they may end inside a character. Monotone: once
            false, false for every longer text.
        tokenizer: whose tokens the texts are made of.
        complete: whether a text may end; by default every text may.
        eos: the tokens that end a text; by default the special tokens named in :data:`END_TOKENS`.
        batch: what ``fn`` says about each of a list of prefixes, where one call for many is cheaper.
    """
    return Predicate(fn, tokenizer, complete, eos, batch)


def canonical(tokenizer: Tokenizer, context: Sequence[int] = (), eos: Collection[int] | None = None) -> Constraint:
    r"""Text is written as ``tokenizer.encode`` would write it.

    A token is allowed where some text's encoding starts with the tokens so far and it. Models that were trained on
    encoded text put little mass elsewhere; what they put there is lost to the text they mean. Has masks, which cost
    about one pass over the vocabulary's bits.

    Args:
        tokenizer: of the class that :class:`tokenloom.bytelevel.ByteModel` takes.
        context: the tokens of the prompt, where the first token is to fit them.
        eos: the tokens that may end the text, where it may end; found by name if not given.

    Raises:
        UnsupportedFeatureError: the tokenizer's splits cannot be followed byte by byte.

    Vieira et al., "Language models over canonical byte-pair encodings" (2025), section 3.

    >>> import tokenloom as tl
    >>> ranks = {bytes([b]): b for b in range(256)} | {b"ab": 256}
    >>> toy = tl.Tokenizer.from_tiktoken("toy", pat_str=r"\s|\S+", mergeable_ranks=ranks, special_tokens={"</s>": 257})
    >>> state = tl.control.canonical(toy).start()
    >>> state.advance(97)
    >>> state.check(98), state.check(99), state.check(257)
    (False, True, True)
    """
    return Canonical(tokenizer, context, eos)


def automaton(make: Callable[[], ReadsBytes], tokenizer: Tokenizer, eos: Collection[int] | None = None) -> Constraint:
    """Texts that an automaton of your own reads byte by byte.

    Masks walk the trie of the vocabulary and call ``feed`` once a node up to the first byte that is refused: a
    microsecond each, so prefer checks where most bytes are allowed. What the automaton raises is raised unchanged.

    Args:
        make: returns an automaton before its first byte: an object with ``feed(byte: int) -> bool``,
            ``undo(n: int)`` and ``is_complete() -> bool``; forks copy it with ``copy.deepcopy``.
        tokenizer: whose tokens the texts are made of.
        eos: the tokens that end a text; by default the special tokens named in :data:`END_TOKENS`.
    """
    return Feeding(make, tokenizer, eos)


def table(
    transitions: ArrayLike,
    complete: ArrayLike,
    tokenizer: Tokenizer,
    start: int = 0,
    eos: Collection[int] | None = None,
) -> Constraint:
    r"""Texts that a deterministic automaton accepts, given as a table.

    The table is trimmed and minimised once (Moore's partition refinement), so states from which nothing complete can be
    reached need not be found by the caller.

    Args:
        transitions: integers ``[n, 256]``: the state after each state and byte, negative where none follows.
        complete: bool ``[n]``: whether a text may end in each state.
        tokenizer: whose tokens the texts are made of.
        start: the state before the first byte.
        eos: the tokens that end a text; by default the special tokens named in :data:`END_TOKENS`.

    Raises:
        ArrayError: the shapes do not fit.
        ConstraintError: a state does not exist, there are more than 65,536, or no complete text can be reached.

    >>> import numpy as np, tokenloom as tl
    >>> ranks = {bytes([b]): b for b in range(256)} | {b"ab": 256}
    >>> toy = tl.Tokenizer.from_tiktoken("toy", pat_str=r"\s|\S+", mergeable_ranks=ranks, special_tokens={"</s>": 257})
    >>> transitions = np.full((2, 256), -1)
    >>> transitions[0, ord("a")], transitions[1, ord("b")] = 1, 0
    >>> state = tl.control.table(transitions, [True, False], toy).start()  # (ab)*
    >>> state.check(256), state.check(98), state.check(257)
    (True, False, True)
    """
    rows, flags = np.asarray(transitions), np.asarray(complete, dtype=np.bool_)
    if rows.ndim != 2 or rows.shape[1] != 256 or rows.dtype.kind not in "iu" or flags.shape != (len(rows),):
        raise ArrayError(
            "expected integer transitions of shape [n, 256] and complete of shape [n], "
            f"found {list(rows.shape)} of {rows.dtype} and {list(flags.shape)}",
            argument="transitions",
        )
    dead = 0xFFFF_FFFF
    if (rows >= dead).any():
        state, byte = np.argwhere(rows >= dead)[0].tolist()
        found = f"{rows[state, byte]} after state {state} and byte {byte}"
        raise ConstraintError(f"the table cannot be used: expected states below {len(rows)}, found {found}")
    if start < 0:
        raise ConstraintError(f"the table cannot be used: expected a start below {len(rows)}, found {start}")
    targets = np.where(rows < 0, dead, rows).astype(np.uint32).ravel()
    return Compiled("table", (targets, flags, start), tokenizer, eos)


def phrases(
    tokenizer: Tokenizer,
    required: Sequence[str | bytes] = (),
    banned: Sequence[str | bytes] = (),
    stop: Sequence[str | bytes] = (),
    eos: Collection[int] | None = None,
) -> Constraint:
    """Texts that hold every required phrase and no banned one, however tokens cut them.

    Args:
        tokenizer: whose tokens the texts are made of.
        required: must all occur before the text may end; at most 64.
        banned: must not occur.
        stop: if given, the text ends with the first of these that occurs, and may not end otherwise. One that comes
            before all required phrases have occurred is not allowed.
        eos: the tokens that end a text; by default the special tokens named in :data:`END_TOKENS`.

    Raises:
        ConstraintError: a phrase is empty, there are too many, or a required phrase holds a banned one.

    Aho and Corasick, "Efficient string matching" (1975).
    """
    lists = tuple([_as_bytes(phrase) for phrase in phrases] for phrases in (required, banned, stop))
    return Compiled("phrases", lists, tokenizer, eos)


def choose(
    items: Collection[str | bytes],
    tokenizer: Tokenizer,
    separator: str | bytes = ", ",
    least: int = 1,
    most: int | None = None,
    repeats: bool = False,
    eos: Collection[int] | None = None,
) -> Constraint:
    """Lists of items of a catalogue, in any order, none of them twice.

    Args:
        items: what may be listed; at most 65,536.
        tokenizer: whose tokens the texts are made of.
        separator: what stands between two items. No item may go on with its first byte where another item ends.
        least: fewest items of a list.
        most: most items of a list; by default all.
        repeats: whether an item may be listed again.
        eos: the tokens that end a text; by default the special tokens named in :data:`END_TOKENS`.

    Raises:
        ConstraintError: no list can be told apart or keep the bounds; the message says why.
    """
    if least < 0 or (most is not None and most < 0):
        raise ConstraintError(
            f"the items cannot be chosen from: expected bounds of at least 0, found {least} and {most}"
        )
    bounds = (least, most)
    arguments = ([_as_bytes(item) for item in items], _as_bytes(separator), bounds, repeats)
    return Compiled("choice", arguments, tokenizer, eos)


def copy_from(
    source: str | bytes, tokenizer: Tokenizer, least_bytes: int = 1, eos: Collection[int] | None = None
) -> Constraint:
    """Texts that are a run of the source's bytes: quotations, names, numbers that must not be invented.

    Args:
        source: what is copied from; at most 4 MiB.
        tokenizer: whose tokens the texts are made of.
        least_bytes: fewest bytes of a copy.
        eos: the tokens that end a text; by default the special tokens named in :data:`END_TOKENS`.

    Raises:
        ConstraintError: the source is empty, too long, or shorter than ``least_bytes``.

    Blumer et al., "The smallest automaton recognizing the subwords of a text" (1985).
    """
    if least_bytes < 0:
        raise ConstraintError(f"the source cannot be copied from: expected at least 0 bytes, found {least_bytes}")
    return Compiled("excerpt", (_as_bytes(source), least_bytes), tokenizer, eos)


def cap_probs(probs: ArrayLike, caps: ArrayLike) -> tuple[NDArray[np.float64], float]:
    """The distribution closest to ``probs`` that gives no token more than its cap.

    With ``caps = 1 - (probability that the text ends badly behind the token)`` a dead end gets at most the probability
    with which it can be escaped. The answer is ``min(s * probs, caps)`` with the one ``s`` for which it sums to one
    ("water-filling"), exact where repeated clipping and renormalising stays above the caps.

    Args:
        probs: probabilities, float ``[V]``; normalised first.
        caps: most probability of each token, float ``[V]``.

    Returns:
        The capped distribution, float64 ``[V]``, and ``s``; ``inf`` where the caps of tokens with mass sum to less than
        one: the distribution is then proportional to them.

    Raises:
        ArrayError: the lengths differ.
        DistributionError: an entry is negative or not finite, or no token has both mass and a positive cap.

    Cao et al., "Systematic rectification of language models via dead-end analysis" (2023), has the caps.

    >>> import tokenloom as tl
    >>> tl.control.cap_probs([0.8, 0.15, 0.05], [0.5, 1.0, 1.0])
    (array([0.5  , 0.375, 0.125]), 2.5)
    """
    rows = [np.ascontiguousarray(values, dtype=np.float64) for values in (probs, caps)]
    if rows[0].ndim != 1 or rows[0].shape != rows[1].shape:
        found = f"{list(rows[0].shape)} and {list(rows[1].shape)}"
        raise ArrayError(f"expected probs and caps of one shape [V], found {found}", argument="caps")
    return _core.cap_probs(*rows)


def _as_bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else bytes(text)
