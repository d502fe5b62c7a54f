"""Answers of a server: a message, or an error as the JSON that every client reads (PROTOCOL §1, §9)."""

from __future__ import annotations

import json
import logging

from aiohttp import hdrs, web

from hippy.errors import HTTP_STATUS, HippyError, ProtocolError, TooLargeError
from hippy.wire.canonical import Message

log = logging.getLogger("hippy.transport")


def message_response(message: Message, *, status: int = 200) -> web.Response:
    """Return a message as a response."""
    return web.Response(status=status, body=message.encode(), content_type="application/json")


def error_response(error: HippyError, *, headers: dict[str, str] | None = None) -> web.Response:
    """Return an error as the JSON every client reads."""
    described = {"code": error.code, "message": error.message}
    if error.hint:
        described["hint"] = error.hint
    status = HTTP_STATUS.get(error.code, 500)
    if error.code == "rate_limited":
        headers = {hdrs.RETRY_AFTER: "1", **(headers or {})}
    body = json.dumps({"error": described}).encode()
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


def http_error(request: web.Request, error: web.HTTPException) -> web.Response:
    """Return what aiohttp has to say of a request, such as that there is no such path, in the same form."""
    kind = TooLargeError if error.status == 413 else ProtocolError
    answer = error_response(kind(f"{error.reason}: {request.method} {request.path[:64]}"))
    answer.set_status(error.status)
    return answer


def described(request: web.Request, error: Exception) -> web.Response:
    """Return the answer that tells of an error; what is unexpected is told to the log and not to the peer.

    Raises ConnectionError again: nobody is there to be told.
    """
    match error:
        case HippyError():
            return error_response(error)
        case web.HTTPException():
            return http_error(request, error)
        case ConnectionError():
            raise error
        case _:
            log.error("unexpected error while answering %s %s", request.method, request.path[:64], exc_info=error)
            return error_response(HippyError("internal error; the node's log has the details"))
