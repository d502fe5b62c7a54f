"""Endpoints: one spelling, numeric only, and which of them a stranger may name."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hippy.endpoint import Endpoint
from hippy.errors import ProtocolError

MAPPED = ip_network("::ffff:0:0/96")
"""IPv4 addresses in IPv6 clothes, which no endpoint wears."""

ADDRESSES = st.ip_addresses().filter(lambda address: address not in MAPPED).map(lambda address: address.compressed)
ENDPOINTS = st.builds(Endpoint, ADDRESSES, st.integers(1, 65_535))


@given(ENDPOINTS)
def test_printed_endpoint_parses_back(endpoint: Endpoint) -> None:
    assert Endpoint.parse(str(endpoint)) == endpoint
    assert endpoint.url == f"http://{endpoint}"


@given(ENDPOINTS, st.integers(0, 50), st.sampled_from(["", *"0159af.:[]%/@ \n٣"]))
def test_altered_text_is_a_protocol_error_or_its_own_spelling(endpoint: Endpoint, place: int, put: str) -> None:
    text = str(endpoint)[:place] + put + str(endpoint)[place + 1 :]
    try:
        endpoint = Endpoint.parse(text)
    except ProtocolError:
        return
    assert str(endpoint) == text


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.7.1:4000", "127.0.7.1", 4000),
        ("8.8.8.8:1", "8.8.8.8", 1),
        ("[::1]:65535", "::1", 65_535),
        ("[2001:db8::1]:80", "2001:db8::1", 80),
    ],
)
def test_both_families_parse(text: str, host: str, port: int) -> None:
    assert Endpoint.parse(text) == Endpoint(host, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":80",
        "1.2.3.4",
        "1.2.3.4:",
        "1.2.3.4:0",
        "1.2.3.4:65536",
        "1.2.3.4:080",
        "1.2.3.4:+80",
        "1.2.3.4: 80",
        "1.2.3.4:80 ",
        " 1.2.3.4:80",
        "1.2.3.4:80\n",
        "1.2.3.4:٨٠",
        "1.2.3.4:" + "9" * 5000,
        "01.2.3.4:80",
        "1.2.3:80",
        "16909060:80",
        "0x1.2.3.4:80",
        "[1.2.3.4]:80",
        "2001:db8::1:80",
        "[2001:DB8::1]:80",
        "[2001:db8:0:0:0:0:0:1]:80",
        "[2001:db8::0001]:80",
        "[::ffff:1.2.3.4]:80",
        "[[::1]]:80",
        "[::1:80",
        "localhost:80",
        "example.org:80",
        "user@1.2.3.4:80",
        "1.2.3.4/8:80",
        "http://1.2.3.4:80",
    ],
)
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(ProtocolError):
        Endpoint.parse(text)


@pytest.mark.parametrize(("host", "port"), [("1.2.3.4", 0), ("1.2.3.4", 65_536), ("::0001", 80), ("host", 80)])
def test_impossible_values_are_refused_without_parsing(host: str, port: int) -> None:
    with pytest.raises(ProtocolError):
        Endpoint(host, port)


def test_long_garbage_is_cut_in_the_message() -> None:
    with pytest.raises(ProtocolError) as caught:
        Endpoint.parse("x" * 100_000 + ":80")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("host", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "2a00:1450:4001::1"])
def test_routable_addresses_are_public(host: str) -> None:
    assert Endpoint(host, 80).is_public
    assert not Endpoint(host, 80).is_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.7.1", "127.255.255.254", "::1"])
def test_loopback_is_loopback_and_not_public(host: str) -> None:
    assert Endpoint(host, 80).is_loopback
    assert not Endpoint(host, 80).is_public


@pytest.mark.parametrize(
    "host",
    [
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "224.0.0.1",
        "239.1.2.3",
        "255.255.255.255",
        "198.18.0.1",
        "203.0.113.9",
        "240.0.0.1",
        "::",
        "fe80::1",
        "fc00::1",
        "fd12:3456::1",
        "ff02::1",
        "ff0e::1",
        "2001:db8::1",
    ],
)
def test_addresses_inside_anybodys_network_are_not_public(host: str) -> None:
    assert not Endpoint(host, 80).is_public


@given(st.ip_addresses(v=4), st.integers(0, 255), st.integers(1, 65_535))
def test_group_of_an_ipv4_address_is_its_slash_24(address: object, last: int, port: int) -> None:
    first_three = str(address).rsplit(".", 1)[0]
    group = Endpoint(str(address), port).group
    assert group == Endpoint(f"{first_three}.{last}", 80).group
    assert len(group) == 6


@given(st.ip_addresses(v=6), st.integers(0, 2**80 - 1))
def test_group_of_an_ipv6_address_is_its_slash_48(address: object, low: int) -> None:
    high = int.from_bytes(ip_address(str(address)).packed[:6], "big")
    neighbour = ip_address(((high << 80) | low).to_bytes(16, "big")).compressed
    assume(ip_address(neighbour) not in MAPPED and ip_address(str(address)) not in MAPPED)
    group = Endpoint(ip_address(str(address)).compressed, 80).group
    assert group == Endpoint(neighbour, 80).group == f"{high:012x}"


@pytest.mark.parametrize(
    ("one", "two"),
    [("127.0.1.1", "127.0.2.1"), ("2001:db8:1::1", "2001:db8:2::1"), ("32.1.13.1", "2001:d00::1")],
)
def test_different_networks_are_different_groups(one: str, two: str) -> None:
    assert Endpoint(one, 80).group != Endpoint(two, 80).group


@pytest.mark.parametrize("host", ["64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:4136:e378::1"])
def test_an_address_that_carries_another_is_not_public(host: str) -> None:
    assert not Endpoint(ip_address(host).compressed, 80).is_public


def test_a_scoped_address_is_refused() -> None:
    with pytest.raises(ProtocolError, match="scoped"):
        Endpoint.parse("[fe80::1%eth0]:80")


@pytest.mark.parametrize("text", ["[::ffff:1.2.3.4]:80", "[::ffff:102:304]:80"])
def test_an_ipv4_address_has_no_second_spelling(text: str) -> None:
    with pytest.raises(ProtocolError):
        Endpoint.parse(text)
