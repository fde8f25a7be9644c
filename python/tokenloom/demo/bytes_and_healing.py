"""(e) What does the model say after half a word?"""

from __future__ import annotations

from typing import Any

import numpy as np
from rich.table import Table

import tokenloom as tl
from tokenloom.demo.setting import Setting

__all__ = ["show"]

_PROMPT = "My favourite drink is hot cho"
_N_TOKENS = 12
_GREEDY = tl.sample.Params(temperature=0.0)


def show(setting: Setting) -> bool:
    """Show the likeliest next bytes, then the continuation of the prompt's own tokens and of a drawn cover."""
    with setting.console.status("bytes"):
        byte_model = tl.bytelevel.ByteModel(tl.torch.LanguageModel(setting.model), setting.tokenizer)
        log_probs = byte_model.start(_PROMPT.encode()).next_byte()
        as_it_is = _continue(setting, heal=False)
        healed = _continue(setting, heal=True)
    setting.console.print(f"prompt: {_PROMPT!r}", markup=False)
    best = np.argsort(-log_probs)[:5]
    table = Table("next byte", "probability")
    for byte in best.tolist():
        table.add_row(repr(bytes([byte]))[1:] if byte < 256 else "end", f"{np.exp(log_probs[byte]):.3f}")
    setting.console.print(table)
    table = Table("read as", "last tokens of the prompt", "continuation")
    for name, answer in (("its own tokens", as_it_is), ("a drawn cover", healed)):
        table.add_row(name, _last_tokens(setting, answer), repr(answer.text))
    setting.console.print(table)
    whole = bytes(setting.tokenizer.decode_bytes([*healed.prompt_ids.tolist(), *healed.ids.tolist()]))
    return bool(np.isclose(np.exp(log_probs).sum(), 1.0)) and whole.startswith(_PROMPT.encode())


def _continue(setting: Setting, heal: bool) -> Any:
    (answer,) = tl.torch.generate(
        setting.model, setting.tokenizer, _PROMPT, max_new_tokens=_N_TOKENS, heal=heal, params=_GREEDY
    )
    return answer


def _last_tokens(setting: Setting, answer: Any) -> str:
    tokens = (bytes(setting.tokenizer.token_bytes(int(token))) for token in answer.prompt_ids[-3:])
    return " ".join(repr(token.decode("utf-8", "replace")) for token in tokens)
