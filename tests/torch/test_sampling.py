"""tl.sample on torch CPU tensors: the tokens of NumPy, without copies of what is float32 already."""

import numpy as np
import pytest
import tokenloom as tl
import torch

Params = tl.sample.Params


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_tensors_draw_the_tokens_of_arrays(dtype):
    logits = torch.randn(4, 300, generator=torch.Generator().manual_seed(1)).to(dtype)
    seeds, positions = torch.arange(4) - 2, torch.tensor([0, 5, 9, 2**40])
    mask = torch.full((4, 10), -2, dtype=torch.int32)
    drawn = tl.sample.sample(logits, Params(top_k=20), seeds, positions, mask, return_margins=True)
    assert [tensor.dtype for tensor in drawn] == [torch.int64, torch.float32, torch.int8, torch.float32]
    expected = tl.sample.sample(
        logits.float().numpy(),
        Params(top_k=20),
        seeds.numpy().astype(np.uint64),
        positions.numpy(),
        mask.numpy(),
        return_margins=True,
    )
    for tensor, array in zip(drawn, expected, strict=True):
        np.testing.assert_array_equal(tensor.numpy(), array)


def test_what_the_rules_leave_is_a_tensor():
    logits = torch.randn(3, 90, generator=torch.Generator().manual_seed(2))
    params = Params(temperature=0.5, top_k=4, presence_penalty=1.0)
    for dtype in (torch.float32, torch.bfloat16):
        rows = logits.to(dtype)
        left = tl.sample.process(rows, params, history=[[1], [2], [3]])
        expected = tl.sample.process(rows.float().numpy(), params, history=[[1], [2], [3]])
        np.testing.assert_array_equal(left.numpy(), expected)


def test_tensors_of_any_precision_have_a_law():
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        rows = torch.randn(2, 40, generator=torch.Generator().manual_seed(3)).to(dtype)
        wide = rows.double().numpy()
        np.testing.assert_allclose(
            tl.sample.distribution(rows, Params(top_k=9)), tl.sample.distribution(wide, Params(top_k=9))
        )
        assert (tl.sample.keep_set(rows, Params(top_k=9)) == tl.sample.keep_set(wide, Params(top_k=9))).all()
        assert tl.sample.sample_distinct(rows, 3, seeds=[1, 2]).tokens.shape == (2, 3)


def test_gradients_and_parameters_are_no_obstacle():
    logits = torch.nn.Parameter(torch.zeros(1, 4))
    assert tl.sample.sample(logits * 2, seeds=0).status.tolist() == [0]
    assert isinstance(tl.sample.sample(logits, seeds=0).tokens, torch.Tensor)


def test_other_devices_are_named():
    with pytest.raises(tl.errors.DeviceError, match="found meta"):
        tl.sample.sample(torch.zeros(1, 4, device="meta"), seeds=0)
