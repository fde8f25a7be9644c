"""How does a compiled decoding step contain a draw?

The kernels as operators of torch (``torch.ops.tokenloom.*``) with shapes that a compiler can know without running them,
so that ``torch.compile(fullgraph=True)`` keeps them in one graph. All are functions of their inputs: seeds and
positions are tensors, there is no generator, and equal calls may be merged. On the CPU they are the Rust code, on CUDA
the kernels.

>>> import tokenloom as tl, torch
>>> from tokenloom.torch import ops
>>> draw = ops.Draw(tl.sample.Params(temperature=0.7, top_k=2))
>>> tokens, *_ = draw(torch.tensor([[1.0, 3.0, 2.0]]), torch.tensor([7]), torch.tensor([0]))
>>> int(tokens) in (1, 2)
True
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import torch

from tokenloom.sample import Params
from tokenloom.torch import cuda_sampling, kernels, sampling

__all__ = ["Draw", "arrivals", "forbid_", "mixture", "range_sums", "verify"]

_Tensors = tuple[torch.Tensor, ...]

_library: Any = torch.library.Library("tokenloom", "FRAGMENT")  # type: ignore[no-untyped-call]
_library.define(
    "sample(Tensor logits, Tensor seeds, Tensor positions, Tensor? mask, str params, int purpose) "
    "-> (Tensor, Tensor, Tensor, Tensor)"
)
_library.define("forbid_(Tensor(a!) logits, Tensor masks) -> ()")
_library.define(
    "arrivals(Tensor logits, Tensor seeds, Tensor positions, int n, Tensor times, Tensor tokens, int purpose) "
    "-> (Tensor, Tensor, Tensor, Tensor)"
)
_library.define("mixture(Tensor table, Tensor tokens, Tensor weights) -> Tensor")
_library.define("range_sums(Tensor logits, Tensor order, Tensor ranges) -> (Tensor, Tensor)")
_library.define(
    "verify(str rule, Tensor p, Tensor? q, Tensor tokens, Tensor parents, Tensor lengths, Tensor seeds, "
    "Tensor positions, bool with_replacement, bool normalized) -> (Tensor, Tensor, Tensor, Tensor)"
)


class Draw:
    """:func:`tokenloom.sample.sample` as an operator, with rules that do not look at the text.

    Args:
        params: One :class:`tokenloom.sample.Params`, or one a row.
    """

    def __init__(self, params: Params | Sequence[Params]) -> None:
        each = [params] if isinstance(params, Params) else list(params)
        names = [field.name for field in fields(Params) if field.init]
        rules = [{name: getattr(item, name) for name in names} for item in each]
        self.text = json.dumps(rules[0] if isinstance(params, Params) else rules)

    def __call__(
        self,
        logits: torch.Tensor,
        seeds: torch.Tensor,
        positions: torch.Tensor,
        mask: torch.Tensor | None = None,
        purpose: int = 0,
    ) -> _Tensors:
        """Tokens int64[B], log-probabilities float32[B], statuses int8[B] and margins float32[B]."""
        return tuple(torch.ops.tokenloom.sample(logits, seeds, positions, mask, self.text, purpose))


def forbid_(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """:func:`tokenloom.torch.kernels.forbid_` with one mask a row, as an operator."""
    torch.ops.tokenloom.forbid_(logits, masks)
    return logits


def arrivals(
    logits: torch.Tensor,
    seeds: torch.Tensor,
    positions: torch.Tensor,
    n: int,
    times: torch.Tensor,
    tokens: torch.Tensor,
    purpose: int = 0,
) -> _Tensors:
    """:func:`tokenloom.torch.kernels.arrivals` behind (``times``, ``tokens``), as an operator."""
    return tuple(torch.ops.tokenloom.arrivals(logits, seeds, positions, n, times, tokens, purpose))


def mixture(table: torch.Tensor, tokens: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """:func:`tokenloom.torch.kernels.mixture` as an operator."""
    mixed: torch.Tensor = torch.ops.tokenloom.mixture(table, tokens, weights)
    return mixed


def range_sums(logits: torch.Tensor, order: torch.Tensor, ranges: torch.Tensor) -> _Tensors:
    """:func:`tokenloom.torch.kernels.range_sums` as an operator."""
    return tuple(torch.ops.tokenloom.range_sums(logits, order, ranges))


def verify(
    rule: str,
    p: torch.Tensor,
    q: torch.Tensor | None,
    tokens: torch.Tensor,
    parents: torch.Tensor,
    lengths: torch.Tensor,
    seeds: torch.Tensor,
    positions: torch.Tensor,
    with_replacement: bool = True,
    normalized: bool = False,
) -> _Tensors:
    """:func:`tokenloom.torch.kernels.verify` as an operator."""
    drafts = tokens, parents, lengths
    found = torch.ops.tokenloom.verify(rule, p, q, *drafts, seeds, positions, with_replacement, normalized)
    return tuple(found)


@functools.lru_cache(maxsize=64)
def _params(text: str) -> Params | tuple[Params, ...]:
    rules = json.loads(text)
    one = not isinstance(rules, list)
    each = tuple(Params(**{**item, "order": _order(item["order"])}) for item in ([rules] if one else rules))
    return each[0] if one else each


def _order(order: str | list[str]) -> str | tuple[str, ...]:
    return order if isinstance(order, str) else tuple(order)


def _sample_cpu(
    logits: torch.Tensor,
    seeds: torch.Tensor,
    positions: torch.Tensor,
    mask: torch.Tensor | None,
    params: str,
    purpose: int,
) -> _Tensors:
    rules = _params(params)
    drawn = sampling.sample(logits, rules, seeds, positions, mask, None, 0, purpose=purpose, threads=None)
    return tuple(drawn)


def _sample_cuda(
    logits: torch.Tensor,
    seeds: torch.Tensor,
    positions: torch.Tensor,
    mask: torch.Tensor | None,
    params: str,
    purpose: int,
) -> _Tensors:
    return cuda_sampling.draw(logits, _params(params), seeds, positions, mask, None, 0, None, purpose)[:4]


def _sample_shapes(
    logits: torch.Tensor,
    seeds: torch.Tensor,
    positions: torch.Tensor,
    mask: torch.Tensor | None,
    params: str,
    purpose: int,
) -> _Tensors:
    n_rows = logits.shape[0]
    dtypes = (torch.int64, torch.float32, torch.int8, torch.float32)
    return tuple(logits.new_empty((n_rows,), dtype=dtype) for dtype in dtypes)


def _forbid(logits: torch.Tensor, masks: torch.Tensor) -> None:
    kernels.forbid_(logits, masks)


def _arrivals(
    logits: torch.Tensor,
    seeds: torch.Tensor,
    positions: torch.Tensor,
    n: int,
    times: torch.Tensor,
    tokens: torch.Tensor,
    purpose: int,
) -> _Tensors:
    return tuple(kernels.arrivals(logits, seeds, positions, n, (times, tokens), purpose))


def _arrivals_shapes(
    logits: torch.Tensor,
    seeds: torch.Tensor,
    positions: torch.Tensor,
    n: int,
    times: torch.Tensor,
    tokens: torch.Tensor,
    purpose: int,
) -> _Tensors:
    n_rows = logits.shape[0]
    arrays = [logits.new_empty((n_rows, n), dtype=dtype) for dtype in (torch.int64, torch.float32, torch.float32)]
    return (*arrays, logits.new_empty((n_rows,), dtype=torch.int8))


def _mixture_shape(table: torch.Tensor, tokens: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return table.new_empty((tokens.shape[0], table.shape[1]), dtype=torch.float32)


def _range_shapes(logits: torch.Tensor, order: torch.Tensor, ranges: torch.Tensor) -> _Tensors:
    n_rows = logits.shape[0]
    maxima = logits.new_empty((n_rows,), dtype=torch.float32)
    return maxima, logits.new_empty((n_rows, ranges.shape[0]), dtype=torch.float64)


def _verify(
    rule: str,
    p: torch.Tensor,
    q: torch.Tensor | None,
    tokens: torch.Tensor,
    parents: torch.Tensor,
    lengths: torch.Tensor,
    seeds: torch.Tensor,
    positions: torch.Tensor,
    with_replacement: bool,
    normalized: bool,
) -> _Tensors:
    options = {"with_replacement": with_replacement, "normalized": normalized}
    return tuple(kernels.verify(rule, p, q, tokens, parents, lengths, seeds, positions, **options))


def _verify_shapes(
    rule: str,
    p: torch.Tensor,
    q: torch.Tensor | None,
    tokens: torch.Tensor,
    parents: torch.Tensor,
    lengths: torch.Tensor,
    seeds: torch.Tensor,
    positions: torch.Tensor,
    with_replacement: bool,
    normalized: bool,
) -> _Tensors:
    n_trees, n_nodes = tokens.shape
    shapes = [((n_trees, n_nodes), torch.int32), ((n_trees,), torch.int32), ((n_trees,), torch.int32)]
    arrays = [p.new_empty(shape, dtype=dtype) for shape, dtype in shapes]
    return (*arrays, p.new_empty((n_trees,), dtype=torch.int8))


def _register() -> None:
    _library.impl("sample", _sample_cpu, "CPU")
    _library.impl("sample", _sample_cuda, "CUDA")
    alike: dict[str, tuple[Any, Any]] = {
        "forbid_": (_forbid, lambda logits, masks: None),
        "arrivals": (_arrivals, _arrivals_shapes),
        "mixture": (kernels.mixture, _mixture_shape),
        "range_sums": (kernels.range_sums, _range_shapes),
        "verify": (_verify, _verify_shapes),
    }
    for name, (function, _) in alike.items():
        _library.impl(name, function, "CPU")
        _library.impl(name, function, "CUDA")
    torch.library.register_fake("tokenloom::sample", _sample_shapes, lib=_library)
    for name, (_, shapes) in alike.items():
        torch.library.register_fake(f"tokenloom::{name}", shapes, lib=_library)


_register()
