"""Does every exception keep the peers' `except` clauses working, carry its fields and survive pickling?"""

from __future__ import annotations

import copy
import pickle

import pytest
from tokenloom import errors
from tokenloom.errors import TokenloomError

# The builtin that the peers raise in the same place.
BUILTIN: dict[str, type[Exception]] = {
    "ArrayError": TypeError,
    "CodecError": ValueError,
    "ConstraintError": RuntimeError,
    "DeviceError": RuntimeError,
    "DistributionError": ValueError,
    "DraftError": ValueError,
    "FormatError": ValueError,
    "InternalError": RuntimeError,
    "LimitError": RuntimeError,
    "MissingDependencyError": ImportError,
    "PatternError": ValueError,
    "SpecialTokenError": ValueError,
    "TrainError": ValueError,
    "TransferError": ValueError,
    "UnknownTokenError": KeyError,
    "UnsupportedFeatureError": ValueError,
    "VocabError": ValueError,
}

CLASSES = [getattr(errors, name) for name in errors.__all__]


def test_catalogue_is_complete() -> None:
    defined = {n for n, c in vars(errors).items() if isinstance(c, type) and issubclass(c, TokenloomError)}
    assert set(errors.__all__) == defined
    assert defined - {"TokenloomError"} >= set(BUILTIN), "a documented exception is gone"


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_error_is_one_of_the_tree_and_a_builtin(cls: type[TokenloomError]) -> None:
    assert issubclass(cls, TokenloomError)
    assert (cls.__doc__ or "").strip()
    if cls is not TokenloomError:
        expected = BUILTIN.get(cls.__name__, (ValueError, TypeError, RuntimeError, KeyError, ImportError))
        assert issubclass(cls, expected)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_error_fields_survive_pickle_and_copy(cls: type[TokenloomError]) -> None:
    fields = {name: index for index, name in enumerate(cls._fields)}
    error = cls("expected a, found b at 3", **fields)
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(twin) is cls
        assert str(twin) == "expected a, found b at 3"  # KeyError's own str() would quote it
        assert {name: getattr(twin, name) for name in cls._fields} == fields
    bare = cls("expected a, found b")
    assert all(getattr(bare, name) is None for name in cls._fields)
    with pytest.raises(TypeError, match="no field"):
        cls("x", no_such_field=1)
