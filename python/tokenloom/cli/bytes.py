"""``tokenloom bytes``: which byte does a model expect next?"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Literal

import click
import numpy as np

__all__ = ["bytes_command"]

_BAR = "▏▎▍▌▋▊▉█"


@click.command(name="bytes", epilog="Example: tokenloom bytes ./SmolLM2-135M-Instruct --prompt 'See https:' --top 10")
@click.argument("model", type=click.Path(exists=True, path_type=Path))
@click.option("--prompt", help="Text, taken as it is; stdin where it is not given.")
@click.option("--top", type=click.IntRange(1, 257), default=16, show_default=True, help="How many bytes to show.")
@click.option("--target", type=click.Choice(["canonical", "marginal"]), default="canonical", show_default=True)
@click.option("--max-tv", type=click.FloatRange(0, 1, max_open=True), default=1e-3, help="Of the marginal target.")
@click.option(
    "--min-share",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    help="Of the marginal target: lighter spellings are not looked into.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object with all 257 probabilities.")
def bytes_command(
    model: Path,
    prompt: str | None,
    top: int,
    target: Literal["canonical", "marginal"],
    max_tv: float,
    min_share: float,
    as_json: bool,
) -> None:
    """Show which byte MODEL, a Hugging Face folder or a .gguf file, expects behind a prompt.

    The prompt may end anywhere, also inside a word or a character. The law is that of all encodings which begin with
    the prompt, not of the one that the prompt alone would have.
    """
    import tokenloom as tl

    text = prompt.encode() if prompt is not None else sys.stdin.buffer.read()
    language_model, tokenizer = tl.torch.load(model)
    byte_model = tl.bytelevel.ByteModel(language_model, tokenizer, target, max_tv=max_tv, min_share=min_share)
    state = byte_model.start(text)
    probs = np.exp(state.next_byte())
    if as_json:
        found = {"prompt": text.decode("utf-8", "replace"), "target": target, "probabilities": probs.tolist()}
        click.echo(json.dumps(found | {"leaked": state.leaked, "certificate": state.certificate}))
        return
    order = np.argsort(-probs, kind="stable")[:top]
    widest = float(probs[order[0]])
    for slot in order.tolist():
        eighths = round(float(probs[slot]) / widest * 40 * 8)
        bar = "█" * (eighths // 8) + (_BAR[eighths % 8 - 1] if eighths % 8 else "")
        click.echo(f"{_name(slot):>6} {probs[slot]:8.4f} {bar}")
    rest = 1.0 - float(probs[order].sum())
    click.echo(f"{'others':>6} {max(rest, 0.0):8.4f}")
    if state.leaked > 0:
        click.echo(f"{state.leaked:.2%} of the mass is on token sequences that no encoding has", err=True)
    if state.certificate > 0:
        click.echo(f"within {state.certificate:.1e} of the exact law in total variation", err=True)


def _name(slot: int) -> str:
    if slot == 256:
        return "end"
    char = chr(slot)
    return repr(char) if slot < 128 and (char.isprintable() or char in "\n\t\r") else f"0x{slot:02x}"
