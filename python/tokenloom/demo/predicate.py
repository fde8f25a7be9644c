"""(d) What does a constraint cost that is nothing but a Python function?"""

from __future__ import annotations

import math

import tokenloom as tl
from tokenloom.demo.setting import Setting

__all__ = ["show"]

_TEXT = "Describe a walk by the sea in one sentence."


def without_e(prefix: bytes) -> bool:
    """Whether the text so far does without the letter e."""
    return b"e" not in prefix.lower()


def show(setting: Setting) -> bool:
    """Sample a lipogram by adaptive weighted rejection: the model is asked once a token, the function a few times."""
    with setting.progress("AWRS", 40) as advance:
        (answer,) = tl.torch.generate(
            setting.model,
            setting.tokenizer,
            setting.ask(_TEXT),
            max_new_tokens=40,
            constraint=tl.control.predicate(without_e, setting.tokenizer),
            method="awrs",
            params=tl.sample.Params(temperature=0.7),
            seed=3,
            stream=advance,
        )
    held = without_e(answer.text.encode()) and math.isfinite(answer.log_weight)
    setting.console.print(answer.text, markup=False)
    setting.console.print(
        f"{'no' if held else 'STILL AN'} 'e' in {answer.stats.n_tokens} tokens; "
        f"{answer.stats.checks_per_token:.1f} checks per token of {setting.tokenizer.vocab_size:,}; "
        f"log weight {answer.log_weight:.2f}"
    )
    return held
