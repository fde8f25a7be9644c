"""The kernels compile for every architecture in use, without spills; no GPU is needed."""

import re

import pytest
import tokenloom as tl


@pytest.mark.parametrize("unit", tl.gpu.UNITS)
@pytest.mark.parametrize("arch", [75, 80, 86, 89, 90, 100, 120])
def test_kernels_compile_without_spills(unit, arch):
    image, log = tl.gpu.compile_kernels(arch, unit)
    assert image[:4] == b"\x7fELF"
    assert len(image) < 512 * 1024
    stacks = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", log)
    assert len(stacks) >= len(tl.gpu.UNITS[unit])
    assert all(spill == ("0", "0", "0") for spill in stacks), log
    # A block of 512 threads has 65,536 registers.
    assert all(int(n_registers) <= 128 for n_registers in re.findall(r"Used (\d+) registers", log))


@pytest.mark.parametrize("unit", tl.gpu.UNITS)
def test_text_for_the_driver_is_compiled_too(unit):
    text, _ = tl.gpu.compile_kernels(75, unit, ptx=True)
    assert text.endswith(b"\0")
    assert b".target sm_75" in text
    assert all(f".entry {kernel}(".encode() in text for kernel in tl.gpu.UNITS[unit])


def test_an_unknown_architecture_is_an_error_with_the_log():
    with pytest.raises(tl.errors.DeviceError, match="compile"):
        tl.gpu.compile_kernels(7)
    with pytest.raises(tl.errors.DeviceError, match="name of a kernel"):
        tl.gpu.compile_kernels(90, "no such unit")
