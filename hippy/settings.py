"""Settings of a node: one TOML file, environment variables over it, options over both; every fault named.

Each role subclasses :class:`NodeSettings` in its own ``settings`` module and loads it with :func:`load_settings`, the
only one to read the environment; settings made directly have what they are given. What the settings mean (networks,
wallets) is hippy.chain's. The bare client has no need of this module, nor of pydantic-settings.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, TypeVar
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


class NodeSettings(BaseSettings):
    """What every node needs to know. Environment variables ``HIPPY_<FIELD>`` win over the file.

    Its hotkey is named in one of two ways: by ``hotkey_file``, or by ``wallet_name`` (with ``wallet_hotkey`` and
    ``wallet_path`` where they are not the usual ones).
    """

    model_config = SettingsConfigDict(env_prefix="HIPPY_", extra="forbid", frozen=True)

    network: str
    """``local:DIR`` joins the local network in DIR; ``finney`` and ``test`` are Bittensor's networks; ``ws://HOST:PORT``
    and ``wss://HOST:PORT`` name a chain by its endpoint."""

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


def load_settings(kind: type[S], path: Path, options: Mapping[str, object] = MappingProxyType({})) -> S:
    """Return the settings in the TOML file ``path``, under the environment, under ``options`` (field → value).

    A source that names the hotkey in one way wins over one that names it in the other. Raises ConfigError naming the
    file and every field that is wrong or unknown.
    """
    values = _read_toml(path)
    try:
        for source in (EnvSettingsSource(kind)(), options):
            values = _joined(values, source)
        return kind(**values)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        )
        raise ConfigError(f"bad settings in {path}: {faults}") from None
    except SettingsError as error:
        raise ConfigError(f"bad settings in the environment: {error}") from None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > SETTINGS_BYTES_MAX:
            raise ConfigError(f"{path} is too long for a settings file")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the settings {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None


def _joined(values: dict[str, Any], winning: Mapping[str, object]) -> dict[str, Any]:
    """Return the values of two sources; of two ways to name the hotkey, only the winning one's stays."""
    lost: set[str] = set()
    if "hotkey_file" in winning:
        lost.update(_WALLET_FIELDS)
    if "wallet_name" in winning:
        lost.add("hotkey_file")
    return {**{field: value for field, value in values.items() if field not in lost}, **winning}
