"""How fast is a draft verified, beside the peers?"""

from __future__ import annotations

from typing import Any

from benches.harness import Case

TITLE = "Verify: one draft a call, V = 131,072, one thread"
NOTE = (
    "Probabilities in float32, in memory; a draft model whose logits are half the target's. Chains end at the first, "
    "the last or one of two places between; of siblings none is accepted. Rows are taken on trust but for the row "
    "'checked', where each row that is looked at is also checked and summed. torch: vLLM's rejection sampler in torch "
    "operations (a replacement for every place, then the first rejection). NumPy: written down plainly, an inverse CDF "
    "for the one replacement that is needed. us a call."
)

N_ROUNDS = 5


def cases() -> list[Case]:
    """Chains of three lengths, and siblings."""
    rows = []
    all_three, pair, alone = ("tokenloom", "numpy", "torch"), ("tokenloom", "numpy"), ("tokenloom",)
    for name, rule, n_drafted, normalized, engines in (
        ("chain", "chain", 1, True, all_three),
        ("chain", "chain", 8, True, all_three),
        ("chain, checked", "chain", 8, False, all_three),
        ("chain", "chain", 64, True, all_three),
        ("block", "block", 8, True, alone),
        ("siblings in turn", "recursive", 8, True, pair),
        ("siblings by k-SEQ", "kseq", 8, True, alone),
    ):
        arguments: dict[str, Any] = {
            "rule": rule,
            "normalized": normalized,
            "n_drafted": n_drafted,
            "is_chain": rule in ("chain", "block"),
            "n_vocab": 131_072,
            "seed": n_drafted,
            "n_calls": 8,
            "n_rounds": N_ROUNDS,
        }
        rows.append(Case(f"{name}, n = {n_drafted}", "verify", engines, "numpy", arguments, 8, "us", N_ROUNDS))
    return rows
