from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hippy.client.uri import Uri, clean_component, is_uri, parse_uri
from hippy.errors import UsageError

components = st.text(min_size=1, max_size=50).filter(
    lambda text: (
        "/" not in text
        and "\0" not in text
        and text not in {".", ".."}
        and unicodedata.is_normalized("NFC", text)
        and not any(0xD800 <= ord(c) <= 0xDFFF for c in text)
        and len(text.encode()) <= 239
    )
)


@given(components, st.lists(components, max_size=5), st.booleans())
def test_printed_uri_parses_to_itself(bucket: str, path: list[str], slash: bool) -> None:
    uri = Uri(bucket, tuple(path), slash or not path)
    assert parse_uri(str(uri)) == uri


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hippy://b", Uri("b", (), slash=True)),
        ("hippy://b/", Uri("b", (), slash=True)),
        ("hippy://b/p", Uri("b", ("p",))),
        ("hippy://b/p/", Uri("b", ("p",), slash=True)),
        ("hippy://b/a b/%20?x#y", Uri("b", ("a b", "%20?x#y"))),
    ],
)
def test_names_are_taken_literally(text: str, expected: Uri) -> None:
    assert parse_uri(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "b/p",
        "http://b/p",
        "hippy:/b",
        "hippy://",
        "hippy:///p",
        "hippy://b//p",
        "hippy://b/../p",
        "hippy://b/.",
        "hippy://../p",
        "hippy://b/a\0",
        "hippy://b/" + "x" * 240,
        "hippy://b" + "/x" * 65,
        "hippy://b/\udc80",
    ],
)
def test_bad_uri_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_uri(text)


def test_decomposed_and_composed_spelling_are_one_name() -> None:
    decomposed = unicodedata.normalize("NFD", "café")
    assert decomposed != "café"
    assert clean_component(decomposed) == "café"


def test_longest_component_has_239_bytes() -> None:
    assert clean_component("é" * 119 + "x") == "é" * 119 + "x"
    with pytest.raises(UsageError, match="240 bytes"):
        clean_component("é" * 120)


def test_local_path_is_no_uri() -> None:
    assert not is_uri("./hippy://b")
    assert is_uri("hippy://b")


def test_path_below_keeps_bucket_and_loses_the_slash() -> None:
    assert parse_uri("hippy://b/p/").below("x", "y") == Uri("b", ("p", "x", "y"))
