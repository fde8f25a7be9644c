"""The kernel on the CPU: the shim, built once a session by g++."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tokenloom as tl
from tokenloom._core import gpu as _core

CUDA = Path(__file__).parents[2] / "cuda"


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


@pytest.fixture(scope="session")
def fake_driver(tmp_path_factory):
    """A CUDA driver whose only device is the CPU."""
    library = compile_shim(Path(__file__).parent / "fake_driver.cpp", tmp_path_factory.mktemp("driver"))
    return _core.Driver([["/nowhere/libcuda.so.1"], [str(library)]])


@pytest.fixture(scope="session")
def sample_on_cpu(tmp_path_factory):
    """`tl.sample.sample(..., return_margins=True)` by the kernel, with the number of threads of a block."""
    library = compile_shim(CUDA / "shim" / "sample_on_cpu.cpp", tmp_path_factory.mktemp("shim"))
    function = ctypes.CDLL(str(library)).sample_on_cpu

    def run(logits, params, seeds, positions, mask=None, purpose=0, n_threads=64):
        n_rows, n_vocab = logits.shape
        rules = [np.broadcast_to(rule, (n_rows,)).copy() for rule in tl.sample.rules_of(params, n_rows)]
        rules[0] = rules[0].astype(np.float32)
        addresses = [np.broadcast_to(np.asarray(a, np.uint64), (n_rows,)).copy() for a in (seeds, positions)]
        dtypes = (np.int64, np.float32, np.int8, np.float32)
        outputs = [np.full(n_rows, 99, dtype) for dtype in dtypes]
        logits = np.ascontiguousarray(logits)

        def pointer(array):
            return None if array is None else array.ctypes.data_as(ctypes.c_void_p)

        function(
            ctypes.c_uint(n_rows),
            ctypes.c_uint(n_threads),
            pointer(logits),
            ctypes.c_uint(n_vocab),
            pointer(mask),
            *map(pointer, rules),
            *map(pointer, addresses),
            ctypes.c_uint(purpose),
            *map(pointer, outputs),
        )
        return tl.sample.SampledWithMargins(*outputs)

    return run
