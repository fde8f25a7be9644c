"""(f) How much shorter does text become when tokens may span spaces?"""

from __future__ import annotations

import pydoc_data.topics
import time
from typing import Any

from rich.table import Table

import tokenloom as tl
from tokenloom.demo.setting import Setting

__all__ = ["show"]

_N_TOKENS = 4_000
_TRANSITION = 3_000


def show(setting: Setting) -> bool:
    """Train BPE and SuperBPE of one size on the help texts that ship with Python; count tokens on a part held out."""
    topics = [text for _, text in sorted(pydoc_data.topics.topics.items())]
    held_out = topics[::8]
    corpus = [text for index, text in enumerate(topics) if index % 8]
    start = time.perf_counter()
    with setting.console.status("training BPE and SuperBPE"):
        plain = tl.train.bpe(corpus, vocab_size=_N_TOKENS, progress=False)
        super_ = tl.train.superbpe(corpus, vocab_size=_N_TOKENS, transition=_TRANSITION, progress=False)
    seconds = time.perf_counter() - start
    table = Table("tokenizer", "tokens", "bytes per token, training text", "bytes per token, held-out text")
    rates = []
    for name, tokenizer in (("BPE", plain), ("SuperBPE", super_)):
        rates.append(_bytes_per_token(tokenizer, held_out))
        table.add_row(
            name, f"{tokenizer.vocab_size:,}", f"{_bytes_per_token(tokenizer, corpus):.2f}", f"{rates[-1]:.2f}"
        )
    setting.console.print(table)
    words = _superwords(super_)
    longest = sorted(words, key=len)[:-6:-1]
    setting.console.print(f"five of {len(words)} superwords: {', '.join(map(repr, longest))}", markup=False)
    n_bytes = sum(len(text.encode()) for text in corpus)
    setting.console.print(f"{n_bytes:,} bytes of Python's own help texts, {seconds:.1f} s for both")
    return rates[1] > rates[0] and len(words) >= 5


def _bytes_per_token(tokenizer: Any, texts: list[str]) -> float:
    n_tokens = sum(int(tokenizer.count(text)) for text in texts)
    return sum(len(text.encode()) for text in texts) / n_tokens


def _superwords(tokenizer: Any) -> list[str]:
    """Tokens of several words, in the order in which they were learnt."""
    texts = (bytes(tokenizer.token_bytes(token)).decode("utf-8", "replace") for token in range(tokenizer.vocab_size))
    return [text for text in texts if " " in text.strip() and all(word.isalpha() for word in text.split())]
