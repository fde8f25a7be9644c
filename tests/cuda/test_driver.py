"""The driver's loader and launch, with a driver whose device is the CPU."""

import numpy as np
import pytest
import tokenloom as tl
from tokenloom._core import gpu as _core

IMAGE = b"\x7fELF" + bytes(60)


def test_a_driver_says_what_it_has(fake_driver):
    assert fake_driver.version == 13020
    assert fake_driver.devices() == [("fibers", 90, 1)]


@pytest.mark.parametrize("with_mask", [False, True])
def test_a_launch_passes_every_parameter(fake_driver, with_mask):
    generator = np.random.default_rng(0)
    n_rows, n_vocab = 5, 100
    logits = generator.normal(size=(n_rows, n_vocab)).astype(np.float32)
    mask = generator.integers(-(2**31), 2**31, size=(n_rows, 4), dtype=np.int64).astype(np.int32) if with_mask else None
    params = [
        tl.sample.Params(temperature=0.5 + row, top_k=20 + row, top_p=0.9, min_p=0.01 * row, typical_p=0.99)
        for row in range(n_rows)
    ]
    seeds, positions = tl.sample.seeds(3, n_rows), np.arange(n_rows, dtype=np.uint64) + 2**33
    rules = list(tl.sample.rules_of(params, n_rows))
    rules[0] = rules[0].astype(np.float32)
    outputs = [np.zeros(n_rows, dtype) for dtype in (np.int64, np.float32, np.int8, np.float32)]
    kernel = fake_driver.load_sample(0, IMAGE, 0)
    fake_driver.launch_sample(
        kernel,
        n_rows,
        logits.ctypes.data,
        n_vocab,
        n_vocab,
        0 if mask is None else mask.ctypes.data,
        4,
        [rule.ctypes.data for rule in rules],
        [seeds.ctypes.data, positions.ctypes.data],
        tl.sample.Purpose.DRAFT,
        [output.ctypes.data for output in outputs],
        0,
    )
    expected = tl.sample.sample(
        logits, params, seeds, positions, mask, purpose=tl.sample.Purpose.DRAFT, return_margins=True
    )
    for found, wanted in zip(outputs, expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_failures_are_errors_with_names(fake_driver):
    with pytest.raises(tl.errors.DeviceError, match=r"cuModuleLoadData failed with error 200 \(CUDA_ERROR_FAKE\)"):
        fake_driver.load_sample(0, b"garbage garbage", 0)
    with pytest.raises(tl.errors.DeviceError, match="cuDeviceGet failed with error 101"):
        fake_driver.load_sample(5, IMAGE, 0)
    with pytest.raises(tl.errors.DeviceError, match="expected the CUDA driver at one of 1 places"):
        _core.Driver([["/nowhere/libcuda.so.1"]])
    with pytest.raises(tl.errors.DeviceError, match="expected the symbol cuInit"):
        _core.Driver([["libc.so.6"]])
