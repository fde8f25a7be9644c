"""The kernels compile for every architecture in use, without spills; no GPU is needed."""

import re

import pytest
import tokenloom as tl

# All pairs are the rule of `make test-heavy`; each architecture and each unit is in the short list.
SHORT = [
    (75, "arrivals"),
    (80, "ranges"),
    (86, "mask"),
    (89, "mixture"),
    (90, "sample"),
    (100, "ranges"),
    (120, "verify"),
]
ALL = [(arch, unit) for arch in (75, 80, 86, 89, 90, 100, 120) for unit in tl.gpu.UNITS]


@pytest.mark.parametrize(
    ("arch", "unit"), [*SHORT, *(pytest.param(*pair, marks=pytest.mark.heavy) for pair in ALL if pair not in SHORT)]
)
def test_kernels_compile_without_spills(arch, unit):
    image, log = tl.gpu.compile_kernels(arch, unit)
    assert image[:4] == b"\x7fELF"
    assert len(image) < 256 * 1024
    stacks = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", log)
    assert len(stacks) >= len(tl.gpu.UNITS[unit])
    # A frame holds what is handed over by reference; a spill would be a register that did not fit.
    assert all(int(frame) <= 256 and (stores, loads) == ("0", "0") for frame, stores, loads in stacks), log
    # A block of 512 threads has 65,536 registers.
    assert all(int(n_registers) <= 128 for n_registers in re.findall(r"Used (\d+) registers", log))


@pytest.mark.parametrize("unit", ["mask", "ranges"])
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
