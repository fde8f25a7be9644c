"""What can CUDA do here, and why not?

The sampling kernel is compiled for the device when it is first needed, by the NVRTC library that torch installs, and
the result is kept in a cache folder. No CUDA toolkit is needed, at build time or later; without a GPU everything else
works.

>>> import tokenloom as tl
>>> found = tl.gpu.probe()
>>> found.usable or bool(found.reason)
True
"""

from __future__ import annotations

import functools
import glob
import hashlib
import os
import sys
import tempfile
import threading
from pathlib import Path
from typing import NamedTuple

from tokenloom._core import VERSION
from tokenloom._core import gpu as _core
from tokenloom.errors import DeviceError

__all__ = ["Device", "Probe", "cache_folder", "compile_kernels", "probe"]


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
        usable: Can :func:`tokenloom.sample.sample` draw from CUDA tensors here?
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

    ``TOKENLOOM_NVRTC`` names the compiler's library, where it is not beside torch or in the system's path.
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


def compile_kernels(arch: int) -> tuple[bytes, str]:
    """Compile the kernels for an architecture (90 is sm_90); needs no GPU.

    Returns:
        The machine code, and the compiler's log with registers and spills.

    Raises:
        DeviceError: There is no compiler, or the kernels do not compile; the message has the log.
    """
    return _compiler().compile(arch)


def cache_folder() -> Path:
    """Where compiled kernels are kept: ``$XDG_CACHE_HOME/tokenloom/kernels``, by default under ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tokenloom" / "kernels"


_loaded: dict[tuple[int, int], _core.SampleKernel] = {}
_loading = threading.Lock()


def sample_kernel(ordinal: int, stream: int) -> tuple[_core.Driver, _core.SampleKernel]:
    """The driver and the sampling kernel on a device, compiled and loaded when first asked for.

    Raises:
        DeviceError: The kernel cannot be compiled or loaded, or CUDA was started before this process was forked.
    """
    key = (os.getpid(), ordinal)
    kernel = _loaded.get(key)
    if kernel is None:
        with _loading:
            kernel = _loaded.get(key)
            if kernel is None:
                kernel = _loaded[key] = _load(ordinal, stream)
    return _driver(), kernel


def _load(ordinal: int, stream: int) -> _core.SampleKernel:
    if any(pid != os.getpid() for pid, _ in _loaded):
        raise DeviceError("expected a process that did not fork after CUDA was started\nhint: use spawn or forkserver")
    arch = _driver().devices()[ordinal][1]
    path = cache_folder() / f"{_cache_key(arch)}.cubin"
    try:
        return _driver().load_sample(ordinal, path.read_bytes(), stream)
    except (OSError, DeviceError):
        image, _ = compile_kernels(arch)
        kernel = _driver().load_sample(ordinal, image, stream)
        _store(path, image)
        return kernel


def _cache_key(arch: int) -> str:
    parts = [VERSION, str(arch), str(_compiler().version), *(text for file in _core.kernel_source() for text in file)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _store(path: Path, image: bytes) -> None:
    """Write beside and rename, so that no reader sees half a file; a read-only cache is no error."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(image)
        os.replace(file.name, path)
    except OSError:
        pass


@functools.cache
def _driver() -> _core.Driver:
    return _core.Driver([["nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"]])


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
