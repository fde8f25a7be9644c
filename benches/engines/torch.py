"""torch: ``topk`` first and the other rules on its few columns; without top-k, the exponential race; drafted chains as
vLLM's rejection sampler verifies them; one thread."""

from __future__ import annotations

from typing import Any

import torch

from benches.engines.sampling import rows_of, sampling_job
from benches.engines.verifying import Committed, Draft, verify_job
from benches.job import Job

PACKAGES = ("torch",)


def draw(arguments: dict[str, Any]) -> Job:
    """One token a row; the result is the probabilities of the columns, and which columns they are."""
    torch.set_num_threads(1)
    rows = torch.from_numpy(rows_of(arguments))
    rules = arguments["rules"]

    def truncated(position: int) -> tuple[torch.Tensor, torch.Tensor]:
        values, columns = torch.topk(rows, rules["top_k"], dim=-1)
        probs = torch.softmax(values / rules["temperature"], dim=-1)
        before = probs.cumsum(-1) - probs
        probs[before >= rules["top_p"]] = 0
        probs[probs < rules["min_p"] * probs[:, :1]] = 0
        columns.gather(1, torch.multinomial(probs, num_samples=1))
        return probs, columns

    def plain(position: int) -> tuple[torch.Tensor, torch.Tensor]:
        probs = torch.softmax(rows / rules["temperature"], dim=-1)
        (probs / torch.empty_like(probs).exponential_()).argmax(-1)
        return probs, torch.arange(rows.shape[1]).expand_as(rows)

    def grown(position: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Top-p without a sort: the best tokens, eight times as many until they hold the mass."""
        log_norms, n_best = torch.logsumexp(rows, dim=-1, keepdim=True), 1024
        while True:
            values, columns = torch.topk(rows, min(n_best, rows.shape[1]), dim=-1)
            probs = torch.exp(values - log_norms)
            sums = probs.cumsum(-1)
            if n_best >= rows.shape[1] or bool((sums[:, -1] >= rules["top_p"]).all()):
                break
            n_best *= 8
        probs[sums - probs >= rules["top_p"]] = 0
        columns.gather(1, torch.multinomial(probs, num_samples=1))
        return probs, columns

    def could_be_drawn(result: tuple[torch.Tensor, torch.Tensor]) -> Any:
        probs, columns = result
        return torch.zeros_like(rows).scatter_(1, columns, probs).numpy() > 0

    step = truncated if "top_k" in rules else grown if "top_p" in rules else plain
    return sampling_job(arguments, step, could_be_drawn)


def verify(arguments: dict[str, Any]) -> Job:
    """A chain: all tests at once, a token for every place in case it is rejected, then the first rejection."""
    torch.set_num_threads(1)

    def run(draft: Draft, seed: int) -> Committed:
        generator = torch.Generator().manual_seed(seed)
        p, q, tokens = torch.from_numpy(draft.p), torch.from_numpy(draft.q), torch.from_numpy(draft.tokens)
        n = len(tokens)
        places = torch.arange(n)
        uniform = torch.rand(n, generator=generator)
        is_accepted = uniform * q[places, tokens] < p[places, tokens]
        noise = torch.empty_like(q).exponential_(generator=generator)
        recovered = ((p[:n] - q).clamp_(min=0) / noise).argmax(-1)
        bonus = (p[n] / torch.empty_like(p[n]).exponential_(generator=generator)).argmax()
        n_accepted = int(is_accepted.cumprod(0).sum())
        return n_accepted, int(bonus if n_accepted == n else recovered[n_accepted])

    return verify_job(arguments, run)
