"""Tickets under one grant: every path leads to the root, and no other ticket has one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hippy.errors import AuthError, ProtocolError
from hippy.hashing import dk, keyed
from hippy.identity import Identity
from hippy.ids import Root
from hippy.proofs.ranges import prove
from hippy.proofs.tree import TreeHasher
from hippy.wire import ticket as ticket_module
from hippy.wire.ticket import TICKET_HASHER, Ticket, TicketProof, prove_tickets, tickets_root
from tests.wire.samples import NETWORK, OTHER_NETWORK, VALIDATOR, grant, ticket

HEADER_BYTES_MAX = 7_168
STRANGER = Identity.from_seed(b"x" * 32)


def proofs(count: int) -> list[TicketProof]:
    tickets = [ticket(index) for index in range(count)]
    return prove_tickets(tickets, grant(tickets_root(tickets, NETWORK), count), NETWORK)


PROOFS = proofs(11)
PROOF = PROOFS[9]  # a sibling to the left, one to the right, a promotion, and one to the left again


def with_ticket(**changes: object) -> TicketProof:
    return PROOF.model_copy(update={"ticket": PROOF.ticket.model_copy(update=changes)})


def test_grant_of_one_ticket_names_its_leaf() -> None:
    one = ticket()
    assert tickets_root([one], NETWORK) == keyed(dk("ticket-leaf"), one.id(NETWORK))


def test_root_over_three_tickets_is_built_as_the_protocol_says() -> None:
    leaves = [keyed(dk("ticket-leaf"), ticket(index).id(NETWORK)) for index in range(3)]
    left = keyed(dk("ticket-node"), leaves[0] + leaves[1])
    top = keyed(dk("ticket-node"), left + leaves[2])
    assert tickets_root([ticket(index) for index in range(3)], NETWORK) == top


@pytest.mark.parametrize("count", range(1, 41))
def test_every_ticket_of_an_allocation_verifies(count: int) -> None:
    made = proofs(count)
    assert [proof.position for proof in made] == list(range(count))
    for index, proof in enumerate(made):
        assert TicketProof.parse(proof.encode()) == proof
        assert proof.check(NETWORK) == ticket(index).id(NETWORK)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 24, 33])
def test_paths_are_the_range_proofs_of_one_leaf(count: int) -> None:
    leaves = [TICKET_HASHER.leaf(ticket(index).id(NETWORK)) for index in range(count)]
    slow = [tuple(prove(leaves, position, 1, TICKET_HASHER)) for position in range(count)]
    assert [proof.siblings for proof in proofs(count)] == slow


def test_proving_hashes_each_node_once(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = 0

    def node(left: bytes, right: bytes) -> bytes:
        nonlocal nodes
        nodes += 1
        return keyed(dk("ticket-node"), left, right)

    monkeypatch.setattr(ticket_module, "TICKET_HASHER", TreeHasher(TICKET_HASHER.leaf, node))
    prove_tickets([ticket(index) for index in range(200)], grant(b"r" * 32, 200), NETWORK)
    assert nodes == 199


@pytest.mark.parametrize(
    "changes",
    [
        {"serial": 1},
        {"netuid": 8},
        {"term": 2},
        {"root": Root(b"r" * 32)},
        {"piece_length": 1},
        {"pay_class": "canary"},
        {"keep_until": None},
        {"endpoint": replace(PROOF.ticket.endpoint, port=1)},
        {"miner": STRANGER.public_key},
        {"account": STRANGER.public_key},
    ],
)
def test_altered_ticket_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(AuthError, match="the grant does not cover this ticket"):
        with_ticket(**changes).check(NETWORK)


def test_every_altered_sibling_is_refused() -> None:
    assert len(PROOF.siblings) == 3
    for at in range(3):
        siblings = list(PROOF.siblings)
        siblings[at] = bytes(32)
        with pytest.raises(AuthError):
            PROOF.model_copy(update={"siblings": tuple(siblings)}).check(NETWORK)


def test_siblings_in_another_order_are_refused() -> None:
    with pytest.raises(AuthError):
        PROOF.model_copy(update={"siblings": PROOF.siblings[::-1]}).check(NETWORK)


@pytest.mark.parametrize("count", [0, 2, 4])
def test_another_number_of_siblings_is_refused(count: int) -> None:
    siblings = (PROOF.siblings + PROOF.siblings)[:count]
    with pytest.raises(ProtocolError, match="siblings where it takes 3"):
        PROOF.model_copy(update={"siblings": siblings}).check(NETWORK)


@pytest.mark.parametrize("position", [0, 8, 10, 11, 65_535])
def test_another_position_is_refused(position: int) -> None:
    with pytest.raises((AuthError, ProtocolError)):
        PROOF.model_copy(update={"position": position}).check(NETWORK)


@pytest.mark.parametrize("count", [1, 9, 10, 12, 16_320])
def test_another_count_is_refused(count: int) -> None:
    recounted = PROOF.grant.model_copy(update={"ticket_count": count})
    with pytest.raises((AuthError, ProtocolError)):
        PROOF.model_copy(update={"grant": recounted}).check(NETWORK)


def test_every_position_but_its_own_is_refused() -> None:
    accepted = []
    for position in range(11):
        try:
            PROOF.model_copy(update={"position": position}).check(NETWORK)
        except (AuthError, ProtocolError):
            continue
        accepted.append(position)
    assert accepted == [9]


def test_grant_of_another_validator_covers_nothing() -> None:
    root = PROOF.grant.tickets_root
    foreign = PROOF.model_copy(update={"grant": grant(root, 11, signer=STRANGER)})
    with pytest.raises(AuthError, match="the grant does not cover this ticket"):
        foreign.check(NETWORK)


def test_grant_signed_by_a_stranger_in_the_validators_name_is_refused() -> None:
    forged = PROOF.grant.model_copy(update={"signature": STRANGER.sign(PROOF.grant.id(NETWORK))})
    with pytest.raises(AuthError, match="not signed by"):
        PROOF.model_copy(update={"grant": forged}).check(NETWORK)


def test_grant_of_another_network_is_refused() -> None:
    with pytest.raises(AuthError):
        PROOF.check(OTHER_NETWORK)


def test_node_of_the_tree_does_not_pass_for_a_ticket() -> None:
    """A path one level short would prove an inner node, were leaves and nodes hashed alike."""
    short = PROOF.model_copy(update={"position": PROOF.position // 2, "siblings": PROOF.siblings[1:]})
    recounted = short.model_copy(update={"grant": grant(PROOF.grant.tickets_root, 6)})
    with pytest.raises(AuthError):
        recounted.check(NETWORK)


def test_header_of_the_largest_allocation_fits_its_limit() -> None:
    widest = ticket(
        254,
        serial=2**53 - 1,
        netuid=65_535,
        term=2**32 - 1,
        piece_length=4_194_304,
        upload_by=2**53 - 1,
        keep_until=2**53 - 1,
        pay_class="unpaid",
    )
    proof = TicketProof(ticket=widest, position=16_319, siblings=(b"s" * 32,) * 14, grant=grant(b"r" * 32, 16_320))
    assert len(proof.encode()) < HEADER_BYTES_MAX


def test_ticket_id_keeps_its_frozen_value() -> None:
    assert ticket().id(NETWORK).hex() == "42990c8f2b15310bbc020088bcfea0d1d4998ef13caab2df72aa952b91c0f5b4"
    assert isinstance(ticket(), Ticket)
    assert ticket().validator == VALIDATOR.public_key
