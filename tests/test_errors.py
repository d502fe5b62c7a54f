"""The tree of errors: codes are unique, survive the wire, and keep the builtin class people catch."""

from __future__ import annotations

import pickle

import pytest

from hippy import errors
from hippy.errors import HTTP_STATUS, HippyError, NotFoundError, from_wire

CLASSES = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, HippyError)]


def test_every_code_is_used_once_and_has_a_status() -> None:
    codes = [kind.code for kind in CLASSES]
    assert len(set(codes)) == len(codes)
    assert set(codes) == set(HTTP_STATUS)


def test_every_class_is_drawn_in_the_tree_with_its_code_and_exit() -> None:
    lines = [line.replace("│", " ").split() for line in (errors.__doc__ or "").splitlines() if "──" in line]
    told = {words[1]: (words[2], words[3]) for words in lines}
    assert told == {kind.__name__: (kind.code, str(kind.exit_code)) for kind in CLASSES if kind is not HippyError}


@pytest.mark.parametrize("kind", CLASSES)
def test_error_comes_back_as_the_class_its_code_names(kind: type[HippyError]) -> None:
    error = from_wire(kind.code, "piece ab is gone", "read another")
    assert type(error) is kind
    assert (str(error), error.message, error.hint) == ("piece ab is gone", "piece ab is gone", "read another")


@pytest.mark.parametrize("code", ["", "HippyError", "teapot", "internal "])
def test_unknown_code_is_a_plain_error(code: str) -> None:
    assert type(from_wire(code, "m")) is HippyError


@pytest.mark.parametrize("kind", CLASSES)
def test_error_survives_pickling(kind: type[HippyError]) -> None:
    error = pickle.loads(pickle.dumps(kind("what failed", hint="what next")))
    assert (type(error), str(error), error.hint) == (kind, "what failed", "what next")


@pytest.mark.parametrize("kind", CLASSES)
def test_exactly_the_worlds_faults_are_worth_a_retry(kind: type[HippyError]) -> None:
    assert kind.retryable == issubclass(kind, errors.TemporaryError)
    assert (kind.exit_code == 5) == kind.retryable


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (NotFoundError, FileNotFoundError),
        (errors.AuthError, PermissionError),
        (errors.DeadlineError, TimeoutError),
        (errors.UnreachableError, ConnectionError),
    ],
)
def test_builtin_handlers_catch_it_too(kind: type[HippyError], builtin: type[Exception]) -> None:
    with pytest.raises(builtin, match="hippy://b/x"):
        raise kind("no object hippy://b/x")
