"""Settings of a node: one TOML file, environment variables over it, options over both; every fault named.

Each role subclasses :class:`NodeSettings` in its own ``settings`` module and loads it with :func:`load_settings`, the
only one to read the environment; settings made directly have what they are given. What the settings mean (networks,
wallets) is hippy.chain's. The bare client has no need of this module, nor of pydantic-settings.

A fault says where the value came from, which setting it is and what to write instead; never the value, which may be a
secret in the wrong place.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Generic, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from hippy.endpoint import Endpoint
from hippy.errors import ConfigError, ProtocolError

SETTINGS_BYTES_MAX = 1024 * 1024
FALLBACK_ENDPOINTS_MAX: Final = 16
"""More is a mistake: each is tried in turn while a node waits."""

ENVIRONMENT_PREFIX: Final = "HIPPY_"
FROM_FILE: Final = "file"
FROM_DEFAULT: Final = "default"

SECRET_BITS: Final = 0o027
"""What a secret's file may not allow: writing by its group, anything by others. A group may read, for service managers
hand secrets to daemons that way."""

_NO_SETTINGS: Final = frozenset({"chain_substrate", "crash_at", "debug", "home", "net"})
"""What else the environment may say with our prefix."""

_TYPO_RATIO: Final = 0.85
"""How alike (difflib) a variable's name and a setting's are when one is meant for the other. Variables of other roles
are not: one environment may serve several nodes."""

_WALLET_FIELDS: Final = ("wallet_name", "wallet_hotkey", "wallet_path")


def numeric_host(host: str) -> str:
    """Refuse names: what a node publishes is an address, and no resolver is ever asked."""
    try:
        return Endpoint(host, 1).host
    except ProtocolError as error:
        raise ValueError(error.message) from None


def _chain_url(url: str) -> str:
    """Refuse what is no endpoint of a chain; the error does not repeat it, for it may hold a provider's key."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("not an endpoint of a chain: ws://HOST:PORT or wss://HOST:PORT")
    return url


def _loopback(host: str) -> str:
    """Refuse what other machines could reach: the admin port is for this one."""
    host = numeric_host(host)
    if not ip_address(host).is_loopback:
        raise ValueError('only a loopback address will do: write admin_host = "127.0.0.1"')
    return host


class NodeSettings(BaseSettings):
    """What every node needs to know. Environment variables ``HIPPY_<FIELD>`` win over the file.

    Its hotkey is named in one of two ways: by ``hotkey_file``, or by ``wallet_name`` (with ``wallet_hotkey`` and
    ``wallet_path`` where they are not the usual ones).
    """

    model_config = SettingsConfigDict(env_prefix=ENVIRONMENT_PREFIX, extra="forbid", frozen=True)

    network: str
    """``local:DIR`` joins the local network in DIR, ``private:HOST:PORT/SS58`` a private one (hippy.chain.served);
    ``finney`` and ``test`` are Bittensor's networks; ``ws://HOST:PORT`` and ``wss://HOST:PORT`` name a chain by its
    endpoint."""

    netuid: Annotated[int, Field(ge=0, le=65_535)] = 1
    """The subnet's number."""

    fallback_endpoints: (
        Annotated[tuple[Annotated[str, AfterValidator(_chain_url)], ...], Field(max_length=FALLBACK_ENDPOINTS_MAX)]
        | None
    ) = None
    """Further endpoints of the same chain, tried when the first does not answer. None: those that the chain's SDK
    knows for its public networks; an empty list: none."""

    host: Annotated[str, AfterValidator(numeric_host)] = "127.0.0.1"
    """The numeric address to listen on, and to publish unless ``publish_host`` is set."""

    port: Annotated[int, Field(ge=0, le=65_535)] = 0
    """The port to listen on, and to publish unless ``publish_port`` is set; 0 takes a free one."""

    publish_host: Annotated[str, AfterValidator(numeric_host)] | None = None
    """The numeric address to publish where others reach the node at another one: behind a router or in a cloud. On
    Bittensor's networks what is published has to be public."""

    publish_port: Annotated[int, Field(ge=1, le=65_535)] | None = None

    wallet_name: str | None = None
    """The Bittensor wallet whose hotkey the node is."""

    wallet_hotkey: str | None = None
    """Which of the wallet's hotkeys; None: ``default``."""

    wallet_path: Path | None = None
    """The directory of wallets; None: ``~/.bittensor/wallets``."""

    hotkey_file: Annotated[Path | None, Field(validate_default=True)] = None
    """The unencrypted hotkey, as the chain SDK's wallet keeps it."""

    data_dir: Path

    connections_max: Annotated[int, Field(ge=16, le=65_536)] | None = None
    """Connections at once, from everybody; None: the usual number (hippy.transport.limits.ServerLimits)."""

    connections_per_address_max: Annotated[int, Field(ge=1, le=65_536)] | None = None
    """Those of one address; None: the usual number. More for a node whose clients come through one gateway."""

    admin_host: Annotated[str, AfterValidator(_loopback)] = "127.0.0.1"
    """The loopback address of the admin port."""

    admin_port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    """The port of health, metrics and administration (hippy.transport.admin); None: none is opened."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def published_host(self) -> str:
        """The address that others connect to."""
        return self.publish_host or self.host

    def published(self, bound: Endpoint) -> Endpoint:
        """Return what to publish for a node that listens at ``bound``."""
        return Endpoint(self.published_host, self.publish_port or bound.port)

    @field_validator("hotkey_file")
    @classmethod
    def _is_named_once(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        """Not a check of the whole model: that would be silent while anything else is wrong."""
        wallet = [field for field in _WALLET_FIELDS if info.data.get(field) is not None]
        if value is not None and wallet:
            raise ValueError(f"{wallet[0]} names the hotkey too; keep one of the two")
        if value is None and "wallet_name" not in wallet:
            raise ValueError("nothing names the hotkey: set wallet_name, or hotkey_file")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is passed is all there is; :func:`load_settings` joins the sources."""
        return (init_settings,)


