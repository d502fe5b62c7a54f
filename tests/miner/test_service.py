"""The pure rules about tickets, without sockets, chain or disk."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hippy.errors import AuthError, HippyError, ProtocolError
from hippy.ids import NetworkId, Root
from hippy.miner.service import Here, Upload, check_ticket
from hippy.testing.clock import VirtualClock
from tests.miner.world import ACCOUNT, MINER, NETUID, NETWORK, OTHER, SMALL, grant, piece, ticket

CLOCK = VirtualClock()
NOW = CLOCK.now()
DATA = piece("a")
PROOF = grant(ticket(DATA, CLOCK, upload_by=int(NOW) + 10, keep_until=int(NOW) + 20), CLOCK)
GOOD = Upload(PROOF.ticket.root, SMALL, ACCOUNT.public_key, PROOF)
HERE = Here(NETWORK, NETUID, MINER.public_key)


@pytest.mark.parametrize("later", [-1000, 0, 10])
def test_good_upload_passes(later: int) -> None:
    check_ticket(GOOD, HERE, NOW + later)


ELSEWHERE = [
    replace(HERE, network=NetworkId(b"o" * 32)),
    replace(HERE, netuid=NETUID + 1),
    replace(HERE, miner=OTHER.public_key),
]


@pytest.mark.parametrize("here", ELSEWHERE)
def test_ticket_for_elsewhere_is_refused(here: Here) -> None:
    with pytest.raises(AuthError, match="the ticket is for"):
        check_ticket(GOOD, here, NOW)


def test_upload_is_refused_after_its_last_second() -> None:
    with pytest.raises(AuthError, match="expired"):
        check_ticket(GOOD, HERE, NOW + 10.5)


def test_piece_that_is_owed_no_more_is_refused() -> None:
    late = grant(ticket(DATA, CLOCK, upload_by=int(NOW) + 99, keep_until=int(NOW) + 20), CLOCK)
    with pytest.raises(AuthError, match="owed only until"):
        check_ticket(replace(GOOD, proof=late), HERE, NOW + 21)


CONTRADICTIONS: list[tuple[Upload, type[HippyError]]] = [
    (replace(GOOD, root=Root(b"r" * 32)), ProtocolError),
    (replace(GOOD, content_length=None), ProtocolError),
    (replace(GOOD, content_length=SMALL - 1), ProtocolError),
    (replace(GOOD, content_length=SMALL + 1), ProtocolError),
    (replace(GOOD, sender=OTHER.public_key), AuthError),
]


@pytest.mark.parametrize(("upload", "expected"), CONTRADICTIONS)
def test_upload_that_contradicts_its_ticket_is_refused(upload: Upload, expected: type[HippyError]) -> None:
    with pytest.raises(HippyError) as raised:
        check_ticket(upload, HERE, NOW)
    assert type(raised.value) is expected


def test_checks_come_in_the_order_of_the_protocol() -> None:
    """Everything is wrong; mending one thing after the other uncovers the next (PROTOCOL §3.2)."""
    wrong = Upload(Root(b"r" * 32), 1, OTHER.public_key, PROOF)
    steps: list[tuple[Upload, Here, float, str]] = [
        (wrong, ELSEWHERE[0], NOW + 99, "for network"),
        (wrong, HERE, NOW + 99, "expired"),
        (wrong, HERE, NOW, "path"),
        (replace(wrong, root=GOOD.root), HERE, NOW, "Content-Length"),
        (replace(wrong, root=GOOD.root, content_length=SMALL), HERE, NOW, "another account"),
    ]
    for upload, here, now, told in steps:
        with pytest.raises(HippyError, match=told):
            check_ticket(upload, here, now)
