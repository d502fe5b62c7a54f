"""Errors of the local file system as hippy's own, and paths as they can be printed."""

from __future__ import annotations

from hippy.errors import AuthError, HippyError, NotFoundError, TemporaryError, UsageError


def shown(components: tuple[str, ...]) -> str:
    """Return a path as it can be printed; a name may be any bytes, which Python keeps as lone surrogates."""
    return "/".join(components).encode("utf-8", "backslashreplace").decode()


def changed(path: str) -> TemporaryError:
    """Return the error for a file that did not stay what it was."""
    return TemporaryError(f"{path} changed while it was read", hint="put it again when nothing writes to it")


def reading_error(label: str, error: HippyError | OSError | ValueError) -> HippyError:
    """Return whatever went wrong while a file was read as one of our errors, to be this file's alone."""
    if isinstance(error, HippyError):
        return error
    if isinstance(error, OSError):
        return file_error(label, error)
    return UsageError(f"cannot read {label}: {error}")


def file_error(path: str, error: OSError) -> HippyError:
    """Return an error of the file system as one of ours."""
    reason = f"cannot use {shown((path,))}: {error.strerror or type(error).__name__}"
    if isinstance(error, FileNotFoundError):
        return NotFoundError(reason, hint="check the path")
    if isinstance(error, PermissionError):
        return AuthError(reason, hint="check who may read and write it")
    return UsageError(reason, hint="give a regular file or a directory that can be used")
