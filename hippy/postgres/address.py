"""Addresses of PostgreSQL databases as operators write them: ``postgresql://user@host:5432/database?option=value``.

What an address means is libpq's and asyncpg's business (service names, PGPASSWORD, PGPASSFILE and the like fill in
what it leaves out). Here it is checked that it is one at all, and that nobody shows a password: in the arguments of a
command every user of the machine can read it.

>>> masked("postgresql://hippy:secret@db.example/registry?sslmode=require")
'postgresql://hippy:***@db.example/registry?sslmode=require'
>>> has_password("postgresql://hippy@db.example/registry")
False
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit

SCHEMES: Final = ("postgresql", "postgres")
MASK: Final = "***"
SECRET_OPTIONS: Final = frozenset({"password", "sslpassword"})

_SHOWN: Final = re.compile(r"[ -~]*")


def registry_url(url: str) -> str:
    """Refuse what is no address of a PostgreSQL database; the error does not repeat it, for it may hold a password.

    Raises ValueError.
    """
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        scheme = ""
    if scheme not in SCHEMES or not url.startswith(f"{scheme}://") or not _SHOWN.fullmatch(url):
        raise ValueError("not an address of a PostgreSQL database: postgresql://USER@HOST:PORT/DATABASE")
    return url


def has_password(url: str) -> bool:
    """Return whether an address holds a password, or may: one with an unescaped ``/`` looks like something else."""
    parts = urlsplit(url)
    user, _, _ = parts.netloc.rpartition("@")
    return ":" in user or _is_odd(parts) or any(name in SECRET_OPTIONS for name, _ in parse_qsl(parts.query))


def masked(url: str) -> str:
    """Return an address as it may be shown, without passwords."""
    parts = urlsplit(url)
    if _is_odd(parts):
        return f"{parts.scheme}://{MASK}"
    user, at, hosts = parts.netloc.rpartition("@")
    name, colon, _ = user.partition(":")
    options = [(key, MASK if key in SECRET_OPTIONS else value) for key, value in parse_qsl(parts.query)]
    query = urlencode(options, safe="*/,", quote_via=quote)
    return f"{parts.scheme}://{name}{colon}{MASK if colon else ''}{at}{hosts}{parts.path}{'?' if query else ''}{query}"


def _is_odd(parts: SplitResult) -> bool:
    """Return whether there is an @ where none belongs: what is before it may be half of a password."""
    return "@" in parts.path + parts.query + parts.fragment
