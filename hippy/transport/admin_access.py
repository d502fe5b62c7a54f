"""Who may ask the admin port.

Whoever has the token; for health alone, whoever is on this machine. A browser there is anybody's who made it show a
page, so what a page from elsewhere makes it ask is refused: a request that names another host than this machine, as a
page's own name does that was bound to 127.0.0.1 for the purpose, and one that says where it comes from.
"""

from __future__ import annotations

import hmac
from ipaddress import ip_address

from aiohttp import web

from hippy.errors import AuthError
from hippy.transport.admin_token import TOKEN_FILE


def check_source(request: web.Request) -> None:
    """Raises AuthError for what a page from elsewhere made a browser ask."""
    host = request.headers.get("Host", "localhost")
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if "Origin" in request.headers or not _is_this_machine(name):
        raise AuthError("the admin port is not for pages from elsewhere", hint="ask 127.0.0.1, or localhost")


def _is_this_machine(name: str) -> bool:
    try:
        return name.lower() == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


def check_token(request: web.Request, token: str) -> None:
    """Raises AuthError unless the request carries the token; how long that takes does not depend on what it has."""
    check_source(request)
    told = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
    if not hmac.compare_digest(told, f"Bearer {token}".encode()):
        raise AuthError(
            "the admin port asks for its token",
            hint=f"send Authorization: Bearer, with what {TOKEN_FILE} in the node's data_dir holds",
        )
