"""Messages have one spelling, an id with a domain, and signatures that cover everything but themselves."""

from __future__ import annotations

import json
import pkgutil
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hippy.wire
from hippy.errors import AuthError, ProtocolError, TooLargeError
from hippy.hashing import dk, keyed
from hippy.identity import Identity
from hippy.ids import PublicKey
from hippy.wire.canonical import CLOCK_TOLERANCE_SECONDS, Message, SignedMessage, check_time
from hippy.wire.fields import INTEGER_MAX, Bytes32, Count, Text
from hippy.wire.node import EncryptionKey, Hello, MinerEntry
from tests.wire.samples import (
    ACCOUNT,
    CANDIDATE,
    ENTRY,
    HOLDING,
    KEY,
    MESSAGES,
    MINER,
    NETWORK,
    OTHER_NETWORK,
    REFUSAL,
    TIME,
    VALIDATOR,
)

quick = settings(derandomize=True, deadline=None, max_examples=300)
every_message = pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.TYPE)


class Probe(Message):
    """A message with little in it, to misspell."""

    TYPE = "probe"
    count: Count
    key: Bytes32
    text: Text | None = None


KEY_HEX = "ab" * 32
GOOD = f'{{"count":12,"key":"{KEY_HEX}","text":"x"}}'


def plain(message: Message) -> dict[str, Any]:
    values = json.loads(message.encode())
    assert isinstance(values, dict)
    return values


def spell(values: object) -> bytes:
    """The canonical spelling, written down a second time."""
    return json.dumps(values, sort_keys=True, separators=(",", ":")).encode()


def subclasses(base: type[Message]) -> Iterator[type[Message]]:
    for child in base.__subclasses__():
        if child.__module__.startswith("hippy.") and hasattr(child, "TYPE"):
            yield child
        yield from subclasses(child)


@every_message
def test_message_survives_the_wire(message: Message) -> None:
    raw = message.encode()
    assert type(message).parse(raw) == message
    assert raw == spell(json.loads(raw))


@every_message
def test_every_required_field_is_missed(message: Message) -> None:
    values = plain(message)
    for name in values:
        shorter = spell({key: value for key, value in values.items() if key != name})
        field = type(message).model_fields[name]
        if field.default is None:
            assert type(message).parse(shorter).encode() == shorter
        else:
            with pytest.raises(ProtocolError):
                type(message).parse(shorter)


@every_message
def test_no_field_takes_another_kind_of_value(message: Message) -> None:
    values = plain(message)
    for name in values:
        bad: object
        for bad in (None, True, 1.5, -1, 2**53, [-1], [None], [[]], {"a": 1}, "\x7f", "\n", "é", "AB" * 300):
            with pytest.raises(ProtocolError):
                type(message).parse(spell({**values, name: bad}))


@every_message
def test_extra_field_is_refused(message: Message) -> None:
    with pytest.raises(ProtocolError):
        type(message).parse(spell({**plain(message), "zzz": 1}))


def test_every_message_type_is_tried_here_and_has_a_name_of_its_own() -> None:
    for module in pkgutil.iter_modules(hippy.wire.__path__, "hippy.wire."):
        import_module(module.name)
    kinds = {kind for kind in subclasses(Message) if kind.__module__.startswith("hippy.wire.")}
    assert kinds == {type(message) for message in MESSAGES}
    assert len({kind.TYPE for kind in kinds}) == len(kinds)


