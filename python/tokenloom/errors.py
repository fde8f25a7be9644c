"""What can go wrong, and how is it caught?

One tree under :class:`TokenloomError`. Every leaf also derives from the builtin that the peers raise in the same place,
so existing ``except ValueError`` and ``except KeyError`` clauses keep working. The compiled core imports these classes;
they carry the named attributes below where the place of the error is known, otherwise ``None``.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "ArrayError",
    "CodecError",
    "ConstraintError",
    "DeviceError",
    "DistributionError",
    "DraftError",
    "FormatError",
    "InternalError",
    "LimitError",
    "MissingDependencyError",
    "ParamsError",
    "PatternError",
    "SpecialTokenError",
    "TokenloomError",
    "TrainError",
    "TransferError",
    "UnknownTokenError",
    "UnsupportedFeatureError",
    "VocabError",
]


class TokenloomError(Exception):
    """Base of every exception that tokenloom raises on purpose.

    Keyword arguments become attributes; the ones a class documents default to ``None``.
    """

    _fields: tuple[str, ...] = ()

    def __init__(self, message: str = "", **fields: Any) -> None:
        unknown = set(fields) - set(self._fields)
        if unknown:
            raise TypeError(f"{type(self).__name__} has no field {sorted(unknown)}")
        super().__init__(message)
        self._set_fields = fields
        for name in self._fields:
            setattr(self, name, fields.get(name))

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), str(self), self._set_fields))


def _rebuild(cls: type[TokenloomError], message: str, fields: dict[str, Any]) -> TokenloomError:
    return cls(message, **fields)


class FormatError(TokenloomError, ValueError):
    """A file is not what it claims to be. Attributes: ``format``, ``path`` (inside the file), ``byte_offset``."""

    _fields = ("format", "path", "byte_offset")


class UnsupportedFeatureError(FormatError):
    """A valid file uses something that is not supported; it is named, never skipped."""


class VocabError(TokenloomError, ValueError):
    """A vocabulary is inconsistent: duplicates, gaps that matter, missing bytes."""


class UnknownTokenError(VocabError, KeyError):
    """An id or a byte string is no token. Attribute: ``token``."""

    _fields = ("token",)


class SpecialTokenError(TokenloomError, ValueError):
    """Text holds a special token that the call does not allow. Attributes: ``token``, ``position`` (in characters)."""

    _fields = ("token", "position")


class PatternError(TokenloomError, ValueError):
    """A split pattern cannot be compiled or run. Attribute: ``pattern``."""

    _fields = ("pattern",)


class TrainError(TokenloomError, ValueError):
    """Training cannot start or go on with these options or this corpus."""


class TransferError(TokenloomError, ValueError):
    """A vocabulary transfer has inconsistent inputs."""


class ArrayError(TokenloomError, TypeError, ValueError):
    """An array has the wrong dtype, shape, device or layout. Attributes: ``argument``, ``expected``, ``found``."""

    _fields = ("argument", "expected", "found")


class DistributionError(TokenloomError, ValueError):
    """A row is no distribution: NaN, negative, or without mass. Attribute: ``row``."""

    row: int | None
    _fields = ("row",)


class ParamsError(TokenloomError, ValueError):
    """A sampling rule is out of its range, or unknown; the message names the field."""


class DraftError(TokenloomError, ValueError):
    """A draft tree or a drafter's stream is used wrongly."""


class ConstraintError(TokenloomError, RuntimeError):
    """A constraint cannot be compiled or leaves no token. Attributes: ``prefix`` (bytes so far), ``step``."""

    _fields = ("prefix", "step")


class LimitError(TokenloomError, RuntimeError):
    """A stated limit was reached. Attributes: ``limit``, ``value``."""

    _fields = ("limit", "value")


class CodecError(TokenloomError, ValueError):
    """A coded stream is exhausted or was made with another model."""


class DeviceError(TokenloomError, RuntimeError):
    """There is no usable GPU, or a launch failed."""


class MissingDependencyError(TokenloomError, ImportError):
    """An optional package is needed; the message says what to install."""


class InternalError(TokenloomError, RuntimeError):
    """A bug in tokenloom; please report it."""
