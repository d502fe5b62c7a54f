"""The token of a node's admin port: 32 random bytes in a file that is its user's alone.

The node makes it at its first start and reads it ever after; commands that talk to the node read it too. To change it,
remove the file and start the node again.
"""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path
from typing import Final

from hippy.errors import ConfigError
from hippy.identity import write_secret

TOKEN_FILE: Final = "admin.token"  # noqa: S105 - a file's name
TOKEN_BYTES: Final = 32
FILE_BYTES_MAX: Final = 1024
OTHERS_BITS: Final = 0o077
"""Permissions of anybody but the owner."""

_TOKEN: Final = re.compile(r"[0-9a-f]{64}")


def admin_token(data_dir: Path) -> str:
    """Return the token of the node in ``data_dir``, made now if there is none. Blocking.

    Raises ConfigError for one that others can read, or that is no token.
    """
    path = data_dir / TOKEN_FILE
    try:
        if not path.exists():
            write_secret(path, f"{secrets.token_hex(TOKEN_BYTES)}\n".encode())
    except OSError as error:
        raise ConfigError(f"cannot make {path}: {error.strerror}", hint="may the node's user write there?") from None
    return read_token(data_dir)


def read_token(data_dir: Path) -> str:
    """Return the token of the node in ``data_dir``. Blocking.

    Raises ConfigError for a missing one, one that we may not or others may read, and what is none.
    """
    path = data_dir / TOKEN_FILE
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode  # of what is read, whatever the name means by now
            text = file.read(FILE_BYTES_MAX).decode("ascii", "replace").strip()
    except FileNotFoundError:
        raise ConfigError(
            f"there is no {path}", hint="the node makes it when it starts with an admin_port; start it once"
        ) from None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", hint="run the command as the node's user") from None
    if os.name == "posix" and mode & OTHERS_BITS:
        raise ConfigError(f"{path} has mode {mode & 0o777:04o}: others may have the token", hint=f"chmod 600 {path}")
    if not _TOKEN.fullmatch(text):
        raise ConfigError(f"{path} holds no token", hint="remove it and start the node again")
    return text
