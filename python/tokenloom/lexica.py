"""Which other vocabularies can text be written in?

:func:`dynamic` merges the tokens of one batch further, for that batch alone; :func:`union` puts two tokenizers in one.
See ``docs/concepts/lexica.md`` for what each is for, and ``tokenloom.reference.lexica`` for the rules as short code.

Example:
    >>> import tokenloom as tl
    >>> tok = tl.train.bpe(["a lot of different words"], vocab_size=256, progress=False)
    >>> batch = tl.lexica.dynamic(["low lower", "lowest low"], tok, n_merges=3)
    >>> batch.n_tokens.tolist(), batch.tokens()[0]
    ([19, 15, 11, 9], b'low')
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tokenloom._core import lexica as _core
from tokenloom._core.tokenizer import Tokenizer as CoreTokenizer
from tokenloom._dynamic import Dynamic, DynamicFields
from tokenloom._training import compiled_machine, size_of
from tokenloom.errors import ParamsError
from tokenloom.tokenizer import Ragged, Text, Tokenizer

__all__ = ["Boundary", "Dynamic", "Union", "dynamic", "union"]

Boundary: TypeAlias = Literal["pretokens", "words", "hyphen-words", "sentences"]
_BOUNDARIES: tuple[Boundary, ...] = ("pretokens", "words", "hyphen-words", "sentences")
_NO_LIMIT = (1 << 32) - 1


def dynamic(
    batch: Iterable[Text] | Ragged,
    tokenizer: Tokenizer,
    n_merges: int | None = None,
    reduction: float | None = None,
    *,
    boundary: Boundary = "pretokens",
    max_token_bytes: int = 256,
    max_surface: int = 16,
    pad_id: int = 0,
    add_special_tokens: bool = False,
    threads: int | None = None,
) -> Dynamic:
    """Merge the tokens of one batch further: the most frequent pair of neighbours, again and again.

    Of equally frequent pairs that which stands first in the batch goes first. A merge that spells a token of the
    tokenizer gives that token.

    Args:
        batch: Texts, or what ``tokenizer.encode_batch`` made of them.
        tokenizer: Its tokens are where merging starts.
        n_merges: The most merges; without it and ``reduction``, until no pair is left.
        reduction: No more merges once the batch has lost this share of its tokens, between 0 and 1.
        boundary: What may be joined. ``"pretokens"``: tokens whose text the tokenizer leaves whole. ``"words"``: no
            white space between them. ``"hyphen-words"``: the same, but punctuation that follows a word stays apart,
            except a hyphen. ``"sentences"``: all. Always apart are tokens that were added to the tokenizer, and white
            space from what stands before it.
        max_token_bytes: No token gets longer.
        max_surface: Ids in a row of the surface matrix; longer spellings are cut.
        pad_id: What stands behind shorter ones.
        add_special_tokens: Put the tokenizer's template around each text.
        threads: Threads that encode the texts.

    Returns:
        The batch in a vocabulary of its own, as arrays.

    Raises:
        ParamsError: An option is out of its range.
        TrainError: An id is no token of the tokenizer.
        PatternError: A split pattern gives up on a text.
        UnsupportedFeatureError: The tokenizer is no BPE tokenizer of the compiled machine.

    Source:
        Feher, Vulić, Minixhofer, *Retrofitting Large Language Models with Dynamic Tokenization* (2024).

    >>> import tokenloom as tl
    >>> tok = tl.train.bpe(["x"], vocab_size=256, progress=False)
    >>> tl.lexica.dynamic(["aa aa aa"], tok, reduction=0.5).tokens()
    [b'aa', b' aa']
    """
    machine = compiled_machine(tokenizer, "tokenizer")
    if boundary not in _BOUNDARIES:
        raise ParamsError(f"boundary must be one of {', '.join(_BOUNDARIES)}, found {boundary!r}")
    if not 1 <= size_of("max_surface", max_surface) <= 1 << 16:
        raise ParamsError(f"max_surface must be between 1 and 65536, found {max_surface}")
    if not 0 <= size_of("pad_id", pad_id) <= _NO_LIMIT:
        raise ParamsError(f"pad_id must be between 0 and 2**32 - 1, found {pad_id}")
    if reduction is not None and not 0 <= reduction <= 1:
        raise ParamsError(f"reduction must be between 0 and 1, found {reduction}")
    base = batch
    if not isinstance(base, Ragged):
        base = tokenizer.encode_batch(base, threads=threads, add_special_tokens=add_special_tokens)
    enough = 0 if reduction is None else int(len(base.values) * (1 - reduction))
    most = _NO_LIMIT if n_merges is None else size_of("n_merges", n_merges)
    fields = DynamicFields(boundary, most, enough, size_of("max_token_bytes", max_token_bytes), max_surface)
    found = _core.merge_batch(machine, base.values, base.offsets, fields)
    return _dynamic_of(base, found, max_surface, pad_id)


def _dynamic_of(base: Ragged, found: tuple[Any, ...], max_surface: int, pad_id: int) -> Dynamic:
    ids, offsets, base_ids, data, byte_offsets, surface, lengths, segments, n_tokens = found
    rows = surface.reshape(-1, max_surface)
    if pad_id:
        rows[np.arange(max_surface) >= lengths[:, None]] = pad_id
    return Dynamic(Ragged(ids, offsets), base, base_ids, data, byte_offsets, rows, lengths, segments, n_tokens)


@dataclass(frozen=True, eq=False)
class Union:
    """Two tokenizers in one.

    Attributes:
        tokenizer: The union.
        ids: int64 ``[second.vocab_size]``; the id in the union of each id of the second, or -1 where it has none. The
            ids of the first are the same.
        n_bridges: How many of the tokenizer's ids are tokens of neither, which only merges pass through.
    """

    tokenizer: Tokenizer
    ids: NDArray[np.int64]
    n_bridges: int


def union(first: Tokenizer, second: Tokenizer) -> Union:
    """Put the tokens of two tokenizers into one that cuts text as the first does.

    The first keeps its ids, merges and added tokens. The tokens of the second that it lacks follow in the order of
    their ids there, then tokens that merges pass through on the way to them, then added tokens. Every token of the
    second is reached: where the union encodes its bytes by themselves, it is what comes out.

    Args:
        first: Its pattern, normalizer and template are those of the union.
        second: A tokenizer of the same kind: byte-level as well, or from characters with byte fallback as well.

    Returns:
        The tokenizer, and the ids of the second in it.

    Raises:
        TrainError: They are of two kinds, or an added token of the second is spelled like a token of the first.
        UnsupportedFeatureError: One is no BPE tokenizer of the compiled machine.

    >>> import tokenloom as tl
    >>> one = tl.train.bpe(["banana"], vocab_size=258, progress=False)
    >>> two = tl.train.bpe(["nab nab"], vocab_size=258, progress=False)
    >>> both = tl.lexica.union(one, two)
    >>> both.tokenizer.vocab_size, [both.tokenizer.token_bytes(id) for id in both.tokenizer.encode("banana nab")]
    (260, [b'ban', b'an', b'a', b' ', b'nab'])
    """
    machines = compiled_machine(first, "first"), compiled_machine(second, "second")
    spec, ids, n_bridges = _core.union(*machines)
    return Union(Tokenizer._wrap(CoreTokenizer(spec)), ids, n_bridges)
