"""What does a model that was tuned to chat want to read around a user's message?

The answer is the model's own Jinja template, from ``chat_template.jinja`` or ``tokenizer_config.json`` in its folder,
rendered in jinja2's sandbox: a template comes with the weights and is as little trusted as they are.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenloom.errors import FormatError

__all__ = ["chat_prompt"]


def chat_prompt(model: Any, message: str) -> str | None:
    """The text that asks ``model`` to answer ``message``, or None if its folder has no chat template.

    Args:
        model: a model loaded by :func:`tokenloom.torch.load`, or by transformers from a local folder.
        message: what the user says.

    Raises:
        FormatError: the template cannot be rendered.
    """
    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    source, names = _template(Path(model.config.name_or_path))
    if source is None:
        return None
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = _refuse
    try:
        return environment.from_string(source).render(
            messages=[{"role": "user", "content": message}], add_generation_prompt=True, **names
        )
    except TemplateError as error:
        raise FormatError(f"the model's chat template cannot be rendered: {error}", format="jinja") from error


def _template(folder: Path) -> tuple[str | None, dict[str, str]]:
    settings: dict[str, Any] = {}
    if (folder / "tokenizer_config.json").is_file():
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    names = {}
    for key in ("bos_token", "eos_token", "pad_token", "unk_token"):
        value = settings.get(key)
        names[key] = value.get("content", "") if isinstance(value, dict) else (value or "")
    if (folder / "chat_template.jinja").is_file():
        return (folder / "chat_template.jinja").read_text(encoding="utf-8"), names
    template = settings.get("chat_template")
    return (template if isinstance(template, str) else None), names


def _refuse(message: str) -> None:
    from jinja2 import TemplateError

    raise TemplateError(message)
