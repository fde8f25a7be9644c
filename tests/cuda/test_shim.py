"""The sampling kernel's source, run on the CPU, against the Rust path: the same bits on every output."""

import numpy as np
import pytest
import tokenloom as tl
import torch
from corpus import RULES, edge_rows, random_params
from tokenloom.torch import cuda_sampling, device, sampling

Params = tl.sample.Params
NAMES = ("tokens", "logprobs", "status", "margins", "mirostat_mu")


@pytest.fixture
def kernel(cpu_as_cuda, monkeypatch):
    """`tl.sample.draw` by the kernel: the five numbers of a row."""

    def run(logits, params, seeds, positions, mask=None, history=None, prompts=0, mu=None, purpose=0, **fibers):
        cpu_as_cuda.fibers(fibers.get("n_threads", 64), fibers.get("seed", 1))
        n_cluster = fibers.get("n_cluster")
        if n_cluster:
            n_part = -(-logits.shape[1] // (64 * n_cluster)) * 64
            monkeypatch.setattr(cuda_sampling, "team", lambda *_: (n_cluster, n_part))
        logits = torch.from_numpy(logits) if isinstance(logits, np.ndarray) else logits
        return cuda_sampling.draw(logits, params, seeds, positions, mask, history, prompts, mu, purpose)

    return run


def assert_same_bits(found, expected, context):
    for name, numbers in zip(NAMES, found, strict=True):
        np.testing.assert_array_equal(numbers, getattr(expected, name), err_msg=f"{name} {context}")


@pytest.mark.parametrize("n_vocab", [1, 2, 31, 33, 100, 1000])
def test_kernel_equals_rust_on_edge_rows(kernel, n_vocab):
    logits = edge_rows(n_vocab)
    seeds = tl.sample.seeds(n_vocab, len(logits))
    for position, params in enumerate(RULES):
        expected = tl.sample.draw(logits, params, seeds, position)
        assert_same_bits(kernel(logits, params, seeds, position), expected, params)


@pytest.mark.parametrize(
    "fibers",
    [
        {"n_threads": 32},
        {"n_threads": 96, "seed": 5},
        {"n_threads": 512},
        {"n_threads": 64, "n_cluster": 2},
        {"n_threads": 32, "n_cluster": 8, "seed": 9},
    ],
)
def test_neither_threads_nor_blocks_matter(kernel, fibers):
    logits = np.concatenate([edge_rows(1100)] * 3)
    params = [RULES[n % len(RULES)] for n in range(len(logits))]
    seeds = np.arange(len(logits), dtype=np.uint64)
    expected = tl.sample.draw(logits, params, seeds, 2**40 + 1)
    assert_same_bits(kernel(logits, params, seeds, 2**40 + 1, **fibers), expected, fibers)


def test_random_rules_with_masks_and_texts(kernel):
    generator = np.random.default_rng(5)
    n_rows = 250
    logits = (generator.normal(size=(n_rows, 301)) * generator.uniform(0.1, 8, size=(n_rows, 1))).astype(np.float32)
    mask = generator.integers(-(2**31), 2**31, size=(n_rows, 10), dtype=np.int64).astype(np.int32)
    mask[:5] = 0
    params = [random_params(generator) for _ in range(n_rows)]
    history = [generator.integers(0, 40, size=generator.integers(0, 30)) for _ in range(n_rows)]
    prompts = [len(text) // 2 for text in history]
    mu = np.where(generator.random(n_rows) < 0.5, np.nan, generator.uniform(-1, 9, n_rows)).astype(np.float32)
    seeds, positions = tl.sample.seeds(1, n_rows), np.arange(n_rows)
    for given in (mask, None):
        expected = tl.sample.draw(
            logits, params, seeds, positions, given, history, prompt_lengths=prompts, mirostat_mu=mu, purpose=1
        )
        found = kernel(logits, params, seeds, positions, given, history, prompts, mu, purpose=1)
        assert_same_bits(found, expected, "random rules")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_read_as_it_is(kernel, dtype):
    logits = torch.from_numpy(edge_rows(333)).to(dtype)
    seeds = tl.sample.seeds(3, len(logits))
    for params in (Params(), Params(top_k=9, top_p=0.8), Params(temperature=0)):
        expected = tl.sample.draw(logits, params, seeds, 3)
        assert_same_bits(kernel(logits, params, seeds, 3), expected, dtype)
        aligned = torch.zeros(len(logits), 340, dtype=dtype)
        aligned[:, :333] = logits
        assert_same_bits(kernel(aligned[:, :333], params, seeds, 3), expected, dtype)


def test_parts_too_large_for_shared_memory_lie_in_a_workspace(kernel, monkeypatch):
    logits, seeds = edge_rows(700), tl.sample.seeds(3, 13)
    monkeypatch.setattr(device, "_limits", lambda ordinal, unit: (8, 100))
    for params in (Params(), Params(top_k=9, top_p=0.8), Params(typical_p=0.9)):
        expected = tl.sample.draw(logits, params, seeds, 3)
        assert_same_bits(kernel(logits, params, seeds, 3, n_cluster=4, n_threads=32), expected, params)


@pytest.mark.parametrize("n_cluster", [None, 8])
def test_a_whole_vocabulary(kernel, n_cluster):
    generator = np.random.default_rng(6)
    logits = (generator.normal(size=(4, 131_072)) * [[1.0], [3.0], [0.0], [2.0]]).astype(np.float32)
    params = [Params(), Params(top_k=50, top_p=0.9, typical_p=0.9), Params(top_p=0.3), Params(top_p=0.95, min_p=0.01)]
    expected = tl.sample.draw(logits, params, [1, 2, 3, 4], 7)
    found = kernel(logits, params, [1, 2, 3, 4], 7, n_threads=64 if n_cluster else 256, n_cluster=n_cluster)
    assert_same_bits(found, expected, "V = 131072")


@pytest.mark.parametrize("n_cluster", [1, 2, 4, 8])
def test_blocks_with_and_without_a_list_cut_together(kernel, n_cluster):
    """After the first rule some blocks of a row hold many tokens and others few or none."""
    place = np.arange(8192)
    noise = np.random.default_rng(9).random(8192)
    uneven = np.where(place < 2000, noise, np.where(place % 2048 < 300, noise + 0.3, -30.0))
    tied = np.where(place < 1100, 0.0, np.where(place % 1024 < 9, 0.0, -30.0))
    logits = np.stack([uneven, uneven[::-1], tied]).astype(np.float32)
    rules = {"top_k": 40, "min_p": 0.05, "typical_p": 0.9}
    for order in (("min_p", "top_k"), ("min_p", "typical_p", "top_k_with_ties"), ("top_k_with_ties", "min_p")):
        params = Params(**rules, order=order)
        expected = tl.sample.draw(logits, params, [1, 2, 3], 0)
        for seed in (1, 2):
            found = kernel(logits, params, [1, 2, 3], 0, n_cluster=n_cluster, n_threads=32, seed=seed)
            assert_same_bits(found, expected, order)


BESIDE = [
    {"n_threads": 96, "seed": 4},
    {"n_threads": 32, "n_cluster": 2, "seed": 3},
    pytest.param({"n_threads": 512, "seed": 4}, marks=pytest.mark.heavy),
    pytest.param({"n_threads": 32, "n_cluster": 8}, marks=pytest.mark.heavy),
]


@pytest.fixture
def report(cpu_as_cuda, monkeypatch):
    """What stands beside the draw, by its kernels."""

    def run(function, *arguments, n_threads=64, seed=1, n_cluster=None, **options):
        cpu_as_cuda.fibers(n_threads, seed)
        if n_cluster:
            part = lambda device, unit, n_vocab: (n_cluster, -(-n_vocab // (64 * n_cluster)) * 64)  # noqa: E731
            monkeypatch.setattr(cuda_sampling, "team", part)
        return function(*arguments, **options)

    return run


def assert_same_stats(found, expected, n_top, context):
    raw, stats, tokens, logprobs = found
    np.testing.assert_array_equal(raw, expected.raw_logprobs, err_msg=f"raw_logprobs {context}")
    for name, a, b in zip(stats._fields, stats, expected.stats, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=f"{name} {context}")
    np.testing.assert_array_equal(tokens, expected.top_tokens[:, :n_top], err_msg=f"top {context}")
    np.testing.assert_array_equal(logprobs, expected.top_logprobs[:, :n_top], err_msg=f"top {context}")


@pytest.mark.parametrize("fibers", BESIDE)
def test_what_a_row_looks_like(report, fibers):
    for n_vocab in (1, 2, 33, 1500):
        logits = edge_rows(n_vocab)
        seeds = tl.sample.seeds(n_vocab, len(logits))
        # What is masked may be what makes a row no distribution.
        mask = np.full(-(-n_vocab // 32), -2, np.int32)
        n_top = min(n_vocab, 11)
        for given in (None, mask):
            expected = tl.sample.draw(logits, Params(temperature=3.0), seeds, 1, given, n_top=n_top)
            tokens = torch.from_numpy(expected.tokens)
            found = report(cuda_sampling.stats, torch.from_numpy(logits), tokens, n_top, **fibers)
            assert_same_stats(found, expected, n_top, (n_vocab, fibers))


@pytest.mark.parametrize("fibers", BESIDE)
def test_what_the_rules_leave(report, fibers):
    for n_vocab in (1, 33, 600):
        logits = edge_rows(n_vocab)
        seeds, n_top = tl.sample.seeds(n_vocab, len(logits)), min(n_vocab, 9)
        for position, params in enumerate(RULES):
            expected = tl.sample.draw(logits, params, seeds, position, n_top=n_top, top="processed")
            given = torch.from_numpy(logits), params, seeds, position, None, None, 0
            left, status, tokens, logprobs = report(cuda_sampling.process, *given, n_top=n_top, **fibers)
            np.testing.assert_array_equal(status, expected.status)
            np.testing.assert_array_equal(tokens, expected.top_tokens, err_msg=f"{n_vocab} {params}")
            np.testing.assert_array_equal(logprobs, expected.top_logprobs, err_msg=f"{n_vocab} {params}")
            good = expected.status == 0
            rows = tl.sample.process(logits[good], params, seeds=seeds[good], positions=position)
            np.testing.assert_array_equal(left[good], rows, err_msg=f"{n_vocab} {params}")
            assert left[~good].isnan().all()


def test_draws_and_their_reports_are_one_call(report):
    generator = np.random.default_rng(8)
    logits = (generator.normal(size=(40, 301)) * 3).astype(np.float32)
    mask = generator.integers(-(2**31), 2**31, size=(40, 10), dtype=np.int64).astype(np.int32)
    params = [random_params(generator) for _ in range(40)]
    history = [generator.integers(0, 40, size=generator.integers(0, 30)) for _ in range(40)]
    seeds, positions = tl.sample.seeds(3, 40), np.arange(40)
    for top in ("raw", "processed"):
        expected = tl.sample.draw(logits, params, seeds, positions, mask, history, n_top=5, top=top)
        given = seeds, positions, mask, history, 0, None
        options = {"n_top": 5, "is_processed": top == "processed", "purpose": 0}
        found = report(sampling._draw_on_cuda, torch.from_numpy(logits), params, given, **options)
        assert_same_bits([getattr(found, name) for name in NAMES], expected, top)
        parts = found.raw_logprobs, found.stats, found.top_tokens, found.top_logprobs
        assert_same_stats(parts, expected, 5, top)


@pytest.mark.parametrize(("n_cluster", "n_threads"), [(None, 256), (8, 64)])
def test_a_whole_vocabulary_is_reported(report, n_cluster, n_threads):
    generator = np.random.default_rng(6)
    logits = (generator.normal(size=(4, 131_072)) * [[1.0], [3.0], [0.0], [2.0]]).astype(np.float32)
    logits[3] = np.round(logits[3] * 2) / 2
    rules = [Params(), Params(top_k=5000, top_p=0.9), Params(top_p=0.3), Params(top_p=0.95, min_p=0.01)]
    address = [1, 2, 3, 4], 7, None, None, 0, None
    for top in ("raw", "processed"):
        expected = tl.sample.draw(logits, rules, *address[:2], n_top=40, top=top)
        options = {"n_top": 40, "is_processed": top == "processed", "purpose": 0}
        blocks = {"n_cluster": n_cluster, "n_threads": n_threads}
        found = report(sampling._draw_on_cuda, torch.from_numpy(logits), rules, address, **options, **blocks)
        parts = found.raw_logprobs, found.stats, found.top_tokens, found.top_logprobs
        assert_same_stats(parts, expected, 40, top)