S = TypeVar("S", bound=NodeSettings)


@dataclass(frozen=True, slots=True)
class Loaded(Generic[S]):
    """Settings, and for every field where its value is from: an option, a variable's name, ``file`` or ``default``."""

    settings: S
    sources: Mapping[str, str]


def load_settings(kind: type[S], path: Path, options: Mapping[str, object] = MappingProxyType({})) -> S:
    """Return the settings in the TOML file ``path``, under the environment, under ``options`` (field → value).

    A source that names the hotkey in one way wins over one that names it in the other. Raises ConfigError naming the
    file and every field that is wrong or unknown.
    """
    return load_with_sources(kind, path, options).settings


def load_with_sources(kind: type[S], path: Path, options: Mapping[str, object] = MappingProxyType({})) -> Loaded[S]:
    """Return the settings as :func:`load_settings` does, and where each is from. Raises ConfigError."""
    values = _read_toml(path)
    sources = dict.fromkeys(values, FROM_FILE)
    _check_variables(kind)
    try:
        variables = EnvSettingsSource(kind)()
    except SettingsError as error:
        raise ConfigError(
            f"bad settings in the environment: {_variable_in(str(error))}: not JSON",
            hint="lists are JSON there: HIPPY_FALLBACK_ENDPOINTS='[\"wss://chain.example:443\"]'",
        ) from None
    for source, name in ((variables, _variable), (options, _option)):
        values = _joined(values, source)
        sources |= {field: name(field) for field in source}
    try:
        settings = kind(**values)
    except ValidationError as error:
        raise _bad_settings(kind, path, error, sources) from None
    fields = kind.model_fields
    return Loaded(settings, {field: sources[field] if field in values else FROM_DEFAULT for field in fields})


def check_secret_file(path: Path, setting: str) -> None:
    """Check that nobody but the owner (and its group, to read) gets at a secret. Blocking; a missing file is not ours.

    Raises ConfigError naming file, setting and the command that mends it.
    """
    try:
        mode = path.stat().st_mode & 0o777
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"cannot look at {path}, which {setting} names: {error.strerror}") from None
    if os.name == "posix" and mode & SECRET_BITS:
        raise ConfigError(
            f"{path}, which {setting} names, has mode {mode:04o}: others may read or change the secret in it",
            hint=f"chmod 600 {path}",
        )


