"""How fast is a weighted draw under a check, beside genlm-control?

Draws differ by their random numbers, so engines agree when theirs are allowed and their weights average to the allowed
mass, which is known.
"""

from __future__ import annotations

from benches.harness import Case

TITLE = "AWRS: one weighted draw at 131,072 tokens, the check is free"
NOTE = (
    "Flat: logits N(0, 3). Peaked: a token of probability 0.98, forbidden where the rule allows every tenth token. "
    "float32 log-probabilities are given. The check is a Python function in one, a potential in the other. Before "
    "timing, each engine's weights must average to the allowed mass within five standard errors. genlm-control prunes "
    "the vocabulary in each step, as its default says."
)


def cases() -> list[Case]:
    """Two rows and two rules."""
    rows = []
    for shape in ("flat", "peaked"):
        for name, step in (("all allowed", 1), ("a tenth allowed", 10)):
            arguments = {"shape": shape, "step": step, "n_vocab": 131_072, "seed": 3, "n_steps": 60, "n_rounds": 5}
            engines = ("tokenloom", "genlm_control")
            rows.append(Case(f"{shape}, {name}", "awrs", engines, "genlm_control", arguments, 60, "us"))
    return rows
