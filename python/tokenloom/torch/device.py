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

__all__ = ["launch", "part_memory", "team"]


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
    """How many blocks share a row, and how many tokens each of them takes."""
    most_blocks, _ = _limits(_ordinal(device), unit)
    n_cluster = 1
    while n_cluster < most_blocks and n_vocab > 8192 * n_cluster:
        n_cluster *= 2
    return n_cluster, -(-n_vocab // (64 * n_cluster)) * 64


def part_memory(
    device: torch.device, unit: str, n_cluster: int, n_part: int, n_rows: int
) -> tuple[int, torch.Tensor | None]:
    """Where the blocks of a team keep their parts: bytes of shared memory each, or a workspace for all rows."""
    _, n_shared_bytes = _limits(_ordinal(device), unit)
    if n_cluster > 1 and 4 * n_part <= n_shared_bytes:
        return 4 * n_part, None
    return 0, torch.empty(n_rows * n_cluster * n_part, dtype=torch.float32, device=device)


#: The kernels whose blocks keep their parts in shared memory.
_KEEPERS = {
    "arrivals": ("tokenloom_arrivals",),
    "report": ("tokenloom_process", "tokenloom_stats"),
    "sample": ("tokenloom_sample",),
}


@functools.cache
def _limits(ordinal: int, unit: str) -> tuple[int, int]:
    """Blocks of a cluster, and what each may keep in shared memory.

    Clusters come with sm_90, in machine code: what the driver makes of PTX has none. A block may have 227 KiB on sm_90
    and sm_100, 99 KiB on sm_120, and the kernels' own variables take up to 19 of it.
    """
    driver, module = gpu.module(ordinal, unit, torch.cuda.current_stream(ordinal).cuda_stream)
    arch = driver.devices()[ordinal][1]
    if arch < 90 or module.origin == "ptx":
        return 1, 0
    n_shared_bytes = (200 if arch < 120 else 80) * 1024
    for kernel in _KEEPERS.get(unit, ()):
        driver.allow_shared(module, kernel, n_shared_bytes)
    return 8, n_shared_bytes


def _ordinal(device: torch.device) -> int:
    return torch.cuda.current_device() if device.index is None else device.index
