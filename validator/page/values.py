"""A value of the status on the page: exact for machines, in words for people. Pure.

``<data value="1536" data-path="totals.held_bytes" data-kind="size" title="1,536 bytes">1.5 KiB</data>``: the path leads
through the status, or through the entry of it that the row is about (``data-list``, ``data-key``). page.js knows the
same kinds.

>>> value("totals.miners", Kind.COUNT, 1_200)
'<data value="1200" data-path="totals.miners" data-kind="count">1,200</data>'
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from typing import assert_never

from hippy.validator.page import units
from hippy.validator.page.markup import Markup, element


class Kind(Enum):
    """How a number is said."""

    COUNT = "count"
    SIZE = "size"
    PERCENT = "percent"
    """Of millionths."""

    SPAN = "span"
    """Of seconds."""

    DATE = "date"
    """Of Unix seconds."""


def value(path: str, kind: Kind, number: int) -> Markup:
    """Return a number."""
    words, title = _said(kind, number)
    return element("data", words, value=number, data_path=path, data_kind=kind.value, title=title)


def since(path: str, time: int, *, now: int) -> Markup:
    """Return a moment in Unix seconds as how long it is ago, 0 as never."""
    title = units.date(time) if time else None
    return element("data", units.ago(time, now=now), value=time, data_path=path, data_kind="ago", title=title)


def word(path: str, key: str, words: Mapping[str, str]) -> Markup:
    """Return one of a few words; ``words`` are what the status's mean to people.

    The script finds them in the ``data-words`` (:func:`spelt`) of an element around it.
    """
    return element("data", words[key], value=key, data_path=path, data_kind="word", class_=key)


def spelt(words: Mapping[str, str]) -> str:
    """Return words for the script."""
    return json.dumps(dict(words))


def meter(path: str, ppm: int, label: str) -> Markup:
    """Return a bar of millionths: green near all, red below a half."""
    said = units.percent(ppm)
    return element(
        "meter",
        said,
        value=ppm,
        min=0,
        max=1_000_000,
        low=500_000,
        high=980_000,
        optimum=1_000_000,
        data_path=path,
        data_kind="meter",
        aria_label=label,
        title=said,
    )


def _said(kind: Kind, number: int) -> tuple[str, str | None]:
    match kind:
        case Kind.COUNT:
            return units.count(number), None
        case Kind.SIZE:
            return units.size(number), f"{units.count(number)} bytes"
        case Kind.PERCENT:
            return units.percent(number), f"{units.count(number)} millionths"
        case Kind.SPAN:
            return units.duration(number), f"{units.count(number)} s"
        case Kind.DATE:
            return units.date(number), None
        case _:
            assert_never(kind)
