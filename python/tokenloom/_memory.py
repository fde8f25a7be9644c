"""How much memory may a job take?

What its caller says; else nine tenths of what the system has to give when the job begins, within the control group of a
container. Where neither is known there is no limit.
"""

from __future__ import annotations

from pathlib import Path

from tokenloom._training import size_of
from tokenloom.errors import TrainError

__all__ = ["available_bytes", "n_bytes_of_limit"]

_SUFFIXES = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SUFFIXES |= {"KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40}
_SYSTEM = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")


def n_bytes_of_limit(limit: int | str | None) -> int | None:
    """A limit of memory: bytes, or a text such as ``"16GiB"``; without one, nine tenths of what there is.

    Raises:
        TrainError: It is neither.
    """
    if limit is None:
        available = available_bytes()
        return None if available is None else available // 10 * 9
    if not isinstance(limit, str):
        return size_of("memory_limit", limit)
    number = limit.strip().upper().rstrip("KMGTIB")
    unit = limit.strip().upper()[len(number) :]
    try:
        return int(float(number) * _SUFFIXES[unit])
    except (KeyError, ValueError):
        raise TrainError(f"memory_limit must be bytes or a text such as '16GiB', found {limit!r}") from None


def available_bytes() -> int | None:
    """Memory that can be taken without swapping; ``None`` where the system does not say."""
    found = [_of_system(), _of_group()]
    return min((n_bytes for n_bytes in found if n_bytes is not None), default=None)


def _of_system() -> int | None:
    fields = _fields(_SYSTEM)
    return fields["MemAvailable:"] * 1024 if "MemAvailable:" in fields else None


def _of_group() -> int | None:
    try:
        limit, used = (int((_GROUP / name).read_text()) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):
        return None  # no group, or one without a limit
    return max(limit - used + _fields(_GROUP / "memory.stat").get("inactive_file", 0), 0)


def _fields(path: Path) -> dict[str, int]:
    """Lines of a name and a number."""
    try:
        rows = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}
