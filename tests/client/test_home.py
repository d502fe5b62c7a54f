from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hippy.client.home import (
    Credentials,
    find_credentials,
    find_home,
    load_credentials,
    network_credentials,
    save_credentials,
)
from hippy.endpoint import Endpoint
from hippy.errors import ConfigError
from hippy.identity import Identity
from hippy.ids import NetworkId

SEED = b"\x07" * 32


def make(seed: bytes = SEED) -> Credentials:
    return Credentials.of_seed(
        seed,
        validator_endpoint=Endpoint("127.0.0.1", 4000),
        validator_hotkey=Identity.from_seed(b"v" * 32).public_key,
        network=NetworkId(b"n" * 32),
        netuid=3,
        local=True,
    )


def test_saved_credentials_load_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "a" / "credentials.toml"
    save_credentials(path, make())
    assert load_credentials(path) == make()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_credentials_are_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "credentials.toml"
    save_credentials(path, make())
    with pytest.raises(ConfigError) as caught:
        save_credentials(path, make(b"\x08" * 32))
    assert caught.value.hint
    assert load_credentials(path) == make()


def test_seed_is_in_no_repr_and_no_error(tmp_path: Path) -> None:
    assert SEED.hex() not in repr(make())
    assert repr(SEED) not in repr(make())
    path = tmp_path / "credentials.toml"
    save_credentials(path, make())
    path.write_text(path.read_text().replace(SEED.hex(), SEED.hex()[:-1]))
    with pytest.raises(ConfigError) as caught:
        load_credentials(path)
    assert SEED.hex()[:16] not in str(caught.value)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("seed", "sead"),
        ('"127.0.0.1:4000"', '"localhost:4000"'),
        ("netuid = 3", "netuid = true"),
        ("netuid = 3", "netuid = 70000"),
        ("local = true", "local = 1"),
        ("07" * 32, "08" * 32),
        ('network = "6e', 'network = "6'),
        ("netuid", "="),
    ],
)
def test_damaged_credentials_are_refused_naming_the_file(tmp_path: Path, before: str, after: str) -> None:
    path = tmp_path / "credentials.toml"
    save_credentials(path, make())
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    with pytest.raises(ConfigError, match=r"credentials\.toml"):
        load_credentials(path)


def test_home_follows_xdg_and_hippy_home_overrides_it() -> None:
    assert find_home({"HOME": "/h"}).config == Path("/h/.config/hippy")
    xdg = {"HOME": "/h", "XDG_CONFIG_HOME": "/c", "XDG_STATE_HOME": "/s", "XDG_CACHE_HOME": "/k"}
    home = find_home(xdg)
    assert (home.config, home.state, home.cache) == (Path("/c/hippy"), Path("/s/hippy"), Path("/k/hippy"))
    assert find_home({**xdg, "HIPPY_HOME": "/o"}).state == Path("/o/state")


def test_login_comes_before_the_network_that_was_started_last(tmp_path: Path) -> None:
    env = {"HIPPY_HOME": str(tmp_path / "home")}
    home = find_home(env)
    save_credentials(network_credentials(tmp_path / "net"), make())
    home.state.mkdir(parents=True)
    home.local_network.write_text(f"{tmp_path / 'net'}\n")
    assert find_credentials(env) == make()
    save_credentials(home.credentials, make(b"\x09" * 32))
    assert find_credentials(env) == make(b"\x09" * 32)


def test_a_network_that_is_asked_for_by_name_comes_before_the_login(tmp_path: Path) -> None:
    env = {"HIPPY_HOME": str(tmp_path / "home"), "HIPPY_NET": str(tmp_path / "net")}
    save_credentials(find_home(env).credentials, make(b"\x09" * 32))
    save_credentials(network_credentials(tmp_path / "net"), make())
    assert find_credentials(env) == make()


def test_pointer_file_leads_to_the_running_local_network(tmp_path: Path) -> None:
    env = {"HIPPY_HOME": str(tmp_path / "home")}
    save_credentials(network_credentials(tmp_path / "net"), make())
    pointer = find_home(env).local_network
    pointer.parent.mkdir(parents=True)
    pointer.write_text(f"{tmp_path / 'net'}\n")
    assert find_credentials(env) == make()


def test_nothing_found_says_what_to_do(tmp_path: Path) -> None:
    for env in ({}, {"HIPPY_NET": str(tmp_path / "no such")}):
        with pytest.raises(ConfigError) as caught:
            find_credentials({"HIPPY_HOME": str(tmp_path), **env})
        assert "hippy net up -d" in (caught.value.hint or "")
        assert "hippy login" in (caught.value.hint or "")


def test_home_and_uri_load_nothing_heavy() -> None:
    script = "import sys, hippy.client.home, hippy.client.uri, hippy.client.progress; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert {"aiohttp", "asyncio", "pydantic", "cryptography"}.isdisjoint(done.stdout.split())
