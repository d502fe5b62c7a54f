"""HTML that cannot be broken by what is put into it: elements are made by a function, and text is escaped there. Pure.

>>> element("td", "a < b", class_="key", data_path="x")
'<td class="key" data-path="x">a &lt; b</td>'
"""

from __future__ import annotations

import re
from functools import cache
from html import escape
from typing import Final

_SPECIAL: Final = re.compile("[&<>\"']")
"""What has to be escaped; most texts have none of it, and looking is faster than replacing."""


class Markup(str):
    """Text that is HTML already; only this module makes it."""

    __slots__ = ()


Attribute = str | int | bool | None


def element(name: str, *children: str, **attributes: Attribute) -> Markup:
    """Return an element. Children that are no Markup are text; attributes that are None or False are left out.

    A name's underscores are hyphens in HTML, one at its end is dropped: ``class_``, ``aria_label``. Names are our own
    and few.
    """
    spelt = [f"<{name}"]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        spelt.append(_name(key) if value is True else f'{_name(key)}="{_escaped(str(value))}"')
    spelt.append(">")
    spelt += [child if isinstance(child, Markup) else _escaped(child) for child in children]
    spelt.append(f"</{name}>")
    return Markup("".join(spelt))


def joined(*children: str) -> Markup:
    """Return children one after the other, text among them escaped."""
    return Markup("".join([child if isinstance(child, Markup) else _escaped(child) for child in children]))


def _escaped(text: str) -> str:
    return escape(text) if _SPECIAL.search(text) else text


@cache
def _name(key: str) -> str:
    return " " + key.rstrip("_").replace("_", "-")
