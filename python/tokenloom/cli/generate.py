"""``tokenloom generate``: how does the user's own model answer the user's own prompts?"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from tokenloom.cli.loading import load_tokenizer
from tokenloom.cli.progress import token_progress

__all__ = ["generate"]


@click.command(
    epilog="Example: tokenloom generate ./SmolLM2-135M-Instruct 'Name three rivers.' --draft --temperature 0.7 --seed 1"
)
@click.argument("model", type=click.Path(exists=True, path_type=Path))
@click.argument("prompts", nargs=-1)
@click.option("--file", "files", type=click.File("r", encoding="utf-8"), multiple=True, help="One prompt a line.")
@click.option("--raw", is_flag=True, help="Continue the prompts as they are, without the model's chat template.")
@click.option("-n", "--max-new-tokens", type=click.IntRange(0), default=128, show_default=True)
@click.option("--draft", is_flag=True, help="Draft from repeats in prompt and answer: same tokens, fewer passes.")
@click.option("--json-schema", "schema", type=click.File("r", encoding="utf-8-sig"), help="Answers follow this schema.")
@click.option("--regex", help="Answers match this regular expression as a whole.")
@click.option("--lark", type=click.File("r", encoding="utf-8-sig"), help="Answers are texts of this grammar.")
@click.option("--predicate", metavar="MODULE:FUNCTION", help="Python function (prefix: bytes) -> bool.")
@click.option("--method", type=click.Choice(["mask", "check", "awrs", "smc"]), help="Default: see below.")
@click.option("--particles", type=click.IntRange(1), default=1, help="Weighted answers a prompt, under a constraint.")
@click.option("--heal", is_flag=True, help="Prompts may end in the middle of a word.")
@click.option("--temperature", type=click.FloatRange(0), default=0.0, show_default=True, help="0 is greedy.")
@click.option("--top-k", type=click.IntRange(0), default=0, help="0 keeps all.")
@click.option("--top-p", type=click.FloatRange(0, 1), default=1.0, help="1 keeps all.")
@click.option("--min-p", type=click.FloatRange(0, 1), default=0.0, help="0 keeps all.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--stop", multiple=True, help="End an answer before this text; may be given again.")
@click.option("--batch-size", type=click.IntRange(1), default=8, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a prompt, for programs.")
def generate(
    model: Path,
    prompts: tuple[str, ...],
    files: Sequence[Any],
    raw: bool,
    max_new_tokens: int,
    draft: bool,
    schema: Any,
    regex: str | None,
    lark: Any,
    predicate: str | None,
    method: str | None,
    particles: int,
    heal: bool,
    as_json: bool,
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
    seed: int,
    stop: tuple[str, ...],
    batch_size: int,
) -> None:
    """Answer PROMPTS with MODEL, a Hugging Face folder or a .gguf file.

    Prompts are arguments, lines of files, or lines of stdin where there are neither. Answers may be drafted (--draft)
    and constrained (--json-schema, --regex, --lark or --predicate); what that cost is told on stderr. A predicate is
    applied by awrs, or by check where the temperature is 0; the others by mask; several particles by smc, each an
    answer with its weight.
    """
    texts = [*prompts, *(line.rstrip("\n") for file in files for line in file if line.strip())]
    if not texts:
        texts = [line.rstrip("\n") for line in sys.stdin if line.strip()]
    if not texts:
        raise click.UsageError("there is no prompt: give one as an argument, in --file, or on stdin")
    if sum(rule is not None for rule in (schema, regex, lark, predicate)) > 1:
        raise click.UsageError("give one of --json-schema, --regex, --lark and --predicate")
    is_constrained = any(rule is not None for rule in (schema, regex, lark, predicate))
    if not is_constrained and (particles > 1 or method is not None):
        raise click.UsageError("--particles and --method need a constraint")
    if draft and particles > 1:
        raise click.UsageError("give one of --draft and --particles")
    if heal and is_constrained:
        raise click.UsageError("--heal goes without a constraint")

    schema_text, grammar = _read(schema, "--json-schema"), _read(lark, "--lark")
    import tokenloom as tl

    # The constraint comes first: what is wrong with it should not wait for the model.
    tokenizer = load_tokenizer(model)
    constraint = _constraint(tokenizer, schema_text, regex, grammar, predicate)
    language_model, tokenizer = tl.torch.load(model, tokenizer=tokenizer)
    asked = texts if raw else [tl.torch.chat_prompt(language_model, text) or text for text in texts]
    rules = tl.sample.Params(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    with token_progress(f"{len(texts)} prompts", len(texts) * max_new_tokens) as on_text:
        answers = tl.torch.generate(
            language_model,
            tokenizer,
            asked,
            max_new_tokens=max_new_tokens,
            drafter=tl.draft.Suffix(min_prob=0.1) if draft else None,
            constraint=constraint,
            method=method or _method(predicate, temperature, particles),
            particles=particles,
            heal=heal,
            params=rules,
            seed=seed,
            stop=stop,
            stream=on_text,
            batch_size=batch_size,
        )
    each = [text for text in texts for _ in range(particles)]
    for text, answer in zip(each, answers, strict=True):
        if as_json:
            click.echo(json.dumps(_record(text, answer), ensure_ascii=False))
        else:
            click.echo(answer.text)
            click.echo(_cost(answer), err=True)


def _method(predicate: str | None, temperature: float, particles: int) -> str:
    if particles > 1:
        return "smc"
    if predicate is None:
        return "mask"
    return "awrs" if temperature > 0 else "check"


def _read(file: Any, option: str) -> str | None:
    try:
        return None if file is None else str(file.read())
    except UnicodeDecodeError as error:
        raise click.BadParameter(f"{file.name} is not UTF-8: {error}", param_hint=option) from error


def _constraint(tokenizer: Any, schema: str | None, regex: str | None, lark: str | None, predicate: str | None) -> Any:
    from tokenloom import control

    if schema is not None:
        return control.json_schema(schema, tokenizer)
    if regex is not None:
        return control.regex(regex, tokenizer)
    if lark is not None:
        return control.lark(lark, tokenizer)
    if predicate is not None:
        return control.predicate(_function(predicate), tokenizer)
    return None


def _function(name: str) -> Callable[[bytes], bool]:
    module, _, attribute = name.partition(":")
    if not attribute:
        raise click.BadParameter(f"expected MODULE:FUNCTION, found {name!r}", param_hint="--predicate")
    sys.path.insert(0, "")
    try:
        function = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise click.BadParameter(str(error), param_hint="--predicate") from error
    if not callable(function):
        raise click.BadParameter(f"{name} is no function", param_hint="--predicate")
    return function  # type: ignore[no-any-return]


def _record(prompt: str, answer: Any) -> dict[str, Any]:
    stats = answer.stats
    return {
        "prompt": prompt,
        "text": answer.text,
        "ids": answer.ids.tolist(),
        "logprobs": answer.logprobs.tolist(),
        "log_weight": answer.log_weight,
        "finish_reason": answer.finish_reason,
        "model_calls": stats.model_calls,
        "drafted": stats.drafted,
        "accepted": stats.accepted,
        "checks": stats.checks,
        "tokens_per_call": stats.tokens_per_call,
    }


def _cost(answer: Any) -> str:
    stats = answer.stats
    parts = [f"{stats.n_tokens} tokens", f"{stats.tokens_per_call:.2f} tokens per model call"]
    if stats.drafted:
        parts.append(f"{stats.accepted} of {stats.drafted} drafted tokens kept")
    if stats.checks:
        parts.append(f"{stats.checks_per_token:.1f} checks per token")
    if answer.log_weight:
        parts.append(f"log weight {answer.log_weight:.3f}")
    return f"  [{', '.join(parts)}; ended by {answer.finish_reason}]"
