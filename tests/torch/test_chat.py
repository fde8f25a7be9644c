"""A chat template is rendered as transformers renders it, and may not reach out of its sandbox."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tokenloom.errors import FormatError
from tokenloom.torch import chat_prompt

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}\n"
    "    {%- if message['role'] == 'user' %}<user>{{ message['content'] | trim }}{% endif %}\n"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


def model_in(folder: Path) -> Any:
    return SimpleNamespace(config=SimpleNamespace(name_or_path=str(folder)))


def test_template_from_either_file(tmp_path: Path) -> None:
    assert chat_prompt(model_in(tmp_path), "hi") is None
    settings = {"chat_template": TEMPLATE, "bos_token": {"content": "<s>"}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    assert chat_prompt(model_in(tmp_path), " hi ") == "<s><user>hi<assistant>"
    (tmp_path / "chat_template.jinja").write_text("Q: {{ messages[0].content }}\nA:")
    assert chat_prompt(model_in(tmp_path), "hi") == "Q: hi\nA:"


@pytest.mark.parametrize(
    "template",
    ["{% for %}", "{{ raise_exception('no system prompt') }}", "{{ ''.__class__.__mro__[1].__subclasses__() }}"],
)
def test_a_bad_template_is_a_format_error(tmp_path: Path, template: str) -> None:
    (tmp_path / "chat_template.jinja").write_text(template)
    with pytest.raises(FormatError, match="chat template"):
        chat_prompt(model_in(tmp_path), "hi")
