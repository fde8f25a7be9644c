"""What does the default model say to Spec-Bench, and what else did it find likely?

``python -m benches.streams --model FILE.gguf --out streams.jsonl`` asks SmolLM2-135M-Instruct (float32, CPU, one
thread, greedy) requests of each category and writes a trace: prompts and answers as token ids, with the sixteen
likeliest tokens behind every position of both. Drafters that learn from the model can then be replayed without it:
``python -m benches.merged streams.jsonl``, or ``tokenloom bench draft --trace streams.jsonl``.

The answers are generated in batches; the likely tokens come from one more pass over prompt and answer together, so at
a near tie the likeliest one need not be the one that was said. Rows of drafted tokens that were rejected are not
recorded: in a replay what is harvested is what lies on the path.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benches.speculation import requests

N_TOP = 16


def main() -> int:
    """Record as many streams as asked for."""
    import tokenloom as tl
    import torch

    parser = argparse.ArgumentParser(prog="python -m benches.streams")
    parser.add_argument("--each", type=int, default=16, help="requests a category")
    parser.add_argument("--chars", type=int, default=2500, help="longest request, in characters")
    parser.add_argument("--tokens", type=int, default=128, help="tokens an answer")
    parser.add_argument("--out", type=Path, required=True, help="the trace, JSON lines")
    parser.add_argument("--model", type=Path, required=True, help="the .gguf file of SmolLM2-135M-Instruct")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, tokenizer = tl.torch.load(options.model)
    greedy = tl.sample.Params(temperature=0.0)
    with options.out.open("w", encoding="utf-8") as out:
        for category, texts in requests(options.each, options.chars).items():
            prompts = [tl.torch.chat_prompt(model, text) or text for text in texts]
            found = tl.torch.generate(model, tokenizer, prompts, max_new_tokens=options.tokens, params=greedy)
            for prompt, answer in zip(prompts, found, strict=True):
                out.write(json.dumps(_line(model, category, tokenizer.encode_list(prompt), answer.ids.tolist())) + "\n")
            print(f"{category}: {len(texts)} requests", file=sys.stderr, flush=True)
    return 0


def _line(model: Any, category: str, prompt: list[int], answer: list[int]) -> dict[str, Any]:
    """One line of the trace."""
    import torch

    with torch.inference_mode():
        logits = model(torch.tensor([prompt + answer])).logits[0]
        best = logits.topk(N_TOP, dim=-1)
        log_probs = best.values - logits.logsumexp(-1, keepdim=True)
    ids, rounded = best.indices.tolist(), [[round(x, 3) for x in row] for row in log_probs.tolist()]
    n = len(prompt)
    return {
        "category": category,
        "prompt": prompt,
        "answer": answer,
        # What stood behind a token of the prompt; the row behind the last one is that of the first answer token.
        "prompt_topk_ids": ids[:n],
        "prompt_topk_logprobs": rounded[:n],
        "topk_ids": ids[n - 1 : -1],
        "topk_logprobs": rounded[n - 1 : -1],
    }


if __name__ == "__main__":
    raise SystemExit(main())
