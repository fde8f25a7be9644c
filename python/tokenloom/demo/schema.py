"""(c) Is an answer constrained by a JSON Schema valid under it?"""

from __future__ import annotations

import json
from typing import Any

import tokenloom as tl
from tokenloom.demo.setting import Setting
from tokenloom.errors import MissingDependencyError

__all__ = ["show"]

_TEXT = (
    "Ada Lovelace was born in London in 1815. She wrote the first published program for Charles Babbage's analytical "
    "engine. Give her name, the year in which she was born and two of her subjects as JSON."
)
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 24},
        "born": {"type": "integer", "minimum": 1800, "maximum": 1899},
        "subjects": {
            "type": "array",
            "items": {"enum": ["mathematics", "poetry", "computing", "music"]},
            "minItems": 2,
            "maxItems": 2,
        },
    },
    "required": ["name", "born", "subjects"],
    "additionalProperties": False,
}


def show(setting: Setting) -> bool:
    """Generate under the schema, then let the ``jsonschema`` package judge the answer."""
    try:
        import jsonschema
    except ImportError as error:
        raise MissingDependencyError(
            "judging the answer needs the package 'jsonschema'\nhint: pip install jsonschema"
        ) from error
    with setting.progress("JSON Schema", 96) as advance:
        (answer,) = tl.torch.generate(
            setting.model,
            setting.tokenizer,
            setting.ask(_TEXT),
            max_new_tokens=96,
            constraint=tl.control.json_schema(_SCHEMA, setting.tokenizer),
            drafter=tl.draft.Suffix(),
            params=tl.sample.Params(temperature=0.0),
            stream=advance,
        )
    setting.console.print(answer.text, markup=False)
    try:
        jsonschema.validate(json.loads(answer.text), _SCHEMA)
    except (json.JSONDecodeError, jsonschema.ValidationError) as error:
        setting.console.print(f"not valid: {error}", style="red", markup=False)
        return False
    setting.console.print(
        f"valid under the schema, says the jsonschema package; {answer.stats.n_tokens} tokens in "
        f"{answer.stats.model_calls} model calls"
    )
    return True
