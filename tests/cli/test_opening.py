"""What is said when nobody answers."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from hippy.cli.opening import with_client
from hippy.client.home import Credentials, find_home, network_credentials, save_credentials
from hippy.client.sdk import AsyncClient
from hippy.endpoint import Endpoint
from hippy.errors import UnreachableError
from hippy.identity import Identity
from hippy.ids import NetworkId
from hippy.net.plan import LOCK_FILE
from hippy.net.supervisor import _locked


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a local network in use; nobody listens."""
    monkeypatch.delenv("HIPPY_NET", raising=False)
    monkeypatch.setenv("HIPPY_HOME", str(tmp_path / "home"))
    directory = tmp_path / "net"
    credentials = Credentials.of_seed(
        secrets.token_bytes(32),
        validator_endpoint=Endpoint("127.0.0.1", 1),
        validator_hotkey=Identity.generate().public_key,
        network=NetworkId(secrets.token_bytes(32)),
        netuid=1,
        local=True,
    )
    save_credentials(network_credentials(directory), credentials)
    pointer = find_home().local_network
    pointer.parent.mkdir(parents=True)
    pointer.write_text(f"{directory}\n")
    return directory


async def list_buckets(client: AsyncClient) -> list[str]:
    return await client.buckets()


@pytest.mark.usefixtures("network")
def test_a_local_network_that_is_down_is_the_first_guess() -> None:
    with pytest.raises(UnreachableError) as caught:
        with_client(list_buckets)
    assert caught.value.hint == "is the local network down? hippy net up -d"


def test_a_local_network_that_runs_may_have_lost_a_node(network: Path) -> None:
    (network / LOCK_FILE).touch()
    with _locked(network), pytest.raises(UnreachableError) as caught:
        with_client(list_buckets)
    assert caught.value.hint == "is a node down? hippy net status"