def masked(value: object) -> object:
    """Return a setting's value as it may be shown: of a chain's endpoint what follows the host may be a key."""
    if isinstance(value, tuple | list):
        return [masked(each) for each in value]
    if isinstance(value, str) and value.startswith(("ws://", "wss://")):
        parts = urlsplit(value)
        if parts.path.strip("/") or parts.query:
            return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/***"
    return value


def _variable(field: str) -> str:
    return ENVIRONMENT_PREFIX + field.upper()


def _option(field: str) -> str:
    return f"--{field.replace('wallet_', 'wallet.')}"


def _variable_in(told: str) -> str:
    """Return the variable that pydantic-settings complains of."""
    found = re.search(r'field "(\w+)"', told)
    return _variable(found[1]) if found else "one of the variables"


def _check_variables(kind: type[NodeSettings]) -> None:
    """Raises ConfigError for a variable that looks like a setting misspelled: it would have no effect, silently."""
    for name in os.environ:
        field = name.lower().removeprefix(ENVIRONMENT_PREFIX.lower())
        if field == name.lower() or field in _NO_SETTINGS or field in kind.model_fields:
            continue
        meant = get_close_matches(field, kind.model_fields, n=1, cutoff=_TYPO_RATIO)
        if meant:
            raise ConfigError(
                f"bad settings in the environment: {name}: no such setting", hint=f"write {_variable(meant[0])}"
            )


def _bad_settings(
    kind: type[NodeSettings], path: Path, error: ValidationError, sources: Mapping[str, str]
) -> ConfigError:
    faults, is_in_file = [], False
    for fault in error.errors(include_url=False, include_input=False):
        field = str(fault["loc"][0])
        source = sources.get(field, FROM_FILE)
        is_in_file = is_in_file or source == FROM_FILE
        place = field if source == FROM_FILE else source
        where = ".".join([place, *map(str, fault["loc"][1:])])
        faults.append(f"{where}: {_told(kind, field, fault['type'], fault['msg'], len(fault['loc']))}")
    hint = "write what is asked for and try again; the examples in deploy/ show every setting"
    where = f" in {path}" if is_in_file else ""
    return ConfigError(f"bad settings{where}: {'; '.join(faults)}", hint=hint)


_INSTEAD: Final = {
    "int": "write a whole number without quotes, as in {} = 4000",
    "float": "write a number without quotes, as in {} = 30.5",
    "string": 'write text in quotes, as in {} = "..."',
    "path": 'write a path in quotes, as in {} = "/var/lib/hippy"',
    "tuple": 'write a list, as in {} = ["...", "..."]',
    "missing": "write {} = ...",
}
"""The beginning of pydantic's kind of fault → what to write instead."""


def _told(kind: type[NodeSettings], field: str, fault: str, message: str, depth: int) -> str:
    """Return what is wrong with a setting, and what to write."""
    if fault == "extra_forbidden" and depth == 1:
        meant = get_close_matches(field, kind.model_fields, n=1)
        return "there is no such setting" + (f"; write {meant[0]}" if meant else "")
    message = message.removeprefix("Value error, ")
    instead = _INSTEAD.get(fault.partition("_")[0])
    return message if instead is None or depth > 1 else f"{message}; {instead.format(field)}"


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > SETTINGS_BYTES_MAX:
            raise ConfigError(f"{path} is too long for a settings file", hint=f"at most {SETTINGS_BYTES_MAX} bytes")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"cannot read the settings {path}: {error.strerror}", hint=_unreadable_hint(error, path)
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} is not valid TOML: {error}",
            hint='one setting a line: name = 4000, name = "text", name = ["a", "b"]',
        ) from None


def _unreadable_hint(error: OSError, path: Path) -> str:
    if isinstance(error, FileNotFoundError):
        return "begin with a copy of deploy/miner.example.toml or deploy/validator.example.toml"
    if isinstance(error, IsADirectoryError):
        return "name the file in it"
    return f"may the node's user read it? ls -l {path}"


def _joined(values: dict[str, Any], winning: Mapping[str, object]) -> dict[str, Any]:
    """Return the values of two sources; of two ways to name the hotkey, only the winning one's stays."""
    lost: set[str] = set()
    if "hotkey_file" in winning:
        lost.update(_WALLET_FIELDS)
    if "wallet_name" in winning:
        lost.add("hotkey_file")
    return {**{field: value for field, value in values.items() if field not in lost}, **winning}
