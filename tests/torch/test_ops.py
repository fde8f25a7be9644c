"""The operators of torch: registered right, one graph, the same results as the functions."""

import numpy as np
import pytest
import tokenloom as tl
import torch
from tokenloom.torch import kernels, ops

Params = tl.sample.Params


def cases():
    generator = np.random.default_rng(0)
    logits = torch.from_numpy(generator.normal(size=(3, 70)).astype(np.float32))
    seeds, positions = torch.arange(3), torch.arange(3) + 5
    mask = torch.from_numpy(generator.integers(-(2**31), 2**31, size=(3, 3)).astype(np.int32))
    params = ops.Draw(Params(temperature=0.7, top_k=9, order=("top_k", "temperature"))).text
    times, start = torch.zeros(3), torch.full((3,), -1)
    order = torch.randperm(70, generator=torch.Generator().manual_seed(1)).int()
    ranges = torch.tensor([[0, 7], [7, 70]], dtype=torch.int32)
    p = torch.from_numpy(generator.dirichlet(np.ones(9), size=(2, 4)).astype(np.float32))
    q = torch.from_numpy(generator.dirichlet(np.ones(9), size=(2, 3)).astype(np.float32))
    tokens = torch.tensor([[1, 2, 3], [4, 5, 6]], dtype=torch.int32)
    parents = torch.tensor([[-1, 0, 1]] * 2, dtype=torch.int32)
    lengths = torch.tensor([3, 2], dtype=torch.int32)
    kept, weights = torch.tensor([[1, 4], [2, -1]]), torch.tensor([[0.5, 0.5], [1.0, 0.0]])
    return {
        "sample": (logits, seeds, positions, mask, params, 0),
        "forbid_": (logits.clone(), mask),
        "arrivals": (logits, seeds, positions, 4, times, start, 0),
        "mixture": (logits, kept, weights),
        "range_sums": (logits, order, ranges),
        "verify": ("chain", p, q, tokens, parents, lengths, seeds[:2], positions[:2], True, False),
    }


@pytest.mark.parametrize("name", ["sample", "forbid_", "arrivals", "mixture", "range_sums", "verify"])
def test_registrations_are_right(name):
    # What follows autograd is not ours: a draw has no gradient.
    tests = ("test_schema", "test_faketensor", "test_autograd_registration", "test_aot_dispatch_dynamic")
    torch.library.opcheck(getattr(torch.ops.tokenloom, name).default, cases()[name], test_utils=tests)


def test_a_step_compiles_to_one_graph():
    draw = ops.Draw(Params(temperature=0.8, top_p=0.9))

    def step(hidden, head, seeds, positions, mask):
        logits = hidden @ head
        tokens, logprobs, *_ = draw(logits, seeds, positions, mask)
        return tokens + 0, logprobs.exp(), ops.mixture(head.t(), tokens[:, None], torch.ones(len(tokens), 1))

    generator = torch.Generator().manual_seed(3)
    hidden, head = torch.randn(4, 8, generator=generator), torch.randn(8, 100, generator=generator)
    arguments = hidden, head, torch.arange(4), torch.arange(4), torch.full((4, 4), -1, dtype=torch.int32)
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    for found, expected in zip(compiled(*arguments), step(*arguments), strict=True):
        assert torch.equal(found, expected)
    drawn = tl.sample.sample(hidden @ head, Params(temperature=0.8, top_p=0.9), np.arange(4), np.arange(4))
    assert torch.equal(compiled(*arguments)[0], drawn.tokens)


def test_operators_return_what_the_functions_return():
    given = cases()
    allowed = ops.forbid_(given["forbid_"][0].clone(), given["forbid_"][1])
    assert torch.equal(allowed, kernels.forbid_(*given["forbid_"]))
    logits, seeds, positions, n, times, start, _ = given["arrivals"]
    for found, expected in (
        (ops.arrivals(logits, seeds, positions, n, times, start), kernels.arrivals(logits, seeds, positions, n)),
        (ops.range_sums(*given["range_sums"]), kernels.range_sums(*given["range_sums"])),
        (ops.verify(*given["verify"]), kernels.verify(*given["verify"][:8])),
    ):
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    several = ops.Draw([Params(temperature=0), Params(top_k=1), Params(repetition_penalty=2.0)])
    with pytest.raises(tl.errors.ParamsError, match="expected history"):
        several(*given["sample"][:3])
    fixed = Params(bias={3: 99.0}, bad_words=[[4]], order=("temperature",))
    assert ops.Draw(fixed)(logits, seeds, positions)[0].tolist() == [3, 3, 3]
