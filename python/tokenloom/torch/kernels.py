"""What else can be done with a batch of logits where it lies?

Functions on torch tensors: on a CUDA device one or two launches on the current stream, on the CPU the Rust code that
the kernels are twins of, with the same results. Every output is a tensor on the device of the input.

>>> import tokenloom as tl, torch
>>> from tokenloom.torch import kernels
>>> table = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
>>> kernels.mixture(table, torch.tensor([[0, 1]]), torch.tensor([[0.25, 0.75]])).tolist()
[[0.25, 1.5]]
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from tokenloom._core import kernels as _core
from tokenloom._core.draft import DraftTree
from tokenloom.errors import ArrayError, DeviceError
from tokenloom.sample import Purpose, Rng
from tokenloom.torch.cuda_sampling import addresses_on, dtype_code, rows_of
from tokenloom.torch.device import launch, part_memory, team

__all__ = ["Arrivals", "Verified", "arrivals", "forbid_", "mixture", "range_sums", "verify"]

_RULES = {"greedy": 0, "walk": 1, "chain": 2, "block": 3, "recursive": 4, "kseq": 5}
_MINUS_INFINITY = {torch.float32: 0xFF800000, torch.bfloat16: 0xFF80, torch.float16: 0xFC00}
#: The most arrivals of one call, and the most nodes of a tree.
MOST_ARRIVALS, MOST_NODES = 256, 1024


class Arrivals(NamedTuple):
    """The first tokens of each row's race.

    Attributes:
        tokens: int64[B, n], in order of arrival; -1 where no more tokens arrive.
        times: float32[B, n]: waiting time over weight, where the best token weighs 1.
        logprobs: float32[B, n], natural logarithms of the tokens' probabilities.
        status: int8[B], a :class:`tokenloom.sample.Status`.
    """

    tokens: torch.Tensor
    times: torch.Tensor
    logprobs: torch.Tensor
    status: torch.Tensor


class Verified(NamedTuple):
    """See :class:`tokenloom.verify.AcceptedBatch`.

    Attributes:
        paths: int32[B, n], accepted nodes, padded with -1.
        next_tokens: int32[B]; -1 where the status is not OK.
        n_accepted: int32[B].
        status: int8[B], a :class:`tokenloom.verify.Status`.
    """

    paths: torch.Tensor
    next_tokens: torch.Tensor
    n_accepted: torch.Tensor
    status: torch.Tensor


def forbid_(logits: torch.Tensor, masks: torch.Tensor, rows: torch.Tensor | None = None) -> torch.Tensor:
    """Write ``-inf`` where a mask forbids, in place.

    Args:
        logits: float32, bfloat16 or float16 [B, V], columns side by side.
        masks: int32[M, ceil(V / 32)]: bit ``t % 32`` of word ``t // 32`` allows token ``t``.
        rows: int64[M], the row of each mask, -1 for none; ``None``: mask ``i`` is for row ``i``.

    Raises:
        ArrayError: A dtype or shape does not fit.
    """
    if logits.dim() != 2 or logits.dtype not in _MINUS_INFINITY or (logits.stride(1) != 1 and logits.shape[1] > 1):
        raise ArrayError(f"expected logits of shape [B, V] side by side, found {logits.dtype} {list(logits.shape)}")
    n_vocab, n_words = logits.shape[1], -(-logits.shape[1] // 32)
    n_masks = len(masks)
    if masks.dtype != torch.int32 or tuple(masks.shape) != (n_masks, n_words):
        raise ArrayError(f"expected masks of dtype int32 and shape [M, {n_words}], found {list(masks.shape)}")
    if rows is None and n_masks != len(logits):
        raise ArrayError(f"expected one mask a row ({len(logits)}) or rows, found {n_masks} masks")
    if rows is not None and (rows.dtype != torch.int64 or tuple(rows.shape) != (n_masks,)):
        raise ArrayError(f"expected rows of dtype int64 and shape [{n_masks}], found {list(rows.shape)}")
    forbidden, width = _MINUS_INFINITY[logits.dtype], logits.element_size()
    if _is_cuda(logits):
        arguments = [logits, logits.stride(0), n_vocab, width, forbidden, masks.contiguous(), n_words, rows]
        launch("mask", "tokenloom_forbid", logits.device, (min(-(-n_words // 8), 64), n_masks), arguments)
        return logits
    order = torch.arange(n_masks) if rows is None else rows
    bits: Any = logits.detach().view(torch.int32 if width == 4 else torch.int16)
    whole = bits if bits.is_contiguous() else bits.contiguous()
    words = whole.numpy().view(np.uint32 if width == 4 else np.uint16)
    _core.forbid(words, forbidden, masks.contiguous().numpy().view(np.uint32), order.numpy())
    if whole is not bits:
        bits.copy_(whole)
    return logits


def arrivals(
    logits: torch.Tensor,
    seeds: Any,
    positions: Any,
    n: int,
    after: tuple[torch.Tensor, torch.Tensor] | None = None,
    purpose: int = Purpose.SAMPLE,
) -> Arrivals:
    """The first ``n`` tokens of each row's race, or the ``n`` behind known ones.

    The first is the token of :func:`tokenloom.sample.sample` at temperature 1. A caller that may reject tokens asks for
    a few, and for the next few with the last key; nothing is kept in between.

    Args:
        logits: float[B, V].
        seeds: See :func:`tokenloom.sample.sample`.
        positions: See :func:`tokenloom.sample.sample`.
        n: 1 to 256.
        after: Times float32[B] and tokens int64[B] of the last arrivals that are known; a token of -1 is the start.
        purpose: A :class:`tokenloom.sample.Purpose`.

    Raises:
        ArrayError: A dtype or shape does not fit.
    """
    if not 1 <= n <= MOST_ARRIVALS:
        raise ArrayError(f"expected 1 to {MOST_ARRIVALS} arrivals, found {n}", argument="n")
    rows = rows_of(logits)
    (n_rows, n_vocab), device = rows.shape, rows.device
    if after is None:
        times = torch.zeros(n_rows, dtype=torch.float32, device=device)
        after = times, torch.full((n_rows,), -1, dtype=torch.int64, device=device)
    if [(key.dtype, tuple(key.shape)) for key in after] != [(torch.float32, (n_rows,)), (torch.int64, (n_rows,))]:
        raise ArrayError(f"expected after to be float32 and int64 of shape [{n_rows}]", argument="after")
    addresses = addresses_on(seeds, positions, n_rows, device)
    if not _is_cuda(logits):
        seed, position = (address.numpy().view(np.uint64) for address in addresses)
        last = after[0].contiguous().numpy(), after[1].contiguous().numpy()
        found = _core.arrivals(rows.float().contiguous().numpy(), (seed, position), purpose, last, n)
        return Arrivals(*map(torch.from_numpy, found))
    dtypes = (torch.int64, torch.float32, torch.float32)
    found_tokens, times, logprobs = (torch.empty((n_rows, n), dtype=dtype, device=device) for dtype in dtypes)
    status = torch.empty(n_rows, dtype=torch.int8, device=device)
    n_cluster, n_part = team(device, "arrivals", n_vocab)
    n_shared, workspace = part_memory(device, "arrivals", n_cluster, n_part, n_rows)
    launch(
        "arrivals",
        "tokenloom_arrivals",
        device,
        (n_cluster, n_rows),
        [rows, rows.stride(0), dtype_code(rows), n_vocab, *addresses, purpose]
        + [key.contiguous() for key in after]
        + [n, workspace, found_tokens, times, logprobs, status],
        n_threads=512,
        n_cluster=n_cluster,
        n_shared_bytes=n_shared,
    )
    return Arrivals(found_tokens, times, logprobs, status)


def mixture(table: torch.Tensor, tokens: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted sums of embeddings, float32[B, D].

    Args:
        table: float32, bfloat16 or float16 [V, D].
        tokens: int64[B, K]; what is no row of the table adds nothing.
        weights: float32[B, K].

    Raises:
        ArrayError: A dtype or shape does not fit.
    """
    rows = rows_of(table)
    if tokens.dim() != 2 or tokens.dtype != torch.int64 or weights.dtype != torch.float32:
        raise ArrayError(f"expected int64 tokens of shape [B, K] and float32 weights, found {list(tokens.shape)}")
    if weights.shape != tokens.shape:
        raise ArrayError(f"expected weights of shape {list(tokens.shape)}, found {list(weights.shape)}")
    tokens, weights = tokens.contiguous(), weights.contiguous()
    (n_batch, n_kept), n_columns = tokens.shape, rows.shape[1]
    if not _is_cuda(table):
        return torch.from_numpy(_core.mixture(_bits(rows.contiguous()), tokens.numpy(), weights.detach().numpy()))
    mixtures = torch.empty((n_batch, n_columns), dtype=torch.float32, device=table.device)
    arguments = [rows, rows.stride(0), dtype_code(rows), len(rows), n_columns, tokens, weights, n_kept, mixtures]
    launch("mixture", "tokenloom_mixture", table.device, (-(-n_columns // 256), n_batch), arguments)
    return mixtures


def range_sums(logits: torch.Tensor, order: torch.Tensor, ranges: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The mass of ranges of an order of the tokens, as that of the bytes that may come next.

    Args:
        logits: float[B, V].
        order: int32[V'], tokens, as sorted by their bytes.
        ranges: int32[R, 2]: from and to, positions in ``order``.

    Returns:
        float32[B], the maximum of each row (NaN where it is no distribution), and float64[B, R], sums of
        ``exp(logit - maximum)``: the log mass of a range is ``maximum + log(sum)``, up to the row's normaliser.

    Raises:
        ArrayError: A dtype or shape does not fit.
    """
    rows = rows_of(logits)
    if order.dim() != 1 or ranges.dim() != 2 or ranges.shape[1] != 2 or {order.dtype, ranges.dtype} != {torch.int32}:
        raise ArrayError(f"expected int32 order and ranges of shape [R, 2], found {ranges.dtype} {list(ranges.shape)}")
    order, ranges = order.contiguous(), ranges.contiguous()
    if not _is_cuda(logits):
        arrays = order.numpy().view(np.uint32), ranges.numpy().view(np.uint32)
        maxima, sums = _core.range_sums(rows.float().contiguous().numpy(), *arrays)
        return torch.from_numpy(maxima), torch.from_numpy(sums)
    (n_rows, n_vocab), device = rows.shape, rows.device
    row: list[Any] = [rows, rows.stride(0), dtype_code(rows), n_vocab]
    maximum = torch.empty(n_rows, dtype=torch.float32, device=device)
    mass = torch.empty((n_rows, len(ranges)), dtype=torch.float64, device=device)
    n_cluster, _ = team(device, "ranges", n_vocab)
    launch(
        "ranges", "tokenloom_maxima", device, (n_cluster, n_rows), [*row, maximum], n_threads=512, n_cluster=n_cluster
    )
    arguments = [*row, maximum, order, len(order), ranges, mass]
    launch("ranges", "tokenloom_range_sums", device, (len(ranges), n_rows), arguments)
    return maximum, mass


def verify(
    rule: str,
    p: torch.Tensor,
    q: torch.Tensor | None,
    tokens: torch.Tensor,
    parents: torch.Tensor,
    lengths: torch.Tensor,
    seeds: Any,
    positions: Any,
    *,
    with_replacement: bool = True,
    normalized: bool = False,
) -> Verified:
    """Verify a batch of drafts: the decisions of ``tl.verify.<rule>_batch``, from arrays.

    Args:
        rule: "greedy", "walk", "chain", "block", "recursive" or "kseq".
        p: float32[B, n + 1, V], rows of the target: logits for "greedy", else probabilities. Row 0 is behind the last
            committed token, row ``j + 1`` behind node ``j``.
        q: float32[B, n, V], rows that the drafts were drawn from; ``None`` for "greedy" and "walk".
        tokens: int32[B, n].
        parents: int32[B, n]: a smaller node, or -1 for the last committed token.
        lengths: int32[B]: nodes of each tree.
        seeds: int64[B].
        positions: int64[B]: the absolute position of the first token that is committed.
        with_replacement: Siblings were drawn independently and may repeat ("recursive").
        normalized: Rows are taken for probabilities that sum to 1, unseen.

    Raises:
        ArrayError: A dtype or shape does not fit. Bad numbers do not raise, nor on a CUDA device bad trees: see
            ``status``.
    """
    n_trees, n_nodes = _checked_drafts(rule, p, q, tokens, parents, lengths)
    addresses = addresses_on(seeds, positions, n_trees, p.device)
    if not _is_cuda(p):
        return _verify_on_cpu(rule, p, q, (tokens, parents, lengths), addresses, with_replacement, normalized)
    device, n_vocab = p.device, p.shape[2]
    n_cluster, _ = team(device, "verify", n_vocab)
    scales = [_scales(rows, n_cluster, normalized or rule == "greedy") for rows in (p, q)]
    n_rows = [p.shape[1], 0 if q is None else q.shape[1]]
    paths = torch.empty((n_trees, n_nodes), dtype=torch.int32, device=device)
    next_tokens, n_accepted = (torch.empty(n_trees, dtype=torch.int32, device=device) for _ in range(2))
    status = torch.empty(n_trees, dtype=torch.int8, device=device)
    sums = torch.empty(n_trees * -(-n_vocab // 512), dtype=torch.float64, device=device)
    outputs = [paths, next_tokens, n_accepted, status]
    strides: list[list[int]] = [[rows.stride(0), rows.stride(1)] if rows is not None else [0, 0] for rows in (p, q)]
    settings: list[Any] = [_RULES[rule], int(with_replacement or rule == "kseq")]
    numbers: list[Any] = [*scales[0], n_rows[0], *scales[1], n_rows[1]]
    drafts: list[Any] = [tokens.contiguous(), parents.contiguous(), n_nodes, lengths.contiguous()]
    launch(
        "verify",
        "tokenloom_verify",
        device,
        (n_cluster, n_trees),
        [*settings, p, *strides[0], q, *strides[1], n_vocab, *numbers, *drafts, *addresses, sums, *outputs],
        n_threads=512,
        n_cluster=n_cluster,
    )
    return Verified(paths, next_tokens, n_accepted, status)


def _scales(rows: torch.Tensor | None, n_cluster: int, is_trusted: bool) -> list[torch.Tensor | None]:
    """One over the sum of each row, and its status; nothing where the rows are trusted."""
    if rows is None or is_trusted or rows.shape[1] == 0:
        return [None, None]
    n_trees, n_rows, n_vocab = rows.shape
    scales = torch.empty((n_trees, n_rows), dtype=torch.float64, device=rows.device)
    statuses = torch.empty((n_trees, n_rows), dtype=torch.int8, device=rows.device)
    launch(
        "verify",
        "tokenloom_row_scales",
        rows.device,
        (n_cluster * n_rows, n_trees),
        [rows, rows.stride(0), rows.stride(1), n_vocab, n_rows, scales, statuses],
        n_threads=512,
        n_cluster=n_cluster,
    )
    return [scales, statuses]


def _checked_drafts(
    rule: str,
    p: torch.Tensor,
    q: torch.Tensor | None,
    tokens: torch.Tensor,
    parents: torch.Tensor,
    lengths: torch.Tensor,
) -> tuple[int, int]:
    if rule not in _RULES:
        raise ArrayError(f"expected a rule among {', '.join(_RULES)}, found {rule!r}", argument="rule")
    if (q is None) != (rule in ("greedy", "walk")):
        raise ArrayError(f"expected q for every rule but greedy and walk, found {rule!r}", argument="q")
    if p.dim() != 3 or tokens.dim() != 2 or tokens.shape[1] > MOST_NODES:
        raise ArrayError(f"expected p of shape [B, n + 1, V] and at most {MOST_NODES} nodes, found {list(p.shape)}")
    n_trees, n_nodes = tokens.shape
    for name, rows, n_least in (("p", p, n_nodes + 1), ("q", q, n_nodes)):
        if rows is None:
            continue
        fits = rows.dim() == 3 and len(rows) == n_trees and rows.shape[1] >= n_least and rows.shape[2] == p.shape[2]
        if rows.dtype != torch.float32 or not fits or (rows.stride(2) != 1 and rows.shape[2] > 1 and rows.numel()):
            found = f"{rows.dtype} {list(rows.shape)}"
            raise ArrayError(f"expected {name} to be float32[{n_trees}, {n_least}, V], found {found}", argument=name)
    for name, array, shape in (("parents", parents, (n_trees, n_nodes)), ("lengths", lengths, (n_trees,))):
        if array.dtype != torch.int32 or tuple(array.shape) != shape or tokens.dtype != torch.int32:
            raise ArrayError(f"expected tokens and {name} to be int32{list(shape)}, found {list(array.shape)}")
    return n_trees, n_nodes


def _verify_on_cpu(
    rule: str,
    p: torch.Tensor,
    q: torch.Tensor | None,
    drafts: tuple[torch.Tensor, ...],
    addresses: list[torch.Tensor],
    with_replacement: bool,
    normalized: bool,
) -> Verified:
    from tokenloom._core import verify as core

    tokens, parents, lengths = (array.numpy() for array in drafts)
    trees = [
        DraftTree(tree[:length], above[:length]) for tree, above, length in zip(tokens, parents, lengths, strict=True)
    ]
    keys = [address.numpy().view(np.uint64).tolist() for address in addresses]
    rngs = [Rng(seed, position=position) for seed, position in zip(*keys, strict=True)]
    drawn_from = None if q is None else q.detach().contiguous().numpy()
    target = p.detach().contiguous().numpy()
    found, _ = core.accept((rule, with_replacement, normalized), target, drawn_from, trees, rngs, 1)
    paths, *others = (torch.from_numpy(array) for array in found)
    wide = torch.full(tokens.shape, -1, dtype=torch.int32)
    wide[:, : paths.shape[1]] = paths
    return Verified(wide, *others)


def _bits(rows: torch.Tensor) -> Any:
    """Rows as the binding takes them: float32, or the bits of half precision and whether they are bfloat16."""
    if rows.dtype == torch.float32:
        return rows.numpy()
    return rows.view(torch.int16).numpy().view(np.uint16), rows.dtype == torch.bfloat16


def _is_cuda(tensor: torch.Tensor) -> bool:
    if tensor.device.type not in ("cpu", "cuda"):
        raise DeviceError(f"expected tensors on the CPU or a CUDA device, found {tensor.device}")
    return tensor.device.type == "cuda"
