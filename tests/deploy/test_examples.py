"""The settings files that operators copy."""

from __future__ import annotations

from pathlib import Path

from hippy.miner.settings import MinerSettings
from hippy.settings import load_settings
from hippy.validator.settings import ValidatorSettings

DEPLOY = Path(__file__).parents[2] / "deploy"


def test_the_miner_example_sets_every_setting() -> None:
    settings = load_settings(MinerSettings, DEPLOY / "miner.example.toml")
    assert settings.model_fields_set == set(MinerSettings.model_fields)


def test_the_validator_example_sets_every_setting() -> None:
    settings = load_settings(ValidatorSettings, DEPLOY / "validator.example.toml")
    assert settings.model_fields_set == set(ValidatorSettings.model_fields)
