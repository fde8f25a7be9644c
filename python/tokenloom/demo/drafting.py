"""(a, b) Does drafting change the answer, and how many forward passes does it save?"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from rich.markup import escape
from rich.table import Table

import tokenloom as tl
from tokenloom.demo.setting import Setting, shorten

__all__ = ["show"]

_TEMPERATURE = 0.5
_SEED = 7
_MIN_PROB = 0.1  # on a CPU each drafted token costs time, so only likely ones are worth it


def show(setting: Setting) -> bool:
    """Answer the eight prompts twice with one seed and compare the tokens."""
    prompts = setting.prompts()
    plain, plain_seconds = _answers(setting, prompts, None)
    drafted, drafted_seconds = _answers(setting, prompts, tl.draft.Suffix(min_prob=_MIN_PROB))
    table = Table("prompt", "answer", "tokens", "calls", "with drafts", "tokens per call", "same tokens")
    all_same = True
    for prompt, one, two in zip(prompts, plain, drafted, strict=True):
        same = np.array_equal(one.ids, two.ids)
        all_same &= same
        table.add_row(
            prompt.name,
            escape(shorten(one.text, 90)),
            str(one.stats.n_tokens),
            str(one.stats.model_calls),
            str(two.stats.model_calls),
            f"{two.stats.tokens_per_call:.2f}",
            "yes" if same else "NO",
        )
    setting.console.print(table)
    n_plain, n_drafted = (sum(answer.stats.model_calls for answer in part) for part in (plain, drafted))
    setting.console.print(f"{n_plain} model calls without drafts, {n_drafted} with")
    setting.console.print(
        f"sampled at temperature {_TEMPERATURE}, seed {_SEED}; batches of {len(prompts)}; "
        f"{plain_seconds:.0f} s plain, {drafted_seconds:.0f} s with drafts"
    )
    return all_same


def _answers(setting: Setting, prompts: Any, drafter: Any) -> tuple[Any, float]:
    title = "plain" if drafter is None else "with suffix drafts"
    start = time.perf_counter()
    with setting.progress(title, len(prompts) * setting.max_new_tokens) as advance:
        answers = tl.torch.generate(
            setting.model,
            setting.tokenizer,
            [setting.ask(prompt.text) for prompt in prompts],
            max_new_tokens=setting.max_new_tokens,
            drafter=drafter,
            draft_budget=8,
            params=tl.sample.Params(temperature=_TEMPERATURE),
            seed=_SEED,
            stream=advance,
        )
    return answers, time.perf_counter() - start