def test_good_probe_is_accepted() -> None:
    assert Probe.parse(GOOD.encode()) == Probe(count=12, key=bytes.fromhex(KEY_HEX), text="x")


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "null",
        "{}",
        "[]",
        "12",
        '"x"',
        GOOD + " ",
        GOOD + "\n",
        " " + GOOD,
        GOOD + GOOD,
        GOOD[:-1],
        "\ufeff" + GOOD,
        GOOD.replace(",", ", "),
        GOOD.replace(":", ": "),
        f'{{"key":"{KEY_HEX}","count":12,"text":"x"}}',
        GOOD.replace('"count":12', '"count":12,"count":12'),
        GOOD.replace('"count":12', '"count":11,"count":12'),
        GOOD.replace('"text":"x"', '"text":null'),
        GOOD.replace('"text":"x"', '"text":"\\u0078"'),
        GOOD.replace('"text":"x"', '"text":"\\u00e9"'),
        GOOD.replace('"text":"x"', '"text":"\\ud800"'),
        GOOD.replace('"text":"x"', '"text":"\\/"'),
        GOOD.replace('"text":"x"', '"text":"\\n"'),
        GOOD.replace('"text":"x"', '"text":"é"'),
        GOOD.replace('"text":"x"', '"text":"\x7f"'),
        GOOD.replace('"text":"x"', '"text":"' + "x" * 257 + '"'),
        GOOD.replace('"text"', '"te\\u0078t"'),
        GOOD.replace('"text"', '"\\ud800"'),
        GOOD.replace('"x"', "7"),
        *(
            GOOD.replace(":12", f":{value}")
            for value in [
                "12.0",
                "1.2e1",
                "1e3",
                "1E400",
                "-12",
                "-0",
                "012",
                "+12",
                "0x12",
                "NaN",
                "Infinity",
                "-Infinity",
                "true",
                "null",
                '"12"',
                "[12]",
                str(INTEGER_MAX + 1),
                str(10**400),
                "1" * 60_000,
                "",
            ]
        ),
        GOOD.replace(KEY_HEX, KEY_HEX.upper()),
        GOOD.replace(KEY_HEX, KEY_HEX[:-1]),
        GOOD.replace(KEY_HEX, KEY_HEX[:-2]),
        GOOD.replace(KEY_HEX, KEY_HEX + "ab"),
        GOOD.replace(KEY_HEX, "0x" + KEY_HEX),
        GOOD.replace(KEY_HEX, KEY_HEX[:-2] + " a"),
        GOOD.replace(KEY_HEX, KEY_HEX[:-1] + "\n"),
        GOOD.replace(KEY_HEX, KEY_HEX[:-1] + "g"),
    ],
)
def test_second_spelling_is_refused(raw: str) -> None:
    with pytest.raises(ProtocolError):
        Probe.parse(raw.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("depth", [10, 200, 450, 490, 600, 900, 990, 5_000, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_nesting_of_any_depth_is_refused(depth: int, opening: str, closing: str) -> None:
    nested = opening * depth + "1" + closing * depth
    for raw in (nested, GOOD.replace('"x"', nested), opening * depth):
        with pytest.raises(ProtocolError):
            Probe.parse(raw.encode(), limit=2**20)


def test_message_is_measured_before_it_is_read() -> None:
    raw = GOOD.encode()
    assert Probe.parse(raw, limit=len(raw)).count == 12
    with pytest.raises(TooLargeError, match=f"at most {len(raw) - 1} bytes, this one {len(raw)}"):
        Probe.parse(raw, limit=len(raw) - 1)
    with pytest.raises(TooLargeError):
        Probe.parse(b"[" * 65_537)


def test_largest_integer_is_accepted() -> None:
    raw = GOOD.replace(":12", f":{INTEGER_MAX}").encode()
    assert Probe.parse(raw).count == INTEGER_MAX


def test_refusal_is_short_and_names_the_place() -> None:
    with pytest.raises(ProtocolError, match=r"bad probe message: key: ") as caught:
        Probe.parse(GOOD.replace(KEY_HEX, "x" * 60_000).encode())
    assert len(caught.value.message) < 400
    with pytest.raises(ProtocolError) as caught:
        Probe.parse(GOOD.replace('"text"', '"' + "y" * 60_000 + '"').encode())
    assert len(caught.value.message) < 400


@quick
@given(raw=st.binary(max_size=300) | st.text(alphabet='{}[]":,0123e\\u \ntextcoun', max_size=100).map(str.encode))
def test_arbitrary_bytes_are_a_message_or_a_protocol_error(raw: bytes) -> None:
    for kind in (Probe, Hello):
        try:
            assert kind.parse(raw).encode() == raw
        except ProtocolError:
            continue


@quick
@given(data=st.data())
def test_mutated_message_is_that_spelling_or_a_protocol_error(data: st.DataObject) -> None:
    message = data.draw(st.sampled_from(MESSAGES))
    raw = bytearray(message.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw) - 1))
        end = at + data.draw(st.integers(0, 4))
        raw[at:end] = data.draw(
            st.binary(max_size=4) | st.sampled_from([b"null", b"true", b"1e9", b"{}", b'"', b"\\u0041", b'"x":1,'])
        )
        if not raw:
            return
    try:
        assert type(message).parse(bytes(raw)).encode() == bytes(raw)
    except ProtocolError:
        return


@quick
@given(
    text=st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=256),
    count=st.integers(0, INTEGER_MAX),
    key=st.binary(min_size=32, max_size=32),
)
def test_every_printable_value_survives_the_wire(text: str, count: int, key: bytes) -> None:
    probe = Probe(count=count, key=key, text=text)
    assert Probe.parse(probe.encode()) == probe


@pytest.mark.parametrize(
    "endpoint",
    [
        "1.2.3.4:080",
        "01.2.3.4:80",
        "1.2.3.4:0",
        "1.2.3.4:65536",
        "host:80",
        "[2001:DB8::1]:80",
        "[2001:db8:0::1]:80",
        "2001:db8::1:80",
        "[2001:db8::1%eth0]:80",
        "[2001:db8::1%é]:80",
        "1.2.3.4",
        "",
        "1.2.3.4:\uff18\uff10",
        "[1.2.3.4]:80",
    ],
)
def test_second_spelling_of_an_endpoint_is_refused(endpoint: str) -> None:
    assert MinerEntry.parse(spell(plain(ENTRY)))
    with pytest.raises(ProtocolError):
        MinerEntry.parse(spell({**plain(ENTRY), "endpoint": endpoint}))


@pytest.mark.parametrize("message", [ENTRY, HOLDING, CANDIDATE], ids=lambda message: message.TYPE)
def test_zero_key_is_no_key(message: Message) -> None:
    for name in {"hotkey", "miner"} & set(plain(message)):
        with pytest.raises(ProtocolError, match="all-zero key"):
            type(message).parse(spell({**plain(message), name: "00" * 32}))


