"""Whatever is put into an element, the element stays what it is."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from hippy.validator.page.markup import element, joined
from tests.validator.page.reading import elements_of

HOSTILE = "</td><script>alert(1)</script>\"'&amp;<!--"


def test_text_and_attributes_are_escaped() -> None:
    made = element("td", HOSTILE, title=HOSTILE)
    assert "<script" not in made
    assert elements_of(made) == [("td", {"title": HOSTILE}, HOSTILE)]


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_any_text_is_read_back_as_it_was(text: str) -> None:
    assert elements_of(element("p", text, title=text)) == [("p", {"title": text}, text)]


def test_what_is_made_here_is_not_escaped_again() -> None:
    assert joined(element("b", "<"), "<") == "<b>&lt;</b>&lt;"
    assert element("p", element("b", "x")) == "<p><b>x</b></p>"


def test_attributes_that_are_none_or_false_are_left_out() -> None:
    assert element("td", class_=None, hidden=False, data_key="") == '<td data-key=""></td>'
    assert element("td", hidden=True, data_path=0) == '<td hidden data-path="0"></td>'
