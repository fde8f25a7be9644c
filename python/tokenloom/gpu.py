"""What can CUDA do here, and why not?

Kernels are compiled for the device when they are first needed, by the NVRTC library that torch installs, and the result
is kept in a cache folder. No CUDA toolkit is needed, at build time or later; without a GPU everything else works.

>>> import tokenloom as tl
>>> found = tl.gpu.probe()
>>> found.usable or bool(found.reason)
True
"""

from __future__ import annotations

import functools
import glob
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tokenloom._core import gpu as _core
from tokenloom.errors import DeviceError

__all__ = ["UNITS", "Device", "Probe", "cache_folder", "compile_kernels", "probe", "warmup"]

#: The kernels that are compiled and loaded together, by name.
UNITS: dict[str, tuple[str, ...]] = {unit: tuple(kernels) for unit, kernels in _core.kernels()}
#: What the cache folder may hold.
CACHE_BYTES = 64 * 2**20


class Device(NamedTuple):
    """A GPU.

    Attributes:
        name: Its name.
        arch: Compute capability, ten times the major plus the minor number: 90 is sm_90.
        n_multiprocessors: Its multiprocessors.
    """

    name: str
    arch: int
    n_multiprocessors: int


class Probe(NamedTuple):
    """What was found.

    Attributes:
        usable: Do the functions that take CUDA tensors work here?
        reason: Why not, empty if it can.
        driver: CUDA version that the driver serves, such as "13.0"; None without a driver.
        nvrtc: Version of the compiler; None if it was not found.
        nvrtc_path: Where it was found.
        devices: The visible GPUs.
    """

    usable: bool
    reason: str
    driver: str | None
    nvrtc: str | None
    nvrtc_path: str | None
    devices: tuple[Device, ...]


def probe() -> Probe:
    """Look for a driver, a compiler and devices. Never raises; opens libraries but makes no context.

    ``TOKENLOOM_NVRTC`` names the compiler's library, where it is not beside torch or in the system's path, and
    ``TOKENLOOM_CUDA`` the driver's.
    """
    reasons = []
    driver = nvrtc = nvrtc_path = None
    devices: tuple[Device, ...] = ()
    try:
        driver = "{}.{}".format(*divmod(_driver().version // 10, 100))
        devices = tuple(Device(*device) for device in _driver().devices())
        if not devices:
            reasons.append("the driver sees no device")
    except DeviceError as error:
        reasons.append(str(error))
    try:
        compiler = _compiler()
        nvrtc, nvrtc_path = "{}.{}".format(*compiler.version), compiler.path
    except DeviceError as error:
        reasons.append(f"{error}\nhint: pip install nvidia-cuda-nvrtc")
    return Probe(not reasons, "; ".join(reasons), driver, nvrtc, nvrtc_path, devices)


def compile_kernels(arch: int, unit: str = "sample", *, ptx: bool = False) -> tuple[bytes, str]:
    """Compile the kernels of a unit for an architecture (90 is sm_90); needs no GPU.

    Args:
        arch: Compute capability, ten times the major plus the minor number.
        unit: A key of :data:`UNITS`.
        ptx: Return PTX, which the driver of any later device compiles, instead of machine code.

    Returns:
        The image, and the compiler's log with registers and spills.

    Raises:
        DeviceError: There is no compiler, or the kernels do not compile; the message has the log.
    """
    return _compiler().compile(unit, arch, ptx)


def warmup(ordinal: int = 0, units: Sequence[str] | None = None, stream: int = 0) -> dict[str, str]:
    """Load kernels on a device now: a graph cannot be captured while they are loaded, and the first call then is fast.

    Args:
        ordinal: The device.
        units: Keys of :data:`UNITS`; None loads all.
        stream: A stream that is not being captured.

    Returns:
        Where each unit came from: "prebuilt", "cache", "compiled" or "ptx".

    Raises:
        DeviceError: There is no CUDA to use here; the message says why.
    """
    found = probe()
    if found.driver is None or not found.devices:
        raise DeviceError(f"expected a CUDA device, found none: {found.reason}")
    return {unit: module(ordinal, unit, stream)[1].origin for unit in (UNITS if units is None else units)}


def cache_folder() -> Path:
    """Where compiled kernels are kept: ``$XDG_CACHE_HOME/tokenloom/kernels``, by default under ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tokenloom" / "kernels"


_loaded: dict[tuple[int, int, str], _core.Module] = {}
_loading = threading.Lock()


def module(ordinal: int, unit: str, stream: int) -> tuple[_core.Driver, _core.Module]:
    """The driver and a unit's kernels on a device, compiled and loaded when first asked for.

    Raises:
        DeviceError: The kernels cannot be compiled or loaded, or CUDA was started before this process was forked.
    """
    key = (os.getpid(), ordinal, unit)
    loaded = _loaded.get(key)
    if loaded is None:
        with _loading:
            loaded = _loaded.get(key)
            if loaded is None:
                loaded = _loaded[key] = _load(ordinal, unit, stream)
    return _driver(), loaded


def _load(ordinal: int, unit: str, stream: int) -> _core.Module:
    if any(pid != os.getpid() for pid, *_ in _loaded):
        raise DeviceError("expected a process that did not fork after CUDA was started\nhint: use spawn or forkserver")
    compiler: _core.Compiler | str
    try:
        compiler = _compiler()
    except DeviceError as error:
        compiler = str(error)
    prebuilt = Path(__file__).parent / "_kernels"
    return _driver().load(ordinal, unit, (prebuilt, cache_folder(), CACHE_BYTES), compiler, stream)


def _after_fork() -> None:
    """A lock that another thread held when this process was forked is free here."""
    global _loading
    _loading = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@functools.cache
def _driver() -> _core.Driver:
    named = os.environ.get("TOKENLOOM_CUDA")
    return _core.Driver([[named or ("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")]])


@functools.cache
def _compiler() -> _core.Compiler:
    return _core.Compiler(_nvrtc_candidates())


def _nvrtc_candidates() -> list[list[str | os.PathLike[str]]]:
    """The files to open, in order of preference: named by the user, beside torch, known to the system."""
    candidates: list[list[str | os.PathLike[str]]] = []
    named = os.environ.get("TOKENLOOM_NVRTC")
    if named:
        builtins = glob.glob(os.path.join(os.path.dirname(named), "libnvrtc-builtins.so.*"))
        candidates.append([*builtins[:1], named])
    for folder in sys.path:
        for layout in ("nvidia/cu13/lib", "nvidia/cuda_nvrtc/lib"):
            for library in sorted(glob.glob(os.path.join(folder or ".", layout, "libnvrtc.so.*"))):
                builtins = sorted(glob.glob(os.path.join(os.path.dirname(library), "libnvrtc-builtins.so.*")))
                candidates.append([*builtins[:1], library])
    candidates += [[f"libnvrtc.so.{version}"] for version in ("13", "12", "11.2")]
    return candidates
