"""What is a token that is matched before the model?"""

from __future__ import annotations

from typing import Any

from tokenloom.compat.tokenizers._argument import flag, text, unknown


class AddedToken:
    """A string that is a token wherever it occurs.

    Args:
        content: The string.
        **options: ``single_word``: only where no word character touches it. ``lstrip``, ``rstrip``: the white space
            before or behind is part of it. ``normalized``: searched in the normalized text; by default, unless it is
            special. ``special``: left out by ``decode(skip_special_tokens=True)``.
    """

    def __init__(self, content: str | None = None, **options: Any) -> None:
        self.content = "" if content is None else content
        self.special = options.pop("special", False)
        self._normalized = flag(options.pop("normalized")) if "normalized" in options else None
        self._single_word = flag(options.pop("single_word", False))
        self._lstrip = flag(options.pop("lstrip", False))
        self._rstrip = flag(options.pop("rstrip", False))
        unknown(options)

    @property
    def content(self) -> str:
        """The string."""
        return self._content

    @content.setter
    def content(self, content: str) -> None:
        self._content = text(content)

    @property
    def special(self) -> bool:
        """Left out by ``decode(skip_special_tokens=True)``."""
        return self._special

    @special.setter
    def special(self, special: bool) -> None:
        self._special = flag(special)

    @property
    def single_word(self) -> bool:
        """Only where no word character touches it."""
        return self._single_word

    @property
    def lstrip(self) -> bool:
        """The white space before is part of it."""
        return self._lstrip

    @property
    def rstrip(self) -> bool:
        """The white space behind is part of it."""
        return self._rstrip

    @property
    def normalized(self) -> bool:
        """Searched in the normalized text."""
        return (not self.special) if self._normalized is None else self._normalized

    def __getstate__(self) -> dict[str, Any]:
        return {
            "content": self.content,
            "single_word": self.single_word,
            "lstrip": self.lstrip,
            "rstrip": self.rstrip,
            "normalized": self.normalized,
            "special": self.special,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        AddedToken.__init__(self, **state)

    def __str__(self) -> str:
        return self.content

    def __repr__(self) -> str:
        names = ("rstrip", "lstrip", "single_word", "normalized", "special")
        return f'AddedToken("{self.content}", {", ".join(f"{name}={getattr(self, name)}" for name in names)})'

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AddedToken) and self.__getstate__() == other.__getstate__()

    def __hash__(self) -> int:
        return hash(self.content)


Fields = tuple[str, bool, bool, bool, bool, bool]


def as_added(token: Any, special: bool) -> AddedToken:
    """A token of ours for a string, or for one of ``tokenizers``."""
    if isinstance(token, str):
        try:
            return AddedToken(token, special=special)
        except UnicodeEncodeError as error:
            raise TypeError(str(error)) from None
    if special and hasattr(token, "special"):
        # Adding a token as special makes it so, for whoever holds it.
        token.special = True
    if isinstance(token, AddedToken):
        return token
    if type(token).__name__ == "AddedToken" and type(token).__module__.split(".")[0] == "tokenizers":
        return AddedToken(**token.__getstate__())
    raise TypeError(f"expected a str or an AddedToken, found {type(token).__name__}")


def fields_of(token: AddedToken) -> Fields:
    """What the core takes."""
    return (token.content, token.single_word, token.lstrip, token.rstrip, token.normalized, token.special)


def of_fields(fields: Fields) -> AddedToken:
    """What the core gives."""
    content, single_word, lstrip, rstrip, normalized, special = fields
    return AddedToken(
        content, single_word=single_word, lstrip=lstrip, rstrip=rstrip, normalized=normalized, special=special
    )
