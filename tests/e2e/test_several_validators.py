"""Three real validators: what one writes the others have, and answer when it is gone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hippy.client.home import Credentials, load_credentials, network_credentials
from hippy.client.sdk import AsyncClient
from hippy.clock import SystemClock
from hippy.errors import NotHomeError
from hippy.identity import Identity, load_keyfile
from hippy.net.plan import NodePlan, load_plan
from hippy.transport.client import Call, Http, Peer, open_http
from hippy.wire.object import BucketAnswer, BucketRequest, BucketRow
from hippy.wire.validators import VALIDATORS_BYTES_MAX, Validators
from tests.e2e.conftest import running
from tests.e2e.local import Shell, same_tree, write_tree

pytestmark = pytest.mark.e2e

CLOCK = SystemClock()


@pytest.fixture
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A network of three validators to break."""
    with running(tmp_path_factory.mktemp("home"), 5, validators=3) as shell:
        yield shell


def node(shell: Shell, number: int) -> tuple[NodePlan, Peer]:
    """Return a validator and how to reach it."""
    plan = load_plan(shell.net_dir)
    assert plan is not None
    found = plan.node(f"validator{number}")
    return found, Peer(found.endpoint, load_keyfile(plan.hotkey_file(found)).public_key)


def credentials(shell: Shell, number: int = 1) -> Credentials:
    """Return the account's credentials, with this validator in the place of its home."""
    found = load_credentials(network_credentials(shell.net_dir))
    _, peer = node(shell, number)
    return replace(found, validator_endpoint=peer.endpoint, validator_hotkey=peer.hotkey)


async def make_bucket(http: Http, shell: Shell, number: int) -> BucketAnswer:
    """Make a bucket at a validator; the name is any ciphertext."""
    ours = credentials(shell)
    account = Identity.from_seed(ours.seed)
    row = BucketRow(account=account.public_key, bucket=os.urandom(32), action="create", time=int(CLOCK.now()))
    request = BucketRequest(
        request_id=os.urandom(16), account=account.public_key, row=row.signed(account, ours.network)
    )
    _, peer = node(shell, number)
    return BucketAnswer.parse(await http.bytes(peer, Call("POST", "/v1/buckets/write", request.encode())))


async def test_what_one_validator_acknowledged_the_others_answer_when_it_is_gone(shell: Shell, tmp_path: Path) -> None:
    source = tmp_path / "source"
    write_tree(source, large=False)
    (source / "big.bin").write_bytes(os.urandom(3_000_000))
    shell.run("put", "-r", "--ec", "2/4", source, "hippy://b/d/")
    ours = credentials(shell)
    async with open_http(Identity.from_seed(ours.seed), CLOCK) as http:
        answer = await make_bucket(http, shell, 1)
        assert answer.copies == 3
        assert {ack.follower for ack in answer.acks} == {node(shell, number)[1].hotkey for number in (2, 3)}
        for ack in answer.acks:
            ack.check_signature(ack.follower, ours.network)
        with pytest.raises(NotHomeError):
            await make_bucket(http, shell, 2)

        shell.run("net", "kill", "validator1")
        for number in (2, 3):
            into = tmp_path / f"from {number}"
            async with AsyncClient.open(credentials(shell, number)) as sdk:
                await sdk.get_dir("hippy://b/d/", into)
            assert same_tree(source, into)

        shell.run("net", "start", "validator1")
        assert (await make_bucket(http, shell, 1)).copies == 3
        _, peer = node(shell, 2)
        call = Call("GET", "/v1/validators", answer_bytes_max=VALIDATORS_BYTES_MAX)
        listed = await http.message(peer, call, Validators)
        assert [entry.state for entry in listed.validators] == ["live"] * 3