def test_id_is_the_keyed_hash_of_network_and_body_without_signature() -> None:
    values = plain(REFUSAL)
    del values["signature"]
    assert REFUSAL.id(NETWORK) == keyed(dk("msg/refusal"), NETWORK + spell(values))


def test_id_keeps_its_frozen_value() -> None:
    probe = Probe(count=12, key=bytes.fromhex(KEY_HEX), text="x")
    assert probe.id(NETWORK).hex() == "f918216fb6c2ebcac014d6191c2f15fb7424dd36354b6e4a0461f4f647490331"


def test_id_depends_on_type_and_network() -> None:
    class Twin(Probe):
        TYPE = "twin"

    values: dict[str, Any] = {"count": 1, "key": bytes(32)}
    ids = {Probe(**values).id(NETWORK), Twin(**values).id(NETWORK), Probe(**values).id(OTHER_NETWORK)}
    assert len(ids) == 3


def test_inner_signature_is_part_of_the_id() -> None:
    message = next(message for message in MESSAGES if isinstance(message, Hello))
    resigned = message.model_copy(update={"encryption_key": KEY.model_copy(update={"signature": bytes(64)})})
    assert resigned.id(NETWORK) != message.id(NETWORK)
    assert message.model_copy(update={"signature": bytes(64)}).id(NETWORK) == message.id(NETWORK)


SIGNED: list[tuple[SignedMessage, Identity]] = [
    (message, owner)
    for message in MESSAGES
    if isinstance(message, SignedMessage)
    for owner in (VALIDATOR, MINER, ACCOUNT)
    if owner.public_key in [value for _, value in message]
]


@pytest.mark.parametrize(("message", "owner"), SIGNED, ids=lambda value: getattr(value, "TYPE", ""))
def test_signature_holds_for_its_signer_network_and_type_alone(message: SignedMessage, owner: Identity) -> None:
    message.check_signature(owner.public_key, NETWORK)
    other = next(identity for identity in (VALIDATOR, MINER, ACCOUNT) if identity is not owner)
    with pytest.raises(AuthError, match=f"the {message.TYPE} message is not signed by"):
        message.check_signature(other.public_key, NETWORK)
    with pytest.raises(AuthError):
        message.check_signature(owner.public_key, OTHER_NETWORK)


@pytest.mark.parametrize(("message", "owner"), SIGNED, ids=lambda value: getattr(value, "TYPE", ""))
def test_signature_covers_every_field(message: SignedMessage, owner: Identity) -> None:
    def altered(value: object) -> object:
        match value:
            case int():
                return value + 1
            case bytes():
                return bytes([value[0] ^ 1]) + value[1:]
            case tuple():
                return value[:-1]
        return None

    for name, value in message:
        with pytest.raises(AuthError):
            message.model_copy(update={name: altered(value)}).check_signature(owner.public_key, NETWORK)


def sign_raw(sign: Callable[[bytes], bytes]) -> EncryptionKey:
    return KEY.model_copy(update={"signature": sign(KEY.id(NETWORK))})


def test_signature_over_wrapped_bytes_is_refused() -> None:
    wrapped = sign_raw(lambda id_: VALIDATOR.sign(b"<Bytes>" + id_ + b"</Bytes>"))
    with pytest.raises(AuthError):
        wrapped.check_signature(VALIDATOR.public_key, NETWORK)


@pytest.mark.parametrize("signature", [bytes(64), b"\x80" * 64, bytes(63) + b"\x80", b"\xff" * 64])
def test_zero_key_signs_nothing(signature: bytes) -> None:
    forged = sign_raw(lambda _: signature)
    with pytest.raises(AuthError):
        forged.check_signature(PublicKey(bytes(32)), NETWORK)


def test_time_may_be_two_minutes_off_and_no_more() -> None:
    for offset in (-CLOCK_TOLERANCE_SECONDS, 0, CLOCK_TOLERANCE_SECONDS):
        check_time(TIME + offset, TIME)
    for offset, told in ((-CLOCK_TOLERANCE_SECONDS - 1, "-121 s off"), (CLOCK_TOLERANCE_SECONDS + 1, r"\+121 s off")):
        with pytest.raises(ProtocolError, match=told):
            check_time(TIME + offset, TIME)


def test_message_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        KEY.key_id = 2  # type: ignore[misc]


@pytest.mark.parametrize("tiny", [b"{},", b"[{}],", b"1,", b'"",', b"[[]],"])
def test_many_tiny_values_are_refused_before_they_are_parsed(tiny: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    honest, here = json.loads, threading.get_ident()

    def never(*args: Any, **kwargs: Any) -> object:
        if threading.get_ident() == here:  # nodes that other tests run in threads of this process go on parsing
            raise AssertionError("it was parsed")
        return honest(*args, **kwargs)

    monkeypatch.setattr("hippy.wire.canonical.json.loads", never)
    with pytest.raises(ProtocolError, match="too many values"):
        Hello.parse(b"[" + tiny * 100_000 + b"0]", limit=2**22)
