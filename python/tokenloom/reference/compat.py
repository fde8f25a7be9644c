"""How is an encoding cut, joined and finished? The rules of ``tokenizers`` on lists of ids.

An encoding is ``(ids, overflowing)``: what stays, and the parts that were cut off. Type ids, masks and offsets follow
the ids. The compiled twin is ``rust/tokenize/src/pipeline/{encoding,truncation,post_processors}.rs``.
"""

from __future__ import annotations

from collections.abc import Sequence

Ids = tuple[int, ...]
Encoding = tuple[Ids, tuple["Encoding", ...]]


def cut(ids: Ids, max_length: int, stride: int, direction: str) -> Encoding:
    """The first part that fits, and the others, each of which shares ``stride`` ids with the one before."""
    if max_length >= len(ids):
        return ids, ()
    if max_length == 0:
        return (), ((ids, ()),)
    if stride >= max_length:
        raise ValueError("the parts would not advance")
    line = ids if direction == "right" else ids[::-1]
    parts: list[Ids] = []
    while not parts or (len(parts) - 1) * (max_length - stride) + max_length < len(ids):
        start = len(parts) * (max_length - stride)
        part = line[start : start + max_length]
        parts.append(part if direction == "right" else part[::-1])
    return parts[0], tuple((part, ()) for part in parts[1:])


def shares(n_first: int, n_second: int, max_length: int) -> tuple[int, int]:
    """How many ids two sequences keep where the longest gives way first: the shorter all of its, or both half."""
    short, long = sorted((n_first, n_second))
    long = short if short > max_length else max(short, max_length - short)
    if short + long > max_length:
        short, long = max_length // 2, max_length // 2 + max_length % 2
    return (long, short) if n_first > n_second else (short, long)


def truncate(
    first: Ids,
    second: Ids | None,
    max_length: int,
    stride: int = 0,
    strategy: str = "longest_first",
    direction: str = "right",
) -> list[Encoding]:
    """One sequence or two cut so that they have at most ``max_length`` ids together."""
    sequences = [first] if second is None else [first, second]
    excess = sum(map(len, sequences)) - max_length
    lengths = [len(ids) for ids in sequences]
    if max_length == 0:
        lengths = [0 for _ in sequences]
    elif excess > 0 and strategy == "longest_first":
        lengths = list(shares(lengths[0], lengths[1], max_length)) if len(lengths) == 2 else [max_length]
    elif excess > 0:
        which = ("only_first", "only_second").index(strategy)
        if which >= len(lengths) or lengths[which] <= excess:
            raise ValueError("the sequence to truncate is too short or missing")
        lengths[which] -= excess
    return [cut(ids, length, stride, direction) for ids, length in zip(sequences, lengths, strict=True)]


def join(left: Encoding, right: Encoding) -> Encoding:
    """One behind the other; every part of the left meets every part of the right."""
    overflowing = [join(part, other) for part in left[1] for other in (right, *right[1])]
    overflowing += [join(left, other) for other in right[1]]
    return left[0] + right[0], tuple(overflowing)


def finish(sequences: Sequence[Encoding], template: Sequence[int | str]) -> Encoding:
    """Fill a template of ids and the names ``"A"`` and ``"B"``."""
    whole: Encoding = ((), ())
    for piece in template:
        whole = join(whole, ((piece,), ()) if isinstance(piece, int) else sequences["AB".index(piece)])
    return whole


def pad(ids: Ids, length: int, pad_id: int, direction: str) -> Ids:
    """Filled up to ``length``."""
    filling = (pad_id,) * (length - len(ids))
    return ids + filling if direction == "right" else filling + ids
