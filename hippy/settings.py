"""Settings of a node: one TOML file, environment variables over it, every fault named.

Each role subclasses :class:`NodeSettings` in its own ``settings`` module and loads it with
:func:`load_settings`. The bare client has no need of this module, nor of pydantic-settings.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from hippy.endpoint import Endpoint
from hippy.errors import ConfigError, ProtocolError

SETTINGS_BYTES_MAX = 1024 * 1024


def _numeric(host: str) -> str:
    """Refuse names: what a node publishes is an address, and no resolver is ever asked."""
    try:
        return Endpoint(host, 1).host
    except ProtocolError as error:
        raise ValueError(error.message) from None


class NodeSettings(BaseSettings):
    """What every node needs to know. Environment variables ``HIPPY_<FIELD>`` win over the file."""

    model_config = SettingsConfigDict(env_prefix="HIPPY_", extra="forbid", frozen=True)

    network: str
    """``local:DIR`` joins the local network in DIR."""

    netuid: Annotated[int, Field(ge=0, le=65_535)] = 1
    host: Annotated[str, AfterValidator(_numeric)] = "127.0.0.1"
    """The numeric address to listen on and to publish."""

    port: Annotated[int, Field(ge=0, le=65_535)] = 0
    """0 takes a free port."""

    hotkey_file: Path
    """The unencrypted hotkey, as the chain SDK's wallet keeps it."""

    data_dir: Path
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over what the file says, which is passed as arguments."""
        return env_settings, init_settings


S = TypeVar("S", bound=NodeSettings)


def load_settings(kind: type[S], path: Path) -> S:
    """Return the settings in the TOML file ``path`` under the environment.

    Raises ConfigError naming the file and every field that is wrong or unknown.
    """
    try:
        if path.stat().st_size > SETTINGS_BYTES_MAX:
            raise ConfigError(f"{path} is too long for a settings file")
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the settings {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    try:
        return kind(**values)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        )
        raise ConfigError(f"bad settings in {path}: {faults}") from None
    except SettingsError as error:
        raise ConfigError(f"bad settings in the environment: {error}") from None
