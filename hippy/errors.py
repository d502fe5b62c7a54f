"""Every error hippy raises on purpose, in one tree.

::

    HippyError                     code            exit  whose fault
    ├── UsageError                 usage              2  the caller's
    ├── ConfigError                config            11  the operator's
    ├── NotFoundError              not_found          3  (also FileNotFoundError)
    ├── AuthError                  auth               4  the caller's (also PermissionError)
    ├── QuotaError                 quota              7  the account's
    ├── ConflictError              conflict          10  a concurrent writer's
    ├── NotHomeError               not_home          12  nobody's: another validator is the account's home
    ├── IntegrityError             integrity          6  the data's or its holder's
    ├── TemporaryError             temporary          5  the world's: try again
    │   ├── DeadlineError          timeout            5  (also TimeoutError)
    │   ├── UnreachableError       unreachable        5  (also ConnectionError)
    │   ├── RateLimitedError       rate_limited       5
    │   └── NoSpaceError           no_space           5
    └── ProtocolError              protocol           1  the peer's: it broke docs/PROTOCOL.md
        └── TooLargeError          too_large          1

The message says what failed and to which thing; ``hint`` says what to do next. ``code`` survives the wire:
a server answers ``{"error": {"code", "message", "hint"}}`` and the client raises the same class again
(:func:`from_wire`). Status numbers belong to the codes, see :data:`HTTP_STATUS` and docs/PROTOCOL.md §9.
"""

from __future__ import annotations

from typing import ClassVar


class HippyError(Exception):
    """Base of every error hippy raises on purpose.

    ``code`` names the kind on the wire, ``retryable`` says whether the same call may succeed later,
    ``hint`` is the next step for a person, ``exit_code`` what the command line returns.
    """

    code: ClassVar[str] = "internal"
    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class UsageError(HippyError):
    """The command or call was given something it cannot use."""

    code = "usage"
    exit_code = 2


class ConfigError(HippyError):
    """A setting, credential file or installation is missing or wrong."""

    code = "config"
    exit_code = 11


class NotFoundError(HippyError, FileNotFoundError):
    """No such object, piece, segment or file."""

    code = "not_found"
    exit_code = 3


class AuthError(HippyError, PermissionError):
    """The caller is not who it says, or may not do this."""

    code = "auth"
    exit_code = 4


class QuotaError(HippyError):
    """The account has no room left for this."""

    code = "quota"
    exit_code = 7


class ConflictError(HippyError):
    """Somebody else changed the thing first; read it again before writing."""

    code = "conflict"
    exit_code = 10


class NotHomeError(HippyError):
    """Another validator is the account's home, which alone takes changes of it."""

    code = "not_home"
    exit_code = 12


class IntegrityError(HippyError):
    """Bytes do not match the root, hash or signature they were promised under."""

    code = "integrity"
    exit_code = 6


class TemporaryError(HippyError):
    """The world is not ready: too few miners, a peer that is away, a full queue."""

    code = "temporary"
    exit_code = 5
    retryable = True


class DeadlineError(TemporaryError, TimeoutError):
    """A wait on somebody else ran past its deadline."""

    code = "timeout"


class UnreachableError(TemporaryError, ConnectionError):
    """No connection to the peer."""

    code = "unreachable"


class RateLimitedError(TemporaryError):
    """The peer asks us to slow down."""

    code = "rate_limited"


class NoSpaceError(TemporaryError):
    """The peer has no disk space for this piece."""

    code = "no_space"


class ProtocolError(HippyError):
    """Somebody's bytes break docs/PROTOCOL.md."""

    code = "protocol"


class TooLargeError(ProtocolError):
    """A body, header or list is longer than its limit."""

    code = "too_large"


HTTP_STATUS: dict[str, int] = {
    "usage": 400,
    "protocol": 400,
    "auth": 401,
    "quota": 403,
    "not_found": 404,
    "timeout": 408,
    "conflict": 409,
    "not_home": 421,
    "integrity": 422,
    "too_large": 413,
    "rate_limited": 429,
    "internal": 500,
    "config": 500,
    "temporary": 503,
    "unreachable": 502,
    "no_space": 507,
}
"""Wire code → HTTP status (docs/PROTOCOL.md §9)."""


def _subclasses(base: type[HippyError]) -> list[type[HippyError]]:
    found = [base]
    for child in base.__subclasses__():
        found.extend(_subclasses(child))
    return found


_BY_CODE: dict[str, type[HippyError]] = {cls.code: cls for cls in _subclasses(HippyError)}


def from_wire(code: str, message: str, hint: str | None = None) -> HippyError:
    """Return the error a peer answered with, as the class its code names (unknown codes: HippyError)."""
    return _BY_CODE.get(code, HippyError)(message, hint=hint)
