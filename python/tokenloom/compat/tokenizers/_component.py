"""What do all parts of a tokenizer have in common?

A part is its ``type`` and fields, in the terms of ``tokenizer.json``. Whoever holds a part (a sequence, a tokenizer) is
told when a field changes, so that changing ``tokenizer.pre_tokenizer.add_prefix_space`` changes the tokenizer, as it
does in ``tokenizers``.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable
from typing import Any, ClassVar, Generic, Protocol, TypeVar, overload

from tokenloom._core import pipeline as _core
from tokenloom.compat.tokenizers import _argument
from tokenloom.errors import UnsupportedFeatureError

T = TypeVar("T")
P = TypeVar("P", bound="Part")


class Holder(Protocol):
    """Something that holds parts and is told when one of them changes."""

    def _part_changed(self, part: Part) -> None: ...


class Field(Generic[T]):
    """An attribute that is a field of the JSON. ``kind`` says what may be stored; ``shown`` what reading gives."""

    def __init__(self, kind: Callable[[Any], T], json_name: str | None = None) -> None:
        self.kind = kind
        self.json_name = json_name

    def __set_name__(self, owner: type, name: str) -> None:
        self.json_name = self.json_name or name

    @overload
    def __get__(self, part: None, owner: type) -> Field[T]: ...
    @overload
    def __get__(self, part: Part, owner: type) -> T: ...
    def __get__(self, part: Part | None, owner: type) -> Field[T] | T:
        if part is None:
            return self
        return self.kind(part._fields[self.json_name or ""])

    def __set__(self, part: Part, value: Any) -> None:
        part._change(**{self.json_name or "": self.kind(value)})


_CHECKS = (_argument.flag, _argument.text, _argument.count)


class Part:
    """A part of a tokenizer."""

    _role: ClassVar[str]
    """Its key in the file."""
    _json_type: ClassVar[str] = ""
    _types: ClassVar[dict[str, type[Part]]]
    _checks: ClassVar[dict[str, Callable[[Any], Any]]] = {}
    """By field, what its argument must be."""
    _fields: dict[str, Any]
    _holders: weakref.WeakSet[Any]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "_role" in cls.__dict__:
            cls._types = {}
        elif cls._json_type:
            cls._types[cls._json_type] = cls
            fields = [field for field in vars(cls).values() if isinstance(field, Field)]
            cls._checks = {field.json_name or "": field.kind for field in fields if field.kind in _CHECKS}

    @property
    def _is_written(self) -> bool:
        """Whether Python code is part of it."""
        return False

    def _set(self, **fields: Any) -> None:
        self._fields = {
            name: self._checks[name](value) if name in self._checks else value for name, value in fields.items()
        }
        self._holders = weakref.WeakSet()
        _core.check_part(self._role, self.__getstate__())

    def _change(self, **fields: Any) -> None:
        before = self._fields
        self._fields = {**before, **fields}
        try:
            _core.check_part(self._role, self.__getstate__())
        except Exception:
            self._fields = before
            raise
        self._tell()

    def _tell(self) -> None:
        for holder in list(self._holders):
            holder._part_changed(self)

    def _part_changed(self, part: Part) -> None:
        self._tell()

    def _json(self) -> dict[str, Any]:
        return {"type": self._json_type, **self._fields}

    def __getstate__(self) -> bytes:
        """The part as JSON."""
        return json.dumps(self._json(), ensure_ascii=False, separators=(",", ":")).encode()

    def __setstate__(self, state: bytes) -> None:
        found = json.loads(state)
        found.pop("type", None)
        self._read(found)

    def _read(self, fields: dict[str, Any]) -> None:
        self._set(**fields)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_restore, (type(self), self.__getstate__()))

    def __repr__(self) -> str:
        return _shown(self._json())

    __str__ = __repr__


def _restore(cls: type[P], state: bytes) -> P:
    part = cls.__new__(cls)
    part.__setstate__(state)
    return part


def from_json(role: type[P], state: str | bytes) -> P | None:
    """The part of this role that a JSON describes; none for ``null``."""
    found = json.loads(state)
    return None if found is None else from_fields(role, found)


def from_fields(role: type[P], found: dict[str, Any]) -> P:
    """The part of this role with this type and these fields."""
    name = found.get("type", "")
    cls = role._types.get(name)
    if cls is None:
        raise UnsupportedFeatureError(f"{name!r} is no {role._role} that is supported", format="tokenizer.json")
    part = cls.__new__(cls)
    part._read({key: value for key, value in found.items() if key != "type"})
    assert isinstance(part, role)
    return part


def as_part(role: type[P], found: Any) -> P:
    """A part of ours, or ours for one of ``tokenizers``.

    Raises:
        TypeError: It is neither.
        UnsupportedFeatureError: It runs Python code of its own, which the compiled machines cannot.
    """
    if isinstance(found, role):
        return found
    module = type(found).__module__
    if module.split(".")[0] != "tokenizers" or not hasattr(found, "__getstate__"):
        raise TypeError(f"expected a {role.__name__}, found {type(found).__name__}")
    try:
        state = found.__getstate__()
    except Exception as error:
        raise UnsupportedFeatureError(f"{type(found).__name__} cannot be written as JSON: {error}") from None
    if not isinstance(state, bytes):
        raise TypeError(f"expected a {role.__name__}, found {type(found).__name__}")
    part = from_json(role, state)
    if part is None:
        raise TypeError(f"expected a {role.__name__}, found {type(found).__name__}")
    return part


def _shown(value: Any) -> str:
    match value:
        case {"type": name, **fields}:
            return f"{name}({', '.join(f'{key}={_shown(item)}' for key, item in fields.items())})"
        case dict() if len(value) == 1 and next(iter(value)) in ("String", "Regex"):
            return f"{next(iter(value))}({_shown(next(iter(value.values())))})"
        case dict():
            return "{" + ", ".join(f"{_shown(key)}:{_shown(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_shown, value)) + "]"
        case str():
            return json.dumps(value, ensure_ascii=False)
        case _:
            return str(value)


class Written(Part):
    """A part whose work an object of the user does. There is no JSON of it."""

    def _wrap(self, written: Any) -> Any:
        self._written = written
        self._fields = {}
        self._holders = weakref.WeakSet()
        return self

    @property
    def _is_written(self) -> bool:
        return True

    def _json(self) -> dict[str, Any]:
        raise UnsupportedFeatureError(f"a custom {self._role} cannot be written as JSON")

    def __repr__(self) -> str:
        return f"{type(self).__bases__[-1].__name__}.custom({self._written!r})"


class Regex:
    """A regular expression in the syntax of Oniguruma (Ruby), which ``tokenizer.json`` uses.

    Raises:
        PatternError: It does not compile.
    """

    def __init__(self, s: str) -> None:
        _core.check_part("normalizer", json.dumps({"type": "Replace", "pattern": {"Regex": s}, "content": ""}).encode())
        self.pattern = s


def pattern_of(pattern: Any) -> dict[str, str]:
    """The JSON of a pattern: a string as it is, or a regular expression."""
    match pattern:
        case str():
            return {"String": pattern}
        case Regex():
            return {"Regex": pattern.pattern}
        case {"String": str()} | {"Regex": str()}:
            return dict(pattern)
    raise TypeError(f"expected a str or a Regex, found {type(pattern).__name__}")


_BEHAVIORS = {
    "removed": "Removed",
    "isolated": "Isolated",
    "merged_with_previous": "MergedWithPrevious",
    "merged_with_next": "MergedWithNext",
    "contiguous": "Contiguous",
}


def behavior_of(name: Any) -> str:
    """The JSON of what a split does with its delimiter."""
    key = _argument.text(getattr(name, "value", name))
    found = _BEHAVIORS.get(key) or next((known for known in _BEHAVIORS.values() if known == key), None)
    if found is None:
        raise ValueError(f"expected behavior to be one of {', '.join(_BEHAVIORS)}, found {key!r}")
    return found


def one_char(text: Any) -> str:
    """A string of one character."""
    if len(_argument.text(text)) != 1:
        raise ValueError(f"expected a string of length 1, found {text!r}")
    return str(text)


class PartList(Part):
    """Parts one after another."""

    _list_name: ClassVar[str]
    _role_class: ClassVar[type[Part]]
    _items: list[Part]

    def _hold(self, items: list[Any]) -> None:
        flat: list[Part] = []
        for item in items:
            part = as_part(self._role_class, item)
            flat.extend(part._items if isinstance(part, PartList) else [part])
        self._items = flat
        self._fields = {}
        self._holders = weakref.WeakSet()
        for part in flat:
            part._holders.add(self)

    def _read(self, fields: dict[str, Any]) -> None:
        self._hold([from_fields(self._role_class, item) for item in fields[self._list_name]])

    @property
    def _is_written(self) -> bool:
        return any(part._is_written for part in self._items)

    def _json(self) -> dict[str, Any]:
        return {"type": self._json_type, self._list_name: [part._json() for part in self._items]}

    def __getitem__(self, index: int) -> Part:
        if not 0 <= index < len(self._items):
            raise IndexError(f"index {index} is not below the {len(self._items)} parts")
        return self._items[index]

    def __setitem__(self, index: int, value: Any) -> None:
        part = as_part(self._role_class, value)
        if isinstance(part, PartList):
            raise TypeError("expected a single part, found a Sequence")
        self[index]._holders.discard(self)
        self._items[index] = part
        part._holders.add(self)
        self._tell()

    def __len__(self) -> int:
        return len(self._items)

    def __getnewargs__(self) -> tuple[list[Any]]:
        return ([],)
