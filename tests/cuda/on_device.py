"""Does a device do what the CPU does? For a machine with a GPU and torch, without pytest, Rust or a compiler.

    python tests/cuda/on_device.py            # every check; exit status 1 and a line for each that fails
    compute-sanitizer --tool memcheck python tests/cuda/on_device.py --quick

`scripts/on_device.sh` installs a wheel and runs this, the sanitizer's four tools and the bench.
"""

import argparse
import sys
import time
import traceback

import numpy as np
import tokenloom as tl
import torch
from corpus import RULES, VERIFICATIONS, drafts, edge_rows, random_params
from tokenloom.torch import cuda_sampling, kernels, ops

Params = tl.sample.Params
QUICK = False


def equal(found, expected, context):
    """Raise unless both are the same bits."""
    for place, (a, b) in enumerate(zip(found, expected, strict=True)):
        a, b = (value.cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value) for value in (a, b))
        np.testing.assert_array_equal(a, b, err_msg=f"output {place}: {context}")


def on_gpu(value):
    """A tensor on the device."""
    return (value if isinstance(value, torch.Tensor) else torch.from_numpy(value)).cuda()


def drawn(draws):
    """The five numbers a row of a CPU draw."""
    return draws.tokens, draws.logprobs, draws.status, draws.margins, draws.mirostat_mu


def check_draws():
    """Every rule on every edge row, in three precisions."""
    for n_vocab in (1, 33, 1000) if QUICK else (1, 2, 31, 33, 100, 1000, 8200, 40_000):
        logits = torch.from_numpy(edge_rows(n_vocab))
        seeds = tl.sample.seeds(n_vocab, len(logits))
        for dtype in (torch.float32, torch.bfloat16, torch.float16):
            rows = logits.to(dtype)
            for position, params in enumerate(RULES):
                expected = drawn(tl.sample.draw(rows, params, seeds, position))
                found = cuda_sampling.draw(rows.cuda(), params, seeds, position, None, None, 0, None, 0)
                equal(found, expected, (n_vocab, dtype, params))


def check_random_rules():
    """Random rules with masks and texts."""
    generator = np.random.default_rng(5)
    n_rows = 30 if QUICK else 400
    logits = (generator.normal(size=(n_rows, 301)) * generator.uniform(0.1, 8, size=(n_rows, 1))).astype(np.float32)
    mask = generator.integers(-(2**31), 2**31, size=(n_rows, 10)).astype(np.int32)
    params = [random_params(generator) for _ in range(n_rows)]
    history = [generator.integers(0, 40, size=generator.integers(0, 30)) for _ in range(n_rows)]
    seeds, positions = tl.sample.seeds(1, n_rows), np.arange(n_rows)
    expected = tl.sample.draw(logits, params, seeds, positions, mask, history)
    found = cuda_sampling.draw(on_gpu(logits), params, seeds, positions, on_gpu(mask), history, 0, None, 0)
    equal(found, drawn(expected), "random rules")


def check_whole_vocabularies():
    """Real sizes; a row's result must not depend on its batch."""
    if QUICK:
        return
    for n_vocab in (32_000, 131_072, 262_144):
        generator = np.random.default_rng(n_vocab)
        logits = (generator.normal(size=(64, n_vocab)) * 3).astype(np.float32)
        seeds, positions = tl.sample.seeds(1, 64), np.arange(64)
        for params in (
            Params(),
            Params(0.7, 50, 0.9, 0.05),
            Params(top_p=0.95),
            Params(typical_p=0.9),
            Params(top_k=4000),
        ):
            found = cuda_sampling.draw(on_gpu(logits), params, seeds, positions, None, None, 0, None, 0)
            equal(found, drawn(tl.sample.draw(logits, params, seeds, positions)), (n_vocab, params))
            alone = cuda_sampling.draw(on_gpu(logits[7:8]), params, seeds[7:8], positions[7:8], None, None, 0, None, 0)
            equal([value[:1] for value in alone], [value[7:8] for value in found], "a row alone")


