"""The loader and its launches, with a driver whose device is the CPU."""

import os
import subprocess
import sys

import pytest
import tokenloom as tl
from tokenloom._core import gpu as _core

SAMPLE = "tokenloom_sample"


@pytest.fixture
def load(fake_device, tmp_path):
    """Load a unit with an empty cache and the compiler that is here."""

    def run(version=13020, arch=90, takes=3, compiler=None, prebuilt=None, stream=0):
        fake_device.library.fake_set(version, arch, takes)
        compiler = tl.gpu._compiler() if compiler is None else compiler
        return fake_device.driver.load(0, "mask", (prebuilt, tmp_path / "cache", 1 << 20), compiler, stream)

    yield run
    fake_device.library.fake_set(13020, 90, 3)


def test_a_driver_says_what_it_has(fake_device):
    assert fake_device.driver.version == 13020
    assert fake_device.driver.devices() == [("fibers", 90, 1)]


def test_failures_are_errors_with_names(fake_device, load):
    driver = fake_device.driver
    with pytest.raises(tl.errors.DeviceError, match="cuDeviceGet failed with error 101"):
        driver.load(5, "sample", (None, "/nowhere", 0), "none", 0)
    with pytest.raises(tl.errors.DeviceError, match="expected the CUDA driver at one of 1 places"):
        _core.Driver([["/nowhere/libcuda.so.1"]])
    with pytest.raises(tl.errors.DeviceError, match="expected the symbol cuInit"):
        _core.Driver([["libc.so.6"]])
    with pytest.raises(tl.errors.DeviceError, match='found "nothing"'):
        driver.load(0, "nothing", (None, "/nowhere", 0), "none", 0)
    with pytest.raises(tl.errors.DeviceError, match="while a graph is captured"):
        load(stream=7)


def test_arguments_that_do_not_fit_never_reach_the_device(fake_device):
    driver, module = fake_device.module(0, "sample", 0)
    n_before = fake_device.library.fake_n_launches()
    arguments = [0] * 19
    for bad in (arguments[1:], [*arguments, 0], [0, 0, 2**32, *arguments[3:]]):
        with pytest.raises(tl.errors.DeviceError, match="expected 19 arguments of tokenloom_sample that fit"):
            driver.launch(module, SAMPLE, (1, 1, 32, 1, 0), bad, 0)
    with pytest.raises(tl.errors.DeviceError, match="name of a kernel"):
        driver.launch(module, "other", (1, 1, 32, 1, 0), arguments, 0)
    with pytest.raises(tl.errors.DeviceError, match=r"cuLaunchKernel failed with error 1 \(CUDA_ERROR_FAKE\)"):
        driver.launch(module, SAMPLE, (1, 1, 31, 1, 0), arguments, 0)
    with pytest.raises(tl.errors.DeviceError, match="cuLaunchKernelEx failed with error 1"):
        driver.launch(module, SAMPLE, (3, 1, 32, 2, 0), arguments, 0)
    with pytest.raises(tl.errors.DeviceError, match="cuFuncSetAttribute failed with error 1"):
        driver.allow_shared(module, SAMPLE, 1 << 20)
    driver.allow_shared(module, SAMPLE, 1 << 17)
    driver.launch(module, SAMPLE, (0, 1, 32, 1, 0), arguments, 0)  # no blocks: no launch
    assert fake_device.library.fake_n_launches() == n_before


def test_an_image_comes_from_the_first_place_that_has_one(load, tmp_path):
    assert load().origin == "compiled"
    assert load().origin == "cache"
    assert load(arch=80).origin == "compiled"
    next((tmp_path / "cache").iterdir()).write_bytes(b"half a fi")
    assert {load().origin, load(arch=80).origin} == {"cache", "compiled"}
    image, _ = tl.gpu.compile_kernels(90, "mask")
    (tmp_path / "mask.sm_90.cubin").write_bytes(image)
    assert load(prebuilt=tmp_path).origin == "prebuilt"
    assert load(prebuilt=tmp_path, arch=89).origin == "compiled"


def test_a_driver_that_takes_no_machine_code_gets_text(load, tmp_path):
    assert load(takes=2).origin == "ptx"
    assert load(arch=137).origin == "ptx"  # the compiler does not know it
    text, _ = tl.gpu.compile_kernels(75, "mask", ptx=True)
    (tmp_path / "mask.ptx").write_bytes(text[:-1])
    assert load(compiler="no compiler", prebuilt=tmp_path).origin == "ptx"


def test_a_driver_older_than_the_compiler_is_named_with_a_remedy(load):
    with pytest.raises(tl.errors.DeviceError) as caught:
        load(version=11040, takes=0)
    message = str(caught.value)
    assert "compiled: cuModuleLoadData failed with error 200" in message
    assert "PTX: cuModuleLoadData failed with error 222" in message
    assert "the driver serves CUDA 11.4 and the compiler is {}.{}".format(*tl.gpu._compiler().version) in message
    with pytest.raises(tl.errors.DeviceError, match="found none: compiler: nowhere"):
        load(compiler="nowhere")


def test_a_cache_that_cannot_be_written_costs_a_compilation(fake_device, tmp_path):
    blocked = tmp_path / "a file"
    blocked.write_text("")
    for _ in range(2):
        loaded = fake_device.driver.load(0, "mask", (None, blocked, 1 << 20), tl.gpu._compiler(), 0)
        assert loaded.origin == "compiled"


CHILD = """
import os, sys, tokenloom as tl
found = tl.gpu.probe()
assert found.usable and found.devices[0].name == "fibers", found
print(tl.gpu.warmup(units=["mask"])["mask"])
if sys.argv[1:] == ["fork"]:
    child = os.fork()
    if not child:
        try:
            tl.gpu.warmup(units=["mask"])
        except tl.errors.DeviceError as error:
            os._exit(0 if "did not fork" in str(error) else 2)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
"""


def start(fake_device, cache, *arguments):
    environment = {**os.environ, "TOKENLOOM_CUDA": fake_device.path, "XDG_CACHE_HOME": str(cache)}
    environment["TOKENLOOM_NVRTC"] = tl.gpu._compiler().path
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_two_processes_that_compile_at_once_both_get_kernels(fake_device, tmp_path):
    both = [start(fake_device, tmp_path) for _ in range(2)]
    for process in both:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err.decode()
        assert out.decode().strip() in ("compiled", "cache")
    assert [path.suffix for path in (tmp_path / "tokenloom" / "kernels").iterdir()] == [".cubin"]


def test_a_process_that_forked_after_its_start_is_told(fake_device, tmp_path):
    process = start(fake_device, tmp_path, "fork")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err.decode()


def test_cuda_by_name_without_cuda_is_an_error_with_the_reason(monkeypatch):
    found = tl.gpu.Probe(False, "no driver here", None, None, None, ())
    monkeypatch.setattr(tl.gpu, "probe", lambda: found)
    with pytest.raises(tl.errors.DeviceError, match="expected a CUDA device, found none: no driver here"):
        tl.gpu.warmup()
