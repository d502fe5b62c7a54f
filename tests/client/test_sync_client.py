from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import os
import pickle
import threading
from pathlib import Path

import pytest

import hippy.client
from hippy.client.home import find_home, save_credentials
from hippy.client.sdk import AsyncClient
from hippy.client.sync_client import Client
from hippy.errors import ConfigError, NotFoundError, UsageError
from tests.client.network import Network


@pytest.fixture
def login(network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIPPY_HOME", str(tmp_path / "home"))
    save_credentials(find_home().credentials, network.credentials)


def public(kind: type) -> set[str]:
    return {name for name, member in inspect.getmembers(kind, callable) if not name.startswith("_")}


def test_both_clients_have_the_same_methods() -> None:
    assert public(Client) - {"close"} == public(AsyncClient) - {"open"}


@pytest.mark.usefixtures("login")
def test_blocking_client_does_what_the_async_one_does(tmp_path: Path) -> None:
    with hippy.client.Client() as client:
        client.put(b"data", "hippy://sync/x")
        assert client.get("hippy://sync/x") == b"data"
        client.get_file("hippy://sync/x", tmp_path / "x")
        assert [entry.path for entry in client.list("hippy://sync")] == ["x"]
        with pytest.raises(NotFoundError):
            client.get("hippy://sync/none")
    assert (tmp_path / "x").read_bytes() == b"data"


@pytest.mark.usefixtures("login")
def test_unpickled_client_opens_connections_of_its_own() -> None:
    with Client(profile="2/3") as client:
        client.put(b"data", "hippy://sync/pickled")
        with pickle.loads(pickle.dumps(client)) as copy:
            assert copy.get("hippy://sync/pickled") == b"data"
            assert str(copy.profile()) == "2/3"
        assert client.get("hippy://sync/pickled") == b"data"


def test_client_with_credentials_of_its_own_is_not_pickled(network: Network) -> None:
    with pytest.raises(UsageError) as caught:
        pickle.dumps(Client(network.credentials))
    assert caught.value.hint


@pytest.mark.usefixtures("login")
def test_forked_child_opens_connections_of_its_own() -> None:
    with Client() as client:
        client.put(b"data", "hippy://sync/forked")
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                os.write(writing, client.get("hippy://sync/forked"))
            finally:
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        os.close(writing)
        with os.fdopen(reading, "rb") as answer:
            assert answer.read() == b"data"
        assert client.get("hippy://sync/forked") == b"data"


@pytest.mark.usefixtures("login")
def test_closed_client_opens_again_when_it_is_used() -> None:
    client = Client()
    client.put(b"data", "hippy://sync/again")
    client.close()
    client.close()
    assert client.get("hippy://sync/again") == b"data"
    client.close()


def test_client_without_credentials_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIPPY_HOME", str(tmp_path))
    monkeypatch.delenv("HIPPY_NET", raising=False)
    with pytest.raises(ConfigError), Client():
        pass
    with pytest.raises(AttributeError):
        _ = hippy.client.NoSuchName


@pytest.mark.usefixtures("login")
def test_versions_seen_outlive_the_session() -> None:
    for content in (b"one", b"two"):
        with Client() as client:
            client.put(content, "hippy://sync/seen")
    assert (find_home().state / "seen.sqlite").exists()
    with Client() as client:
        assert client.head("hippy://sync/seen").version == 2


@pytest.mark.usefixtures("login")
def test_interrupted_call_has_put_things_in_order_when_it_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    started, in_order = threading.Event(), list[bool]()

    async def work(_: AsyncClient) -> None:
        try:
            started.set()
            await asyncio.Event().wait()
        finally:
            for _turn in range(100):
                await asyncio.sleep(0)
            in_order.append(True)

    def interrupted(_: concurrent.futures.Future[None]) -> None:
        started.wait(10)
        raise KeyboardInterrupt

    with Client() as client:
        client.whoami()
        with monkeypatch.context() as patched:
            patched.setattr(concurrent.futures.Future, "result", interrupted)
            with pytest.raises(KeyboardInterrupt):
                client._call(work)
        assert in_order == [True]
