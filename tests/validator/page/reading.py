"""Reads the network page as a machine does: which numbers it shows, and where in the status they are from."""

from __future__ import annotations

from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

VOID = {"meta", "link", "br", "img", "input", "hr"}


@dataclass(frozen=True)
class Shown:
    """One element that shows a number or word: of which entry of which list ("" for the status), and how it is said."""

    rows: str
    key: str
    path: str
    kind: str
    value: str
    text: str
    title: str | None


SHOWN_SCRIPT = """[...document.querySelectorAll("[data-path]")].map((element) => {
  const row = element.closest("[data-list]");
  const { path, kind } = element.dataset;
  const value = element.getAttribute(kind === "bar" ? "width" : "value");
  const title = element.getAttribute("title");
  return [row?.dataset.list ?? "", row?.dataset.key ?? "", path, kind, value, element.textContent, title];
})"""
"""The same of a page in a browser; gives lists for :class:`Shown`."""


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.shown: list[tuple[int, Shown]] = []
        self.elements: list[tuple[str, dict[str, str | None], str]] = []
        self._begun = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in VOID:
            self.elements.append((tag, dict(attrs), ""))
        else:
            self.open.append((tag, {**dict(attrs), " ": str(self._begun)}, []))
            self._begun += 1

    def handle_data(self, data: str) -> None:
        for _, _, texts in self.open:
            texts.append(data)

    def handle_endtag(self, tag: str) -> None:
        name, attrs, texts = self.open.pop()
        assert name == tag, f"<{name}> is closed by </{tag}>"
        number = int(attrs.pop(" ") or 0)
        text = "".join(texts)
        self.elements.append((name, attrs, text))
        if "data-path" in attrs:
            row = next((each for _, each, _ in reversed(self.open) if "data-list" in each), {})
            value = attrs.get("width" if attrs["data-kind"] == "bar" else "value")
            self.shown.append(
                (
                    number,
                    Shown(
                        rows=row.get("data-list") or "",
                        key=row.get("data-key") or "",
                        path=attrs["data-path"] or "",
                        kind=attrs["data-kind"] or "",
                        value=value or "",
                        text=text,
                        title=attrs.get("title"),
                    ),
                )
            )


def elements_of(html: str) -> list[tuple[str, dict[str, str | None], str]]:
    """Return name, attributes and text of every element; the page must be well nested."""
    return _read(html).elements


def shown_in(html: str) -> list[Shown]:
    """Return what a page shows, in its order."""
    return [shown for _, shown in sorted(_read(html).shown, key=lambda pair: pair[0])]


def _read(html: str) -> _Reader:
    reader = _Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


def in_status(status: dict[str, Any], shown: Shown) -> Any:
    """Return what a status, as decoded JSON, says where a page's number is said to be from."""
    about: Any = status
    if shown.rows:
        for name in shown.rows.split("."):
            about = about[name]
        by = "spare" if shown.rows.endswith("by_spare") else "hotkey"
        (about,) = [each for each in about if str(each[by]) == shown.key]
    for name in shown.path.split("."):
        about = about[name]
    return about
