"""Which post-processors are there? The classes of ``tokenizers.processors``, with its arguments and attributes."""

from __future__ import annotations

from collections.abc import Sequence as _Sequence
from typing import Any

from tokenloom._core import pipeline as _core
from tokenloom._core.pipeline import Encoding
from tokenloom.compat.tokenizers._argument import flag, text, token_id
from tokenloom.compat.tokenizers._component import Field, Part, PartList

__all__ = [
    "BertProcessing",
    "ByteLevel",
    "PostProcessor",
    "RobertaProcessing",
    "Sequence",
    "TemplateProcessing",
]


class PostProcessor(Part):
    """Finishes an encoding."""

    _role = "post_processor"

    def num_special_tokens_to_add(self, is_pair: bool) -> int:
        """How many special tokens are put around a sequence or a pair."""
        return _core.n_added_tokens(self.__getstate__(), is_pair)

    def process(self, encoding: Encoding, pair: Encoding | None = None, add_special_tokens: bool = True) -> Encoding:
        """The finished encoding of a sequence or a pair."""
        return _core.process(self.__getstate__(), encoding, pair, add_special_tokens)


def _named(token: Any) -> tuple[str, int]:
    if not isinstance(token, tuple | list) or len(token) != 2:
        raise TypeError(f"expected a token and its id, found {token!r}")
    return (text(token[0]), token_id(token[1]))


class BertProcessing(PostProcessor):
    """BERT's template."""

    _json_type = "BertProcessing"
    sep = Field(_named)
    cls = Field(_named)

    def __init__(self, sep: tuple[str, int], cls_token: tuple[str, int]) -> None:
        self._set(sep=_named(sep), cls=_named(cls_token))


class RobertaProcessing(PostProcessor):
    """RoBERTa's template, and trimmed offsets."""

    _json_type = "RobertaProcessing"
    sep = Field(_named)
    cls = Field(_named)
    trim_offsets = Field(flag)
    add_prefix_space = Field(flag)

    def __init__(
        self,
        sep: tuple[str, int],
        cls_token: tuple[str, int],
        trim_offsets: bool = True,
        add_prefix_space: bool = True,
    ) -> None:
        self._set(sep=_named(sep), cls=_named(cls_token), trim_offsets=trim_offsets, add_prefix_space=add_prefix_space)


class ByteLevel(PostProcessor):
    """Trimmed offsets."""

    _json_type = "ByteLevel"
    add_prefix_space = Field(flag)
    trim_offsets = Field(flag)
    use_regex = Field(flag)

    def __init__(
        self,
        add_prefix_space: bool | None = None,
        trim_offsets: bool | None = None,
        use_regex: bool | None = None,
        **_options: Any,
    ) -> None:
        self._set(
            add_prefix_space=add_prefix_space is not False,
            trim_offsets=trim_offsets is not False,
            use_regex=use_regex is not False,
        )


def _piece(text: str) -> dict[str, Any]:
    name, colon, suffix = text.partition(":")
    if colon and not (suffix.isascii() and suffix.isdigit()):
        raise ValueError(f"expected a type id behind the colon, found {text!r}")
    type_id = int(suffix) if colon else 0
    if not name.startswith("$"):
        return {"SpecialToken": {"id": name, "type_id": type_id}}
    match name[1:]:
        case "" | "A" | "a":
            sequence = "A"
        case "B" | "b":
            sequence = "B"
        case number if number.isascii() and number.isdigit():
            sequence, type_id = "A", type_id if colon else int(number)
        case _:
            raise ValueError(f"expected $A, $B or $ and a type id, found {text!r}")
    return {"Sequence": {"id": sequence, "type_id": type_id}}


def _template(template: Any) -> list[dict[str, Any]]:
    if isinstance(template, str):
        return [_piece(piece) for piece in template.split(" ")]
    if isinstance(template, list | tuple) and all(isinstance(piece, str) for piece in template):
        return [_piece(piece) for piece in template]
    raise TypeError(f"expected a template as str or a list of str, found {template!r}")


def _special(token: Any) -> dict[str, Any]:
    match token:
        case (str(text), int(id)) | (int(id), str(text)) if id >= 0:
            return {"id": text, "ids": [id], "tokens": [text]}
        case {"id": str(name), "ids": ids, "tokens": tokens}:
            if len(ids) != len(tokens):
                raise ValueError(f"expected as many ids as tokens for {name!r}, found {len(ids)} and {len(tokens)}")
            return {"id": name, "ids": list(ids), "tokens": list(tokens)}
        case dict():
            raise ValueError(f"expected id, ids and tokens, found {sorted(token)}")
    raise TypeError(f"expected a token and its id, or a dict, found {token!r}")


class _Single(Field[Any]):
    """The template of single sequences; it is read as ``tokenizers`` shows it."""

    def __init__(self) -> None:
        super().__init__(_template, "single")

    def __get__(self, part: Part | None, owner: type) -> Any:
        if part is None:
            return self
        shown = []
        for piece in part._fields["single"]:
            ((kind, fields),) = piece.items()
            name = fields["id"] if kind == "Sequence" else '"' + fields["id"] + '"'
            shown.append(f"{kind} {{ id: {name}, type_id: {fields['type_id']} }}")
        return f"Template([{', '.join(shown)}])"


class TemplateProcessing(PostProcessor):
    """Any template: ``"[CLS] $A [SEP] $B:1 [SEP]:1"``, where ``:1`` is a type id.

    Raises:
        ValueError: The template for pairs lacks a sequence, or a special token is not defined.
    """

    _json_type = "TemplateProcessing"
    single = _Single()

    def __init__(self, single: Any = None, pair: Any = None, special_tokens: _Sequence[Any] | None = None) -> None:
        one = _template("$0" if single is None else single)
        two = _template("$A:0 $B:1" if pair is None else pair)
        tokens = {token["id"]: token for token in map(_special, special_tokens or ())}
        sequences = {piece["Sequence"]["id"] for piece in two if "Sequence" in piece}
        if sequences != {"A", "B"}:
            raise ValueError("expected the template for pairs to name both sequences")
        names = [piece["SpecialToken"]["id"] for piece in one + two if "SpecialToken" in piece]
        missing = sorted({name for name in names if name not in tokens})
        if missing:
            raise ValueError(f"special tokens {', '.join(missing)} of the template are not defined")
        self._set(single=one, pair=two, special_tokens=tokens)


class Sequence(PartList, PostProcessor):
    """One post-processor after another."""

    _json_type = "Sequence"
    _list_name = "processors"
    _role_class = PostProcessor

    def __init__(self, processors: list[Any]) -> None:
        self._hold(processors)
