"""The kernels on the CPU: the shim, built once a session by g++."""

import ctypes
import shutil
import subprocess
import types
from pathlib import Path

import pytest
import tokenloom as tl
import torch
from tokenloom._core import gpu as _core
from tokenloom.torch import device

#: As much of a cubin as the fake driver looks at.
IMAGE = b"\x7fELF" + bytes(60)


def pytest_collection_modifyitems(items):
    """Tests marked `cuda` need a device; without one they are skipped and the reason is printed."""
    marked = [item for item in items if item.get_closest_marker("cuda")]
    if marked and not (found := tl.gpu.probe()).usable:
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=f"no usable GPU: {found.reason.splitlines()[0]}"))


def compile_shim(source: Path, folder: Path) -> Path:
    """Build a shared library around the shim."""
    compiler = shutil.which("g++")
    assert compiler, "the CPU shim of the kernels needs g++"
    library = folder / f"{source.stem}.so"
    flags = ["-O2", "-std=c++17", "-march=native", "-ffp-contract=off", "-U_FORTIFY_SOURCE", "-shared", "-fPIC"]
    warnings = ["-Wall", "-Wextra", "-Wno-unknown-pragmas", "-Werror"]
    subprocess.run([compiler, *flags, *warnings, "-o", str(library), str(source)], check=True, timeout=120)
    return library


class FakeDevice:
    """A CUDA driver whose only device is the CPU: see fake_driver.cpp."""

    def __init__(self, library, folder):
        self.path, self.folder = str(library), folder
        self.library = ctypes.CDLL(self.path)
        self.driver = _core.Driver([["/nowhere/libcuda.so.1"], [self.path]])
        self.modules = {}

    def module(self, ordinal, unit, stream):
        """What `tl.gpu.module` returns, without a compiler: the image is a header."""
        if unit not in self.modules:
            (self.folder / f"{unit}.sm_90.cubin").write_bytes(IMAGE)
            self.modules[unit] = self.driver.load(ordinal, unit, (self.folder, self.folder, 0), "none", stream)
        return self.driver, self.modules[unit]

    def fibers(self, n_threads=0, seed=1):
        """Give every block this many threads, or as many as the launch says, and another order of fibers."""
        self.library.fake_fibers(ctypes.c_uint(n_threads), ctypes.c_uint(seed))


@pytest.fixture(scope="session")
def fake_device(tmp_path_factory):
    folder = tmp_path_factory.mktemp("driver")
    return FakeDevice(compile_shim(Path(__file__).parent / "fake_driver.cpp", folder), folder)


@pytest.fixture
def cpu_as_cuda(fake_device, monkeypatch):
    """Let CPU tensors take the CUDA path, with the kernels on fibers; `fibers` of the result changes their number."""
    monkeypatch.setattr(tl.gpu, "module", fake_device.module)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: types.SimpleNamespace(cuda_stream=0))
    monkeypatch.setattr(device, "_ordinal", lambda device: 0)
    yield fake_device
    fake_device.fibers()
