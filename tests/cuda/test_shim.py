"""The sampling kernel's source, run on the CPU, against the Rust path: the same bits on every output."""

import numpy as np
import pytest
import tokenloom as tl
import torch
from tokenloom.torch import sampling

Params = tl.sample.Params
NONE = -np.inf
RULES = [
    Params(),
    Params(temperature=0.0),
    Params(temperature=1e-30),
    Params(temperature=0.7, top_k=5),
    Params(top_k=40, top_p=0.9, min_p=0.02, typical_p=0.9, temperature=1.3),
    Params(top_k=10**9, top_p=1.0, min_p=0.0, typical_p=1.0),
    Params(top_p=0.9),
    Params(top_p=0.0),
    Params(top_p=1 - 1e-12),
    Params(min_p=0.05),
    Params(min_p=1.0),
    Params(typical_p=0.2),
    Params(typical_p=0.999, temperature=3e38),
    Params(temperature=0.2, top_p=0.5, typical_p=0.7),
]


def edge_rows(n_vocab: int) -> np.ndarray:
    generator = np.random.default_rng(n_vocab)
    normal = generator.normal(size=n_vocab).astype(np.float32)
    one_finite = np.full(n_vocab, NONE, np.float32)
    one_finite[n_vocab // 2] = -5
    rows = [
        normal,
        normal * 20,  # peaked
        np.zeros(n_vocab),  # flat: every cut is inside a tie
        np.where(np.arange(n_vocab) % 2, 0.0, -0.0),
        np.round(normal * 2) / 2,  # ties across every cut
        (normal.view(np.uint32) & 0xFFFF0000).view(np.float32),  # bf16
        np.full(n_vocab, NONE),
        one_finite,
        np.where(normal > 0, normal, np.nan),
        np.where(np.arange(n_vocab) == n_vocab - 1, np.inf, normal),
        np.where(np.arange(n_vocab) == 0, 0.0, -1e-7),  # almost flat
        np.where(np.arange(n_vocab) == 0, 16.2, 0.0),  # 1 - 1e-7
        np.where(normal > 1, 3e38, -3e38),
    ]
    return np.stack(rows).astype(np.float32)


@pytest.fixture
def sample_on_cpu(cpu_as_cuda):
    """`tl.sample.sample(..., return_margins=True)` by the kernel, with the number of threads of a block."""

    def run(logits, params, seeds, positions, mask=None, purpose=0, n_threads=64):
        cpu_as_cuda.fibers(n_threads)
        return sampling._sample_cuda(torch.from_numpy(logits), params, seeds, positions, mask, purpose)

    return run


def assert_same_bits(found, expected, context):
    for name, a, b in zip(found._fields, found, expected, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=f"{name} {context}")


@pytest.mark.parametrize("n_vocab", [1, 2, 31, 33, 100, 1000])
def test_kernel_equals_rust_on_edge_rows(sample_on_cpu, n_vocab):
    logits = edge_rows(n_vocab)
    seeds = tl.sample.seeds(n_vocab, len(logits))
    for position, params in enumerate(RULES):
        expected = tl.sample.sample(logits, params, seeds, position, return_margins=True)
        found = sample_on_cpu(logits, params, seeds, position)
        assert_same_bits(found, expected, params)


@pytest.mark.parametrize("n_threads", [32, 96, 512])
def test_the_block_size_does_not_matter(sample_on_cpu, n_threads):
    logits = edge_rows(257)
    params = [RULES[n % len(RULES)] for n in range(len(logits))]
    expected = tl.sample.sample(logits, params, np.arange(len(logits)), 2**40 + 1, return_margins=True)
    found = sample_on_cpu(logits, params, np.arange(len(logits)), 2**40 + 1, n_threads=n_threads)
    assert_same_bits(found, expected, n_threads)


def test_many_draws_with_masks(sample_on_cpu):
    generator = np.random.default_rng(5)
    logits = (generator.normal(size=(400, 301)) * generator.uniform(0.1, 8, size=(400, 1))).astype(np.float32)
    mask = generator.integers(-(2**31), 2**31, size=(400, 10), dtype=np.int64).astype(np.int32)
    mask[:5] = 0
    params = [
        Params(
            temperature=float(generator.choice([0.0, 0.3, 1.0, 2.0])),
            top_k=int(generator.choice([0, 1, 3, 50, 200, 1000])),
            top_p=float(generator.choice([1.0, 0.99, 0.7, 0.1])),
            min_p=float(generator.choice([0.0, 0.01, 0.3])),
            typical_p=float(generator.choice([1.0, 0.95, 0.4])),
        )
        for _ in range(400)
    ]
    seeds, positions = tl.sample.seeds(1, 400), np.arange(400)
    purpose = tl.sample.Purpose.DRAFT
    expected = tl.sample.sample(logits, params, seeds, positions, mask, purpose=purpose, return_margins=True)
    found = sample_on_cpu(logits, params, seeds, positions, mask, purpose=purpose)
    assert_same_bits(found, expected, "random rules")


def test_a_whole_vocabulary(sample_on_cpu):
    generator = np.random.default_rng(6)
    logits = (generator.normal(size=(3, 131_072)) * [[1.0], [3.0], [0.0]]).astype(np.float32)
    params = [Params(), Params(top_k=50, top_p=0.9, typical_p=0.9), Params(top_p=0.3)]
    expected = tl.sample.sample(logits, params, [1, 2, 3], 7, return_margins=True)
    found = sample_on_cpu(logits, params, [1, 2, 3], 7, n_threads=256)
    assert_same_bits(found, expected, "V = 131072")
