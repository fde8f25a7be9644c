"""What should a kernel take? Bytes moved over bandwidth, plus what a launch costs, before anything is measured.

The model is deliberately small: one read of the logits (and mask) at copy bandwidth, a floor for each launch, and a
time a row for the steps that wait for each other, divided by the rows that run together. A measured time far from it
says which part of the picture is wrong.
"""

from __future__ import annotations

from typing import NamedTuple

#: Seconds between two kernels of a stream.
LAUNCH_S = 3e-6
#: Seconds of one barrier of a cluster and one pass over a part in shared memory.
STEP_S = 1.5e-6
#: Blocks of 512 threads and 80 kB that a multiprocessor holds.
BLOCKS_PER_MULTIPROCESSOR = 2


class Case(NamedTuple):
    """One shape of a kernel.

    Attributes:
        name: Which kernel and rules.
        n_rows: B.
        n_vocab: V.
        n_bytes: Bytes that must be moved.
        n_launches: Launches one after the other.
        n_steps: Steps of a row that wait for each other.
    """

    name: str
    n_rows: int
    n_vocab: int
    n_bytes: int
    n_launches: int
    n_steps: int


def roofline_s(case: Case, bandwidth: float) -> float:
    """Seconds to move the bytes once; ``bandwidth`` in bytes a second."""
    return case.n_bytes / bandwidth


def predicted_s(case: Case, bandwidth: float, n_multiprocessors: int) -> float:
    """Seconds, by the model above."""
    n_blocks = min(8, max(1, case.n_vocab // 8192))
    n_together = max(1, n_multiprocessors * BLOCKS_PER_MULTIPROCESSOR // n_blocks)
    n_waves = -(-case.n_rows // n_together)
    return case.n_launches * LAUNCH_S + max(roofline_s(case, bandwidth), n_waves * case.n_steps * STEP_S)


def cases(sizes: list[tuple[int, int]], width: int) -> list[Case]:
    """The shapes that are timed, for logits of ``width`` bytes."""
    rules = [("greedy", 4), ("temperature", 4), ("top_p", 16), ("top_k top_p", 22), ("top_k top_p min_p", 24)]
    found = []
    for n_vocab, n_rows in sizes:
        logits = n_rows * n_vocab * width
        found += [Case(f"sample {name}", n_rows, n_vocab, logits, 1, steps) for name, steps in rules]
        found.append(Case("sample masked", n_rows, n_vocab, logits + n_rows * n_vocab // 8, 1, 4))
        found.append(Case("arrivals 64", n_rows, n_vocab, logits, 1, 12))
        found.append(Case("forbid", n_rows, n_vocab, n_rows * n_vocab * (1 + 4 * width) // 8, 1, 1))
        found.append(Case("range_sums 257", n_rows, n_vocab, 2 * logits + 4 * n_vocab, 2, 2))
        found.append(Case("verify chain 4", n_rows, n_vocab, 9 * n_rows * n_vocab * 4, 2, 12))
    return found


def main() -> None:
    """Print the predictions for an H100 (3.0 TB/s, 132 multiprocessors)."""
    sizes = [(n_vocab, n_rows) for n_vocab in (32_768, 131_072, 262_144) for n_rows in (1, 8, 64, 256, 512)]
    for width, name in ((2, "bf16"), (4, "fp32")):
        for case in cases(sizes, width):
            once, found = roofline_s(case, 3.0e12), predicted_s(case, 3.0e12, 132)
            print(f"{name} {case.n_vocab:7d} {case.n_rows:4d} {case.name:20s} {once * 1e6:9.1f} {found * 1e6:9.1f} us")


if __name__ == "__main__":
    main()
