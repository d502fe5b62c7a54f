"""Asking a node's admin port: what commands on its machine do.

Example::

    await ask(Endpoint("127.0.0.1", 4201), "GET", "/accounts", token=read_token(data_dir))
"""

from __future__ import annotations

import json
from typing import Any, Final

import aiohttp

from hippy.endpoint import Endpoint
from hippy.errors import DeadlineError, HippyError, ProtocolError, UnreachableError, from_wire
from hippy.transport import limits

ANSWER_SECONDS: Final = 15.0
"""Longer than a check of readiness may take."""

ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024
"""A hundred thousand accounts."""


async def ask(
    place: Endpoint, method: str, path: str, *, token: str | None = None, body: bytes = b""
) -> dict[str, Any]:
    """Return the JSON that a node's admin port answers, whatever the status of ``/readyz`` is.

    Raises UnreachableError when nobody listens there, DeadlineError, ProtocolError for what is no admin port, and the
    error that it answered.
    """
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS, connect=limits.CONNECT_SECONDS)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=headers, trust_env=False) as session,
            session.request(method, f"http://{place}{path}", data=body or None, allow_redirects=False) as answer,
        ):
            return _parse(await _read(answer))
    except TimeoutError:
        raise DeadlineError(f"the admin port at {place} does not answer", hint="the node's log may say why") from None
    except aiohttp.ClientError as error:
        raise UnreachableError(
            f"nothing answers at {place}: {error}", hint="does the node run, with this admin_port in its settings?"
        ) from None


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    parts, size = [], 0
    async for chunk in answer.content.iter_any():
        size += len(chunk)
        if size > ANSWER_BYTES_MAX:
            raise ProtocolError("the admin port's answer is too long")
        parts.append(chunk)
    return b"".join(parts)


def _parse(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
        error = value.get("error")
        failure = None if error is None else from_wire(error["code"], error["message"], error.get("hint"))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ProtocolError("what listens there is no admin port of hippy") from None
    if isinstance(failure, HippyError):
        raise failure
    return dict(value)