def check_other_kernels():
    """Arrivals, masks, mixtures and ranges."""
    generator = np.random.default_rng(3)
    for n_vocab in (50, 700) if QUICK else (50, 700, 50_257, 131_072):
        logits = torch.from_numpy((generator.normal(size=(6, n_vocab)) * 6).astype(np.float32))
        logits[1, 3], logits[2] = torch.nan, -torch.inf
        seeds, positions = tl.sample.seeds(4, 6), np.arange(6)
        expected = kernels.arrivals(logits, seeds, positions, 40)
        equal(kernels.arrivals(logits.cuda(), seeds, positions, 40), expected, "arrivals")
        after = expected.times[:, 9].contiguous(), expected.tokens[:, 9].contiguous()
        behind = kernels.arrivals(logits, seeds, positions, 20, after)
        equal(kernels.arrivals(logits.cuda(), seeds, positions, 20, tuple(map(on_gpu, after))), behind, "behind")
        masks = torch.from_numpy(generator.integers(-(2**31), 2**31, size=(6, -(-n_vocab // 32))).astype(np.int32))
        for dtype in (torch.float32, torch.bfloat16, torch.float16):
            rows = logits.to(dtype)
            equal(
                [kernels.forbid_(rows.cuda(), masks.cuda()).float()],
                [kernels.forbid_(rows.clone(), masks).float()],
                dtype,
            )
            tokens = torch.from_numpy(generator.integers(-1, 7, size=(3, 10)))
            weights = torch.from_numpy(generator.random((3, 10)).astype(np.float32))
            table = logits[3:].to(dtype)
            equal(
                [kernels.mixture(table.cuda(), tokens.cuda(), weights.cuda())],
                [kernels.mixture(table, tokens, weights)],
                "mixture",
            )
        order = torch.from_numpy(generator.permutation(n_vocab).astype(np.int32))
        cuts = torch.from_numpy(np.sort(generator.integers(0, n_vocab, size=40)).astype(np.int32))
        ranges = torch.stack([cuts[:-1], cuts[1:]], dim=1).contiguous()
        equal(
            kernels.range_sums(logits.cuda(), order.cuda(), ranges.cuda()),
            kernels.range_sums(logits, order, ranges),
            "ranges",
        )


def check_verification():
    """Every rule of verification."""
    generator = np.random.default_rng(7)
    for rule, shape, with_replacement in VERIFICATIONS:
        for n_nodes, n_vocab in ((4, 5), (6, 700)) if QUICK else ((4, 5), (6, 700), (0, 40), (5, 50_257)):
            p, q, tokens, parents, lengths = drafts(generator, 18, n_nodes, n_vocab, shape)
            seeds, positions = tl.sample.seeds(9, 18), np.arange(18) + 2**33
            rows = None if rule in ("greedy", "walk") else torch.from_numpy(q)
            arrays = [torch.from_numpy(array) for array in (tokens, parents, lengths)]
            expected = kernels.verify(
                rule, torch.from_numpy(p), rows, *arrays, seeds, positions, with_replacement=with_replacement
            )
            found = kernels.verify(
                rule,
                on_gpu(p),
                None if rows is None else rows.cuda(),
                *map(on_gpu, arrays),
                seeds,
                positions,
                with_replacement=with_replacement,
            )
            equal(found, expected, (rule, n_nodes, n_vocab))


def check_graphs():
    """Captured after a warm-up, replayed with other positions."""
    logits = torch.randn(4, 40_000, device="cuda")
    seeds, positions = torch.arange(4, device="cuda"), torch.zeros(4, dtype=torch.int64, device="cuda")
    params = Params(0.8, 50, 0.9)
    tl.sample.sample(logits, params, seeds, positions)  # its rules are on the device now
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = tl.sample.sample(logits, params, seeds, positions)
    for position in range(3):
        positions.fill_(position)
        graph.replay()
        equal(captured, tl.sample.sample(logits.cpu().numpy(), params, np.arange(4), position), "replayed")


def check_streams():
    """Every launch is on the stream that is current."""
    logits = torch.randn(64, 131_072, device="cuda")
    expected = tl.sample.sample(logits.cpu(), Params(), np.arange(64), 0)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        moved = (logits * 2) / 2
        found = tl.sample.sample(moved, Params(), torch.arange(64, device="cuda"), 0)
    torch.cuda.current_stream().wait_stream(side)
    equal(found, expected, "side stream")


def check_compiled():
    """torch.compile keeps a step in one graph."""
    if QUICK:
        return
    draw = ops.Draw(Params(temperature=0.8, top_p=0.9))

    def step(hidden, head, seeds, positions):
        return draw(hidden @ head, seeds, positions)

    hidden, head = torch.randn(4, 8, device="cuda"), torch.randn(8, 1000, device="cuda")
    addresses = torch.arange(4, device="cuda"), torch.arange(4, device="cuda")
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    equal(compiled(hidden, head, *addresses), step(hidden, head, *addresses), "compiled")


def check_operators():
    """opcheck on CUDA tensors."""
    if QUICK:
        return
    logits, seeds = torch.randn(3, 70, device="cuda"), torch.arange(3, device="cuda")
    tests = ("test_schema", "test_faketensor", "test_autograd_registration", "test_aot_dispatch_dynamic")
    text = ops.Draw(Params(top_k=3)).text
    torch.library.opcheck(torch.ops.tokenloom.sample.default, (logits, seeds, seeds, None, text, 0), test_utils=tests)


def check_reports():
    """Statistics, best tokens and processed rows of every edge row."""
    for n_vocab in (33, 1000) if QUICK else (1, 33, 1000, 8200, 40_000):
        logits, n_top = torch.from_numpy(edge_rows(n_vocab)), min(n_vocab, 20)
        seeds = tl.sample.seeds(n_vocab, len(logits))
        for position, params in enumerate(RULES):
            for top in ("raw", "processed"):
                expected = tl.sample.draw(logits, params, seeds, position, n_top=n_top, top=top)
                found = tl.sample.draw(logits.cuda(), params, seeds, position, n_top=n_top, top=top)
                context = (n_vocab, top, params)
                equal(drawn(found), drawn(expected), context)
                equal(found.stats, expected.stats, context)
                equal([found.raw_logprobs, *found[7:]], [expected.raw_logprobs, *expected[7:]], context)
            good = (expected.status == 0).nonzero()[:, 0]
            rules = {"seeds": seeds[good.numpy()], "positions": position}
            equal(
                [tl.sample.process(logits[good].cuda(), params, **rules)],
                [tl.sample.process(logits[good], params, **rules)],
                (n_vocab, params),
            )


CHECKS = [
    check_draws,
    check_reports,
    check_random_rules,
    check_whole_vocabularies,
    check_other_kernels,
    check_verification,
    check_graphs,
    check_streams,
    check_compiled,
    check_operators,
]


def main():
    """Run every check."""
    global QUICK
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small rows only, for a sanitizer")
    QUICK = parser.parse_args().quick
    found = tl.gpu.probe()
    print(found)
    if not found.usable:
        return 2
    print("kernels:", tl.gpu.warmup())
    n_failed = 0
    for check in CHECKS:
        start = time.monotonic()
        try:
            check()
            torch.cuda.synchronize()
            print(f"ok      {check.__name__} ({time.monotonic() - start:.1f} s)", flush=True)
        except Exception:
            n_failed += 1
            print(f"FAILED  {check.__name__}\n{traceback.format_exc(limit=4)}", flush=True)
    print(f"{len(CHECKS) - n_failed} of {len(CHECKS)} checks passed on {torch.cuda.get_device_name()}")
    return 1 if n_failed else 0


if __name__ == "__main__":
    sys.exit(main())
