"""Words, names and figures of the commands."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hippy.cli import printing
from hippy.client.results import Failure
from hippy.errors import HippyError, NotFoundError, TemporaryError, UnreachableError


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (101_818_368, "97.1 MiB"), (5 * 1024**5, "5.0 PiB")],
)
def test_sizes_are_printed_for_people(count: int, text: str) -> None:
    assert printing.human_bytes(count) == text


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ([], 0),
        ([NotFoundError("gone")], 1),
        ([TemporaryError("too few miners")], 5),
        ([TemporaryError("too few miners"), UnreachableError("away")], 5),
        ([TemporaryError("too few miners"), NotFoundError("gone")], 1),
    ],
)
def test_failures_say_whether_trying_again_helps(errors: list[HippyError], code: int) -> None:
    assert printing.failures_exit_code(tuple(Failure("path", error) for error in errors)) == code


@pytest.mark.parametrize(("count", "text"), [(0, "0 files"), (1, "1 file"), (2450, "2,450 files")])
def test_counts_agree_with_their_noun(count: int, text: str) -> None:
    assert printing.counted(count, "file") == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("plain name.txt", "plain name.txt"),
        ("ünï/日本語 👩‍💻", "ünï/日本語 👩‍💻"),
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\r\n\tb\x7f", "a\\x0d\\x0a\\x09b\\x7f"),
        ("\udcff\udc80", "\\xff\\x80"),
        ("\x9b31m", "\\xc2\\x9b31m"),
        ("gpj.\u202eexe", "gpj.\\xe2\\x80\\xaeexe"),
    ],
)
def test_names_are_shown_without_what_steers_a_terminal(name: str, text: str) -> None:
    assert printing.shown(name) == text


@given(st.text(st.characters(codec=None)))
def test_whatever_is_shown_can_be_printed(name: str) -> None:
    shown = printing.shown(name)
    shown.encode()
    assert not any(unicodedata.category(character) == "Cc" for character in shown)


def test_json_has_names_exactly(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["ünï", "\x1b[31m", "\udcff"]
    printing.print_json({"names": names})
    assert json.loads(capsys.readouterr().out) == {"names": names}


def test_one_reason_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    failures = [Failure(f"file{number}", TemporaryError("too few miners", hint="wait")) for number in range(40)]
    printing.report_failures((*failures, Failure("pipe", NotFoundError("gone"))), as_json=False)
    assert capsys.readouterr().err.splitlines() == [
        "error: 40 times: too few miners",
        *(f"  file{number}" for number in range(5)),
        "  and 35 more",
        "hint: wait",
        "error: pipe: gone",
        "hint: hippy ls shows what there is",
    ]


def test_failures_in_json_are_whole(capsys: pytest.CaptureFixture[str]) -> None:
    told = printing.report_failures((Failure("x", TemporaryError("too few", hint="wait")),), as_json=True)
    assert told == [{"path": "x", "code": "temporary", "message": "too few", "hint": "wait"}]
    assert capsys.readouterr().err == ""
