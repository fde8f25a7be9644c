"""How does a call on CUDA tensors become a launch?

The kernels of a unit are loaded on the tensors' device when first asked for. The stream is asked for at every launch,
and whatever a kernel writes is a tensor that the caller made with torch, so torch's allocator, streams and graphs know
about all of it. Nothing is copied and nothing waits.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch

from tokenloom import gpu

__all__ = ["launch", "team"]


def launch(
    unit: str,
    kernel: str,
    device: torch.device,
    grid: tuple[int, int],
    arguments: Sequence[Any],
    *,
    n_threads: int = 256,
    n_cluster: int = 1,
    n_shared_bytes: int = 0,
) -> None:
    """Start a kernel on the device's current stream.

    Args:
        unit: A key of :data:`tokenloom.gpu.UNITS`.
        kernel: One of its kernels.
        device: The device of all tensors among the arguments.
        grid: Blocks along x and y.
        arguments: What the kernel takes, in order: tensors (their addresses), integers, or None (the address 0). The
            tensors' dtypes, shapes and strides are the caller's to check.
        n_threads: Threads of a block, a multiple of 32.
        n_cluster: Blocks along x that see each other's shared memory.
        n_shared_bytes: Shared memory of a block besides what the kernel declares.

    Raises:
        DeviceError: The kernels cannot be had, or the launch is refused.
    """
    ordinal = _ordinal(device)
    stream = torch.cuda.current_stream(device).cuda_stream
    driver, module = gpu.module(ordinal, unit, stream)
    values = [value.data_ptr() if isinstance(value, torch.Tensor) else value or 0 for value in arguments]
    driver.launch(module, kernel, (*grid, n_threads, n_cluster, n_shared_bytes), values, stream)


def team(device: torch.device, unit: str, n_vocab: int) -> tuple[int, int]:
    """How many blocks share a row, and how many tokens each of them takes.

    Blocks of a cluster keep their parts in shared memory; a single block needs a workspace for its part.
    """
    n_cluster = 1
    while n_cluster < _most_blocks(_ordinal(device), unit) and n_vocab > 8192 * n_cluster:
        n_cluster *= 2
    n_part = -(-n_vocab // n_cluster)
    n_part = -(-n_part // 64) * 64
    return (n_cluster, n_part) if 4 * n_part <= MAX_SHARED_BYTES else (1, -(-n_vocab // 64) * 64)


#: What a block of a cluster may use for its part, on every architecture that has clusters.
MAX_SHARED_BYTES = 80 * 1024


@functools.cache
def _most_blocks(ordinal: int, unit: str) -> int:
    """Blocks of a cluster: 8 from sm_90 on, in machine code; what the driver makes of PTX has no clusters."""
    driver, module = gpu.module(ordinal, unit, 0)
    if driver.devices()[ordinal][1] < 90 or module.origin == "ptx":
        return 1
    for kernel in gpu.UNITS[unit]:
        driver.allow_shared(module, kernel, MAX_SHARED_BYTES)
    return 8


def _ordinal(device: torch.device) -> int:
    return torch.cuda.current_device() if device.index is None else device.index
