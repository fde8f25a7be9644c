"""How fast is a token drawn from logits, beside the peers?

Rows of a whole vocabulary, one thread, float32 in memory. Answers are the sets of tokens that could have been drawn.
"""

from __future__ import annotations

from typing import Any

from benches.harness import Case

TITLE = "Sample: one token a row, V = 131,072, one thread"
NOTE = (
    "Normal logits with a standard deviation of 3. chain: temperature 0.7, top-k 50, top-p 0.9, min-p 0.05. top-p: 0.9 "
    "only. plain: temperature 0.7 only. transformers: its processors, softmax, multinomial. torch: topk first for the "
    "chain; the best 1,024, 8,192, ... until they hold the mass for top-p; softmax and an exponential race for the "
    "plain draw. torch_sort: a sorted row for top-p. numpy: the inverse of the cumulative distribution for the plain "
    "draw. read: the maximum of each row by torch, which reads the memory once and draws nothing. us per row."
)

N_ROUNDS = 5
_RULES: dict[str, dict[str, Any]] = {
    "chain": {"temperature": 0.7, "top_k": 50, "top_p": 0.9, "min_p": 0.05},
    "top-p": {"top_p": 0.9},
    "plain": {"temperature": 0.7},
}
_PEERS = {
    "chain": ("torch", "transformers", "read"),
    "top-p": ("torch", "torch_sort", "transformers"),
    "plain": ("torch", "numpy", "transformers"),
}


def cases() -> list[Case]:
    """Three sets of rules at three batch sizes."""
    rows = []
    for name, rules in _RULES.items():
        for n_rows, n_batches in ((1, 16), (8, 2), (64, 1)):
            arguments = {
                "n_rows": n_rows,
                "n_vocab": 131_072,
                "spread": 3.0,
                "seed": n_rows,
                "rules": rules,
                "n_batches": n_batches,
                "n_rounds": N_ROUNDS,
            }
            rows.append(
                Case(
                    row=f"{name}, B = {n_rows}",
                    operation="draw",
                    engines=("tokenloom", *_PEERS[name]),
                    oracle="transformers",
                    arguments=arguments,
                    n_items=n_rows * n_batches,
                    unit="us",
                    yardsticks=("read",),
                    n_rounds=N_ROUNDS,
                )
            )
    return rows
