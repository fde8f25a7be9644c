"""CUDA tensors: what a launch is given, with the CPU as device; on a real device, the tokens of the CPU."""

import numpy as np
import on_device
import pytest
import tokenloom as tl
import torch
from tokenloom.torch import cuda_sampling

Params = tl.sample.Params


def draw(logits, params, seeds, positions, mask=None, purpose=0):
    return cuda_sampling.draw(logits, params, seeds, positions, mask, None, 0, None, purpose)


def same(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a.cpu().numpy(), b)


def test_the_launch_gets_what_the_caller_gave(cpu_as_cuda):
    generator = np.random.default_rng(2)
    logits = generator.normal(size=(6, 130)).astype(np.float32)
    mask = generator.integers(-(2**31), 2**31, size=5, dtype=np.int64).astype(np.int32)
    params = [Params(temperature=1 + n, top_k=60 - n, top_p=0.95, min_p=0.001 * n, typical_p=0.98) for n in range(6)]
    seeds = tl.sample.seeds(1, 6)
    for given in (torch.from_numpy(mask), mask, None):
        drawn = draw(torch.from_numpy(logits), params, seeds, 2**35, given, purpose=1)
        expected = tl.sample.sample(logits, params, seeds, 2**35, mask if given is not None else None, purpose=1)
        same(drawn[:3], expected)
    tensors = torch.from_numpy(seeds.view(np.int64)), torch.arange(6, dtype=torch.int32)
    same(
        draw(torch.from_numpy(logits).t().contiguous().t(), Params(), *tensors)[:3],
        tl.sample.sample(logits, Params(), seeds, np.arange(6)),
    )
    double = torch.from_numpy(logits).double()
    same(draw(double, Params(), seeds, 0)[:3], tl.sample.sample(logits, Params(), seeds, 0))


def test_mirostat_as_published_stays_on_the_cpu(cpu_as_cuda):
    with pytest.raises(tl.errors.DeviceError, match="expected mirostat 0 or 2"):
        draw(torch.zeros(1, 5), Params(mirostat=1), 0, 0)
    with pytest.raises(tl.errors.ParamsError, match="expected history"):
        draw(torch.zeros(1, 5), Params(repetition_penalty=2.0), 0, 0)
    with pytest.raises(tl.errors.ArrayError, match="one Params or one a row"):
        draw(torch.zeros(1, 5), [Params()] * 2, 0, 0)


def test_biases_need_no_text(cpu_as_cuda):
    logits = np.random.default_rng(4).normal(size=(3, 50)).astype(np.float32)
    params = [Params(), Params(bias={3: 9.0}), Params(bad_words=[[1]], bias={2: -np.inf, 60: 1.0})]
    seeds = tl.sample.seeds(5, 3)
    same(draw(torch.from_numpy(logits), params, seeds, 0)[:3], tl.sample.sample(logits, params, seeds, 0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits": torch.zeros(3)}, "logits of shape"),
        ({"logits": torch.zeros(2, 3, dtype=torch.int64)}, "float logits"),
        ({"seeds": torch.zeros(2)}, "seeds of shape"),
        ({"seeds": 5}, "seeds of shape"),
        ({"positions": torch.zeros(3, dtype=torch.int64)}, "positions of shape"),
        ({"mask": torch.zeros(2, 2, dtype=torch.int32)}, "mask of dtype int32 and shape"),
        ({"mask": torch.zeros(2, 1, dtype=torch.int64)}, "mask of dtype int32 and shape"),
    ],
)
def test_bad_tensors_never_reach_the_device(cpu_as_cuda, change, message):
    good = {"logits": torch.zeros(2, 3), "params": Params(), "seeds": [1, 2], "positions": 0, "mask": None}
    with pytest.raises(tl.errors.ArrayError, match=message):
        draw(*{**good, **change}.values())


@pytest.mark.cuda
@pytest.mark.parametrize("check", on_device.CHECKS, ids=lambda check: check.__name__)
def test_a_device_does_what_the_cpu_does(check):
    check()
