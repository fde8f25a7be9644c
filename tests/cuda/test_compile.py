"""The kernels compile for every architecture in use, without spills; no GPU is needed."""

import re

import pytest
import tokenloom as tl


@pytest.mark.parametrize("arch", [75, 80, 86, 89, 90, 100, 120])
def test_kernels_compile_without_spills(arch):
    image, log = tl.gpu.compile_kernels(arch)
    assert image[:4] == b"\x7fELF"
    assert len(image) < 256 * 1024
    assert "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in log
    # A block of 512 threads has 65,536 registers.
    assert int(re.search(r"Used (\d+) registers", log)[1]) <= 128


def test_an_unknown_architecture_is_an_error_with_the_log():
    with pytest.raises(tl.errors.DeviceError, match="compile"):
        tl.gpu.compile_kernels(7)
