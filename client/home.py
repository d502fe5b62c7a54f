"""Where a client keeps its things, and the credentials it acts under.

Owns the paths (XDG, or everything below ``HIPPY_HOME``) and ``credentials.toml``: who we are, which network,
which home validator. Leaves making an account to ``hippy login`` and ``hippy net up``. Imports nothing heavy:
the command line asks here before it knows whether there is anything to do.

Invariants: a credentials file is written once, with mode 0600, and never over another; the seed appears in no
repr and no error.

Example::

    credentials = find_credentials()
    credentials.account     # 5F…, for people
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from hippy.endpoint import Endpoint
from hippy.errors import ConfigError, HippyError
from hippy.identity import Identity, ss58_decode, ss58_encode, write_secret
from hippy.ids import NetworkId, PublicKey, id_from_hex

CREDENTIALS_FILE: Final = "credentials.toml"
CREDENTIALS_BYTES_MAX: Final = 64 * 1024
LOCAL_NETWORK_FILE: Final = "local-network"
"""In the state directory: one line, the directory of the local network that is up."""

_LOGIN_HINT: Final = "start a local network with `hippy net up -d`, or use your account with `hippy login`"
_HEADER: Final = "# hippy credentials. Whoever has the seed reads, signs and deletes everything of this account.\n"


@dataclass(frozen=True, slots=True)
class Home:
    """The directories of this user: settings, memory, things that can be made again."""

    config: Path
    state: Path
    cache: Path

    @property
    def credentials(self) -> Path:
        """The file ``hippy login`` writes."""
        return self.config / CREDENTIALS_FILE

    @property
    def local_network(self) -> Path:
        """The file that names the local network that is up."""
        return self.state / LOCAL_NETWORK_FILE


def find_home(environ: Mapping[str, str] | None = None) -> Home:
    """Return this user's directories: below HIPPY_HOME if it is set, else by the XDG variables."""
    env = os.environ if environ is None else environ
    if env.get("HIPPY_HOME"):
        base = Path(env["HIPPY_HOME"])
        return Home(base / "config", base / "state", base / "cache")
    user = Path(env["HOME"]) if env.get("HOME") else Path.home()
    return Home(
        Path(env.get("XDG_CONFIG_HOME") or user / ".config") / "hippy",
        Path(env.get("XDG_STATE_HOME") or user / ".local" / "state") / "hippy",
        Path(env.get("XDG_CACHE_HOME") or user / ".cache") / "hippy",
    )


@dataclass(frozen=True, slots=True)
class Credentials:
    """An account, the network it belongs to and its home validator."""

    seed: bytes = field(repr=False)
    account: PublicKey
    validator_endpoint: Endpoint
    validator_hotkey: PublicKey
    network: NetworkId
    netuid: int
    local: bool

    @classmethod
    def of_seed(
        cls,
        seed: bytes,
        *,
        validator_endpoint: Endpoint,
        validator_hotkey: PublicKey,
        network: NetworkId,
        netuid: int,
        local: bool,
    ) -> Credentials:
        """Return the credentials of the account that a 32-byte seed makes."""
        account = Identity.from_seed(seed).public_key
        return cls(seed, account, validator_endpoint, validator_hotkey, network, netuid, local)

    @property
    def account_ss58(self) -> str:
        """The account as people write it."""
        return ss58_encode(self.account)


def network_credentials(directory: Path) -> Path:
    """Return where a local network in ``directory`` keeps its client's credentials."""
    return directory / "client" / CREDENTIALS_FILE


def save_credentials(path: Path, credentials: Credentials) -> None:
    """Write credentials with mode 0600, whole or not at all.

    Raises ConfigError when the file exists: an account's only seed may be in it.
    """
    if path.exists():
        raise ConfigError(
            f"{path} exists and is not overwritten",
            hint="its account may be the only one that can read its data; move the file away first",
        )
    write_secret(path, _print(credentials).encode())


def load_credentials(path: Path) -> Credentials:
    """Return the credentials in ``path``.

    Raises ConfigError naming the file and what is wrong with it, never what is in it.
    """
    values = _read_toml(path)
    try:
        return _parse(values)
    except KeyError as error:
        raise ConfigError(f"{path} lacks {error.args[0]!r}", hint="restore it with `hippy login --recover`") from None
    except (HippyError, TypeError, ValueError) as error:
        reason = error.message if isinstance(error, HippyError) else "a field has the wrong type"
        raise ConfigError(f"bad credentials in {path}: {reason}") from None


def find_credentials(environ: Mapping[str, str] | None = None) -> Credentials:
    """Return the credentials to act under.

    Those of the network HIPPY_NET names, else the login's, else those of the local network that was started last.
    Raises ConfigError when there are none.
    """
    env = os.environ if environ is None else environ
    home = find_home(env)
    if home.credentials.exists() and not env.get("HIPPY_NET"):
        return load_credentials(home.credentials)
    directory = find_local_network(env)
    if directory is None:
        raise ConfigError("no account is set up here", hint=_LOGIN_HINT)
    path = network_credentials(directory)
    if not path.exists():
        raise ConfigError(f"the local network in {directory} has no credentials in {path}", hint=_LOGIN_HINT)
    return load_credentials(path)


def find_local_network(environ: Mapping[str, str] | None = None) -> Path | None:
    """Return the directory of the local network in use, None when none is named."""
    env = os.environ if environ is None else environ
    if env.get("HIPPY_NET"):
        return Path(env["HIPPY_NET"])
    try:
        named = find_home(env).local_network.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError):
        raise ConfigError(f"cannot read {find_home(env).local_network}", hint=_LOGIN_HINT) from None
    return Path(named) if named else None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.loads(file.read(CREDENTIALS_BYTES_MAX).decode())
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", hint=_LOGIN_HINT) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise ConfigError(f"{path} is not valid TOML", hint="restore it with `hippy login --recover`") from None


def _parse(values: dict[str, Any]) -> Credentials:
    seed, account, netuid, local = values["seed"], values["account"], values["netuid"], values["local"]
    if type(netuid) is not int or not 0 <= netuid <= 65_535 or type(local) is not bool:
        raise TypeError
    credentials = Credentials.of_seed(
        _seed_of_hex(seed),
        validator_endpoint=Endpoint.parse(values["validator_endpoint"]),
        validator_hotkey=ss58_decode(values["validator_hotkey"]),
        network=NetworkId(id_from_hex(values["network"])),
        netuid=netuid,
        local=local,
    )
    if credentials.account_ss58 != account:
        raise ConfigError("the seed does not belong to the account")
    return credentials


def _seed_of_hex(text: str) -> bytes:
    """Parse the seed; an error of ours never repeats it, as one of :func:`id_from_hex` would."""
    try:
        return id_from_hex(text)
    except HippyError:
        raise ConfigError("the seed is not 64 lower-case hex digits") from None


def _print(credentials: Credentials) -> str:
    return _HEADER + "".join(
        f"{name} = {value}\n"
        for name, value in (
            ("account", f'"{credentials.account_ss58}"'),
            ("seed", f'"{credentials.seed.hex()}"'),
            ("validator_endpoint", f'"{credentials.validator_endpoint}"'),
            ("validator_hotkey", f'"{ss58_encode(credentials.validator_hotkey)}"'),
            ("network", f'"{credentials.network.hex()}"'),
            ("netuid", credentials.netuid),
            ("local", "true" if credentials.local else "false"),
        )
    )
