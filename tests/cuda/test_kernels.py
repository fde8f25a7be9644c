"""Every kernel besides the draw, run on the CPU through the whole launch, against its Rust twin."""

import numpy as np
import pytest
import tokenloom as tl
import torch
from corpus import VERIFICATIONS, drafts
from tokenloom.torch import kernels

FIBERS = [
    {},
    {"n_threads": 32, "seed": 3},
    {"n_threads": 96, "seed": 8},
    {"n_threads": 512, "seed": 2},
    {"n_threads": 64, "n_cluster": 2, "seed": 5},
    {"n_threads": 32, "n_cluster": 8, "seed": 7},
]


@pytest.fixture
def on_fibers(cpu_as_cuda, monkeypatch):
    """Run a function of `kernels` by its kernel."""

    def run(function, *arguments, n_threads=64, seed=1, n_cluster=1, **options):
        cpu_as_cuda.fibers(n_threads, seed)
        with monkeypatch.context() as patch:
            patch.setattr(kernels, "_is_cuda", lambda tensor: True)
            part = lambda device, unit, n_vocab: (n_cluster, -(-n_vocab // (64 * n_cluster)) * 64)  # noqa: E731
            patch.setattr(kernels, "team", part)
            return function(*arguments, **options)

    return run


def assert_equal(found, expected, context=""):
    names = getattr(expected, "_fields", range(len(expected)))
    for name, a, b in zip(names, found, expected, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy(), err_msg=f"{name} {context}")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("n_vocab", [1, 31, 65, 300])
def test_forbidden_tokens_are_written_and_no_others(on_fibers, dtype, n_vocab):
    generator = np.random.default_rng(n_vocab)
    logits = torch.from_numpy(generator.normal(size=(5, n_vocab + 3)).astype(np.float32)).to(dtype)[:, :n_vocab]
    words = generator.integers(-(2**31), 2**31, size=(4, -(-n_vocab // 32))).astype(np.int32)
    words[2] = -1
    masks = torch.from_numpy(words)
    rows = torch.tensor([3, -1, 0, 1])
    on_cpu, by_kernel = logits.clone(), torch.empty(5, n_vocab + 3, dtype=dtype)[:, :n_vocab].copy_(logits)
    kernels.forbid_(on_cpu, masks, rows)
    on_fibers(kernels.forbid_, by_kernel, masks, rows)
    allowed = np.unpackbits(words.view(np.uint8), axis=1, bitorder="little")[:, :n_vocab].astype(bool)
    expected = logits.float().numpy().copy()
    for mask, row in zip(allowed, rows.tolist(), strict=True):
        if row >= 0:
            expected[row, ~mask] = -np.inf
    np.testing.assert_array_equal(on_cpu.float(), expected)
    np.testing.assert_array_equal(by_kernel.float(), expected)
    one_each = torch.from_numpy(generator.integers(-(2**31), 2**31, size=(5, -(-n_vocab // 32))).astype(np.int32))
    assert_equal(
        [on_fibers(kernels.forbid_, logits.clone().contiguous(), one_each).float()],
        [kernels.forbid_(logits.clone().contiguous(), one_each).float()],
    )


@pytest.mark.parametrize("fibers", FIBERS)
def test_arrivals_and_those_behind_them(on_fibers, fibers):
    generator = np.random.default_rng(1)
    logits = torch.from_numpy((generator.normal(size=(7, 700)) * 6).astype(np.float32))
    logits[1] = 0
    logits[2] = -torch.inf
    logits[3, 5] = torch.nan
    logits[4] = torch.where(torch.arange(700) % 90 == 3, 0.0, -torch.inf)
    logits[5, 3:] = -90
    seeds, positions = tl.sample.seeds(4, 7), np.arange(7)
    expected = kernels.arrivals(logits, seeds, positions, 40)
    assert_equal(on_fibers(kernels.arrivals, logits, seeds, positions, 40, **fibers), expected, fibers)
    after = (expected.times[:, 9].contiguous(), expected.tokens[:, 9].contiguous())
    behind = kernels.arrivals(logits, seeds, positions, 30, after)
    whole = expected.tokens[:, 9] >= 0
    np.testing.assert_array_equal(behind.tokens[whole], expected.tokens[whole][:, 10:40])
    assert_equal(on_fibers(kernels.arrivals, logits, seeds, positions, 30, after, **fibers), behind, fibers)
    drawn = tl.sample.sample(logits, tl.sample.Params(), seeds, positions)
    np.testing.assert_array_equal(drawn.tokens, expected.tokens[:, 0])
    assert expected.status.tolist() == [0, 0, 2, 1, 0, 0, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_mixtures_of_embeddings(on_fibers, dtype):
    generator = np.random.default_rng(2)
    table = torch.from_numpy(generator.normal(size=(50, 333)).astype(np.float32)).to(dtype)
    tokens = torch.from_numpy(generator.integers(-1, 51, size=(4, 10)))
    weights = torch.from_numpy(generator.random(size=(4, 10)).astype(np.float32))
    expected = kernels.mixture(table, tokens, weights)
    assert_equal([on_fibers(kernels.mixture, table, tokens, weights, n_threads=96)], [expected])
    is_row = (tokens >= 0) & (tokens < 50)
    rows = table.double()[tokens.clamp(0, 49)] * (weights * is_row).double()[..., None]
    np.testing.assert_allclose(expected, rows.sum(1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("fibers", FIBERS)
def test_masses_of_ranges(on_fibers, fibers):
    generator = np.random.default_rng(3)
    logits = torch.from_numpy((generator.normal(size=(4, 900)) * 30).astype(np.float32))
    logits[1] = -torch.inf
    logits[2, 7] = torch.inf
    logits[3, 100:] = -800
    order = torch.from_numpy(generator.permutation(900).astype(np.int32))
    cuts = torch.tensor([0, 0, 1, 5, 300, 556, 900], dtype=torch.int32)
    ranges = torch.stack([cuts[:-1], cuts[1:]], dim=1)
    expected = kernels.range_sums(logits, order, ranges)
    assert_equal(on_fibers(kernels.range_sums, logits, order, ranges, **fibers), expected, fibers)
    row = logits[0].double()
    exact = (row - row.max()).exp()[order.long()]
    sums = [float(exact[low:high].sum()) for low, high in ranges.tolist()]
    np.testing.assert_allclose(expected[1][0], sums, rtol=1e-13)
    assert torch.isnan(expected[0]).tolist() == [False, False, True, False]


@pytest.mark.parametrize("fibers", [FIBERS[1], FIBERS[2], FIBERS[5]])
@pytest.mark.parametrize(("rule", "shape", "with_replacement"), VERIFICATIONS)
def test_verification_decides_alike(on_fibers, rule, shape, with_replacement, fibers):
    generator = np.random.default_rng(7)
    for n_nodes, n_vocab in ((4, 5), (6, 700), (0, 40)):
        p, q, tokens, parents, lengths = drafts(generator, 14, n_nodes, n_vocab, shape)
        seeds, positions = tl.sample.seeds(9, 14), np.arange(14) + 2**33
        arrays = [torch.from_numpy(array) for array in (p, tokens, parents, lengths)]
        rows = None if rule in ("greedy", "walk") else torch.from_numpy(q)
        for normalized in (False, True):
            arguments = (rule, arrays[0], rows, *arrays[1:], seeds, positions)
            options = {"with_replacement": with_replacement, "normalized": normalized}
            expected = kernels.verify(*arguments, **options)
            if normalized:  # unseen numbers give some result
                good = kernels.verify(*arguments, with_replacement=with_replacement).status == 0
            else:
                good = torch.ones(14, dtype=torch.bool)
                assert n_nodes == 0 or expected.status.count_nonzero() > 0
            found = on_fibers(kernels.verify, *arguments, **options, **fibers)
            assert_equal([a[good] for a in found], [b[good] for b in expected], (n_nodes, n_vocab, normalized))


@pytest.mark.parametrize("fibers", [FIBERS[1], FIBERS[4], FIBERS[5]])
def test_nothing_left_of_the_target(on_fibers, fibers):
    """Rows that are taken as they are may leave nothing at all: then the target itself is drawn from."""
    n_vocab = 1500
    q = torch.full((8, 1, n_vocab), 1 / n_vocab)
    p = 0.4 * q.expand(-1, 2, -1)
    tokens, parents = torch.full((8, 1), 3, dtype=torch.int32), torch.full((8, 1), -1, dtype=torch.int32)
    lengths = torch.ones(8, dtype=torch.int32)
    arguments = ("chain", p, q, tokens, parents, lengths, tl.sample.seeds(2, 8), 5)
    expected = kernels.verify(*arguments, normalized=True)
    assert 0 < expected.n_accepted.sum() < 8
    assert_equal(on_fibers(kernels.verify, *arguments, normalized=True, **fibers), expected)


@pytest.mark.parametrize("rule", ["greedy", "chain", "recursive"])
def test_trees_that_are_none_have_a_status(on_fibers, rule):
    p = torch.full((5, 4, 40), 1 / 40)
    q = None if rule == "greedy" else p[:, :3].contiguous()
    tokens = torch.zeros((5, 3), dtype=torch.int32)
    parents = torch.tensor([[-1, 0, 1], [-1, 1, 0], [-1, 0, 5], [-2, 0, 1], [-1, 0, 1]], dtype=torch.int32)
    lengths = torch.tensor([3, 3, 3, 3, 4], dtype=torch.int32)
    found = on_fibers(kernels.verify, rule, p, q, tokens, parents, lengths, tl.sample.seeds(1, 5), 0)
    assert found.status.tolist() == [0, 4, 4, 4, 4]
    assert found.paths[1:].tolist() == [[-1, -1, -1]] * 4


def test_bad_arguments_are_named(cpu_as_cuda):
    logits = torch.zeros(2, 40)
    with pytest.raises(tl.errors.ArrayError, match="masks of dtype int32"):
        kernels.forbid_(logits, torch.zeros(2, 1, dtype=torch.int32))
    with pytest.raises(tl.errors.ArrayError, match="one mask a row"):
        kernels.forbid_(logits, torch.zeros(3, 2, dtype=torch.int32))
    with pytest.raises(tl.errors.ArrayError, match="1 to 256 arrivals"):
        kernels.arrivals(logits, [1, 2], 0, 300)
    with pytest.raises(tl.errors.ArrayError, match="after to be"):
        kernels.arrivals(logits, [1, 2], 0, 3, (torch.zeros(2), torch.zeros(2)))
    with pytest.raises(tl.errors.ArrayError, match="weights of shape"):
        kernels.mixture(logits, torch.zeros(1, 3, dtype=torch.int64), torch.zeros(1, 2))
    with pytest.raises(tl.errors.ArrayError, match="int32 order"):
        kernels.range_sums(logits, torch.zeros(3), torch.zeros(1, 2, dtype=torch.int32))
    none = torch.zeros((2, 0), dtype=torch.int32)
    with pytest.raises(tl.errors.ArrayError, match="a rule among"):
        kernels.verify("luck", logits[:, None], None, none, none, torch.zeros(2, dtype=torch.int32), [1, 2], 0)
    with pytest.raises(tl.errors.ArrayError, match="expected q"):
        kernels.verify("chain", logits[:, None], None, none, none, torch.zeros(2, dtype=torch.int32), [1, 2], 0)
