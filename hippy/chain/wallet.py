"""A Bittensor wallet on disk: where its keys lie, and that a server's has no coldkey that anybody could take.

A wallet is a directory, as ``btcli`` makes it and with the file names it uses::

    ~/.bittensor/wallets/NAME/
    ├── coldkey                 holds the money; encrypted, and on no server
    ├── coldkeypub.txt          its public half
    └── hotkeys/
        ├── HOTKEY              signs for a node; unencrypted
        └── HOTKEYpub.txt       its public half

It knows places only; hippy.identity reads keyfiles.

>>> Wallet("hippy", "miner1", Path("/var/lib/wallets")).hotkey_file.as_posix()
'/var/lib/wallets/hippy/hotkeys/miner1'
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hippy.errors import ConfigError, ProtocolError
from hippy.identity import KEYFILE_BYTES_MAX, is_encrypted, load_keyfile, ss58_decode
from hippy.ids import PublicKey

WALLETS_PATH: Final = Path("~/.bittensor/wallets")
"""Where the chain's own tools keep wallets."""

HOTKEY_NAME: Final = "default"
"""The hotkey that the chain's own tools mean when none is named."""

_HOTKEYS: Final = "hotkeys"
_COLDKEY: Final = "coldkey"
_COLDKEY_PUBLIC: Final = "coldkeypub.txt"


@dataclass(frozen=True, slots=True)
class Wallet:
    """One coldkey's directory, and one of its hotkeys; a leading ``~`` in ``path`` is the user's home.

    Raises ConfigError for a name that is none: empty, or leading out of its directory.
    """

    name: str
    hotkey: str = HOTKEY_NAME
    path: Path = WALLETS_PATH

    def __post_init__(self) -> None:
        _check_name("wallet", self.name)
        _check_name("hotkey", self.hotkey)

    @classmethod
    def named(cls, name: str, hotkey: str | None, path: Path | None) -> Wallet:
        """Return the wallet that somebody names; None takes what the chain's own tools would."""
        return cls(name, HOTKEY_NAME if hotkey is None else hotkey, WALLETS_PATH if path is None else path)

    @property
    def directory(self) -> Path:
        """The wallet itself."""
        try:
            return self.path.expanduser() / self.name
        except RuntimeError:  # no HOME, and the system knows no such user
            raise ConfigError(f"nobody knows what ~ is in {self.path}", hint="write the whole path") from None

    @property
    def hotkey_file(self) -> Path:
        """The hotkey's keyfile."""
        return self.directory / _HOTKEYS / self.hotkey

    @property
    def hotkey_public_file(self) -> Path:
        """The hotkey's public half."""
        return self.directory / _HOTKEYS / f"{self.hotkey}pub.txt"

    @property
    def coldkey_file(self) -> Path:
        """The coldkey's keyfile."""
        return self.directory / _COLDKEY


def check_coldkey_away(hotkey_file: Path) -> None:
    """Raises ConfigError when a node would run on a coldkey's file, or beside a coldkey that anybody could take.

    That is one which this process can read and no password protects, beside the hotkey's file or a directory further
    up, as in a wallet. A node never needs it, and whoever breaks into the node's machine has the money and every
    hotkey with it.
    """
    if any(place.name == _COLDKEY for place in _places(hotkey_file)):
        raise _is_coldkey(hotkey_file)
    for directory in _directories(hotkey_file):
        coldkey = directory / _COLDKEY
        if _is_readable(coldkey) and not is_encrypted(coldkey):
            raise ConfigError(
                f"the unencrypted coldkey {coldkey} lies beside the hotkey of a node",
                hint="move it to another machine and keep only coldkeypub.txt and the hotkey here",
            )


def check_not_coldkey(hotkey_file: Path, public_key: PublicKey) -> None:
    """Raises ConfigError when the key in a hotkey's file is the coldkey by the ``coldkeypub.txt`` around it.

    Also when that holds no public half; one that this process cannot read says nothing.
    """
    for directory in _directories(hotkey_file):
        public_file = directory / _COLDKEY_PUBLIC
        if _is_readable(public_file) and _read_public_file(public_file) == public_key:
            raise _is_coldkey(hotkey_file)


def _places(hotkey_file: Path) -> list[Path]:
    """Return where a file lies by its path and, where that is a link, where this leads."""
    return list(dict.fromkeys((Path(os.path.abspath(hotkey_file)), hotkey_file.resolve())))  # abspath: links stay


def _directories(hotkey_file: Path) -> list[Path]:
    """Return where a coldkey of a hotkey's file may lie: beside it, and where it would in a wallet."""
    return [directory for place in _places(hotkey_file) for directory in (place.parent, place.parent.parent)]


def _is_readable(path: Path) -> bool:
    return os.access(path, os.R_OK) and path.is_file()


def _is_coldkey(hotkey_file: Path) -> ConfigError:
    return ConfigError(
        f"{hotkey_file} is a coldkey, which holds money; a node signs with a hotkey",
        hint="name a hotkey in the settings, and move the coldkey to another machine",
    )


def hotkey_address(wallet: Wallet) -> PublicKey:
    """Return the public key of the wallet's hotkey; where the coldkey is, only that half may be.

    Raises ConfigError when there is neither half, or what is there is none.
    """
    if not wallet.hotkey_file.exists() and wallet.hotkey_public_file.exists():
        return _read_public_file(wallet.hotkey_public_file)
    return load_keyfile(wallet.hotkey_file).public_key


def _read_public_file(path: Path) -> PublicKey:
    try:
        with path.open("rb") as file:
            return ss58_decode(str(json.loads(file.read(KEYFILE_BYTES_MAX))["ss58Address"]))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError, ProtocolError):
        raise ConfigError(f"{path} does not hold the public half of a key") from None


def _check_name(what: str, name: str) -> None:
    if name in ("", ".", "..") or any(character in name for character in "/\\\0"):
        raise ConfigError(
            f"{name!r} is not the name of a {what}", hint="a name has no slashes; --wallet.path is a path"
        )
