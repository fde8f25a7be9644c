"""How does a fast tokenizer of ``transformers`` run on another engine?

:func:`attach` replaces the backend object of any ``PreTrainedTokenizerFast`` (``TokenizersBackend``) of transformers 5;
the tokenizer stays the same object, and what it does with ids, special tokens, templates and files stays its own.
Verified with transformers 5.23 and tokenizers 0.23.3.

Example:
    >>> from tokenizers import Tokenizer, models, pre_tokenizers
    >>> from transformers import PreTrainedTokenizerFast
    >>> from tokenloom.compat.transformers import attach
    >>> backend = Tokenizer(models.WordLevel({"hello": 0, "world": 1, "?": 2}, unk_token="?"))
    >>> backend.pre_tokenizer = pre_tokenizers.Whitespace()
    >>> tok = attach(PreTrainedTokenizerFast(tokenizer_object=backend))
    >>> tok("hello world")["input_ids"]
    [0, 1]
"""

from __future__ import annotations

import json
import threading
from typing import Any, TypeVar

from tokenloom._core import pipeline as _core
from tokenloom.compat.tokenizers import AddedToken, Tokenizer, models
from tokenloom.errors import MissingDependencyError, UnsupportedFeatureError

__all__ = ["attach", "detach"]

T = TypeVar("T")


class Backend(Tokenizer):
    """A backend object as ``transformers`` uses it.

    A call of ``transformers`` first sets truncation and padding on the backend and then encodes. Settings therefore
    belong to the thread that makes them, so that calls of other threads with other settings do not change its result.
    A thread that made none finds the last ones made by any.
    """

    _local: threading.local
    _shared: _core.Settings

    def _start(self, assembly: _core.Assembly, settings: _core.Settings) -> None:
        self._local = threading.local()
        super()._start(assembly, settings)

    @property
    def _settings(self) -> _core.Settings:
        found: _core.Settings = getattr(self._local, "settings", self._shared)
        return found

    @_settings.setter
    def _settings(self, settings: _core.Settings) -> None:
        self._shared = settings
        self._local.settings = settings

    def get_added_tokens_decoder(self) -> dict[int, Any]:
        """Added tokens by id, as objects of ``tokenizers``, which ``transformers`` asks for by class."""
        added_token = _peer().AddedToken
        return {id: added_token(**token.__getstate__()) for id, token in super().get_added_tokens_decoder().items()}


def attach(tokenizer: T) -> T:
    """Run a fast tokenizer of ``transformers`` on this engine.

    Args:
        tokenizer: A ``PreTrainedTokenizerFast``. It is changed in place; attaching twice is attaching once.

    Returns:
        The same object.

    Raises:
        TypeError: It is no fast tokenizer.
        UnsupportedFeatureError: A part of it is not supported, or it is not what its own file says. The tokenizer is as
            it was.
        MissingDependencyError: ``tokenizers`` is not installed.
    """
    found: Any = tokenizer
    backend = getattr(found, "_tokenizer", None)
    if isinstance(backend, Backend):
        return tokenizer
    if not isinstance(backend, _peer().Tokenizer):
        raise TypeError(f"expected a fast tokenizer of transformers, found {type(tokenizer).__name__}")
    replaced = set(vars(backend)) - ({"decode"} if hasattr(found, "_wrap_decode_method_backend_tokenizer") else set())
    if replaced:
        raise UnsupportedFeatureError(f"the backend has attributes of its own: {', '.join(sorted(replaced))}")
    for name in ("alpha", "nbest_size"):
        if getattr(backend.model, name, None) is not None:
            raise UnsupportedFeatureError(f"sampling from a Unigram model ({name}) is not supported")
    try:
        state = backend.to_str()
    except Exception as error:
        raise UnsupportedFeatureError(f"the tokenizer cannot be written as JSON: {error}") from None
    ours: Backend = Backend._load(state.encode())
    ours.encode_special_tokens = backend.encode_special_tokens
    if type(backend.model).__name__ == "Unigram":
        # A score that went through a file may have been rounded; the peer's object has it as it is.
        ours.model = models.wrap(models.with_exact_scores(ours._assembly.model, json.loads(state)["model"]))
    _take_over_added(ours, backend)
    ours._assembly.check()
    _put(found, ours)
    return tokenizer


def _take_over_added(ours: Backend, backend: Any) -> None:
    """What a backend knows of its added tokens beside what it writes.

    Raises:
        UnsupportedFeatureError: Its ids are not those that it would have after it was written and read.
    """
    tokens = backend.get_added_tokens_decoder()
    for id, token in tokens.items():
        if (found := ours.token_to_id(token.content)) != id:
            raise UnsupportedFeatureError(
                f"the tokenizer gives {token.content!r} the id {id}, its own file the id {found}: write it and read it"
                " again"
            )
    if backend.get_vocab_size() != ours.get_vocab_size():
        raise UnsupportedFeatureError(
            "the tokenizer holds an added token that its own file does not, as another token has the same id: write it"
            " and read it again"
        )
    decode = type(backend).decode
    for id, token in tokens.items():
        # What was special once is left out of texts for ever, and can be split.
        if not token.special and decode(backend, [id]) != decode(backend, [id], skip_special_tokens=False):
            fields = token.__getstate__()
            ours.add_special_tokens([AddedToken(**fields)])
            ours.add_tokens([AddedToken(**fields)])


def detach(tokenizer: T) -> T:
    """Give a tokenizer a backend of ``tokenizers`` again; tokens added meanwhile stay.

    Args:
        tokenizer: What :func:`attach` was given. One that is not attached stays as it is.

    Returns:
        The same object.
    """
    found: Any = tokenizer
    ours = getattr(found, "_tokenizer", None)
    if isinstance(ours, Backend):
        backend = _peer().Tokenizer.from_str(ours.to_str())
        backend.encode_special_tokens = ours.encode_special_tokens
        _put(found, backend)
    return tokenizer


def _put(tokenizer: Any, backend: Any) -> None:
    """Replace the backend. CLIP's tokenizer puts a function of its own over the backend's ``decode``: again then."""
    is_wrapped = "decode" in vars(tokenizer._tokenizer)
    tokenizer._tokenizer = backend
    if is_wrapped:
        tokenizer._wrap_decode_method_backend_tokenizer()


def _peer() -> Any:
    try:
        import tokenizers
    except ImportError:
        raise MissingDependencyError("install transformers and tokenizers to attach a tokenizer") from None
    return tokenizers
