"""``hippy://bucket/path``: how people name what is in the network.

Owns the spelling and the rules of a component (docs/PROTOCOL.md §3.4, Names). Names are taken literally: no
percent-encoding, no globbing, no ``..``. They are brought to NFC, so that the same word typed on two systems
is the same name. A trailing slash is kept as a flag: what it means is the command's business.

>>> parse_uri("hippy://data/a b/c.txt").components
('a b', 'c.txt')
>>> str(parse_uri("hippy://data/a/"))
'hippy://data/a/'
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hippy.errors import UsageError

SCHEME: Final = "hippy://"
COMPONENT_BYTES_MAX: Final = 239
"""So that a padded and encrypted component has at most 256 bytes (PROTOCOL §3.4)."""

COMPONENTS_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Uri:
    """A bucket and a path in it. ``slash``: it was written with a trailing slash, or names a whole bucket."""

    bucket: str
    components: tuple[str, ...] = ()
    slash: bool = False

    def __str__(self) -> str:
        path = "/".join(self.components)
        return f"{SCHEME}{self.bucket}/{path}" + ("/" if self.slash and path else "")

    @property
    def name(self) -> str:
        """The last component; the bucket where there is none."""
        return self.components[-1] if self.components else self.bucket

    def below(self, *components: str) -> Uri:
        """Return the URI of a path below this one."""
        return Uri(self.bucket, (*self.components, *components))


def is_uri(text: str) -> bool:
    """Return whether ``text`` names something in the network, and not a local path."""
    return text.startswith(SCHEME)


def parse_uri(text: str) -> Uri:
    """Parse ``hippy://bucket``, ``hippy://bucket/path`` or ``hippy://bucket/path/``.

    Raises UsageError saying what is wrong with it.
    """
    if not is_uri(text):
        raise UsageError(f"{text[:80]!r} is not a hippy:// address", hint="write hippy://bucket/path")
    bucket, _, path = text.removeprefix(SCHEME).partition("/")
    if not bucket:
        raise UsageError(f"{text[:80]!r} names no bucket", hint="write hippy://bucket/path")
    slash = path.endswith("/") or not path
    parts = path.removesuffix("/").split("/") if path else []
    check_depth(parts)
    return Uri(clean_component(bucket), tuple(clean_component(part) for part in parts), slash)


def check_depth(components: Sequence[str]) -> None:
    """Raises UsageError when a path has more components than the protocol carries."""
    if len(components) > COMPONENTS_MAX:
        raise UsageError(f"a path has at most {COMPONENTS_MAX} components, this one {len(components)}")


def clean_component(text: str) -> str:
    """Return a component in the one form it is stored in, NFC.

    Raises UsageError unless it is 1 … 239 bytes of UTF-8, not ``.`` or ``..``, without ``/`` and NUL.
    """
    normal = unicodedata.normalize("NFC", text)
    try:
        size = len(normal.encode())
    except UnicodeEncodeError:
        raise UsageError(f"the name {_shown(text)} is not valid UTF-8", hint="give it another name") from None
    if normal in {"", ".", ".."}:
        raise UsageError(f"{normal!r} cannot be a name in a path", hint="write each name once between slashes")
    if "/" in normal or "\0" in normal:
        raise UsageError(f"the name {_shown(text)} contains a slash or a NUL")
    if size > COMPONENT_BYTES_MAX:
        raise UsageError(f"the name {_shown(text)} has {size} bytes, the limit is {COMPONENT_BYTES_MAX}")
    return normal


def _shown(text: str) -> str:
    return ascii(text[:60])
