"""Where a node listens: a numeric address and a port, and which addresses a stranger may name.

Endpoints come from the chain, so from strangers. They are numeric (no resolver is ever asked), public unless
the network is local or private, and used only after a signed handshake (docs/PROTOCOL.md §1).

>>> Endpoint.parse("127.0.7.1:4000").url
'http://127.0.7.1:4000'
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from hippy.errors import ProtocolError

PORT_MAX = 65_535
_NAT64 = IPv6Network("64:ff9b::/96")
_INSIDE = (
    *(IPv4Network("10.0.0.0/8"), IPv4Network("172.16.0.0/12"), IPv4Network("192.168.0.0/16")),  # RFC 1918
    IPv4Network("100.64.0.0/10"),  # RFC 6598, which overlay networks use too
    IPv6Network("fc00::/7"),  # RFC 4193
)


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """A numeric IPv4 or IPv6 address and a TCP port."""

    host: str
    port: int

    def __post_init__(self) -> None:
        if _address(self.host).compressed != self.host or not 1 <= self.port <= PORT_MAX:
            raise ProtocolError(f"not an endpoint: {self.host!r} port {self.port}")

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Parse ``1.2.3.4:80`` or ``[2001:db8::1]:80``.

        Raises ProtocolError unless the text is the one spelling :meth:`__str__` prints.
        """
        host, _, port = text.rpartition(":")
        if not (port.isascii() and port.isdigit() and len(port) <= 5):
            raise ProtocolError(f"not an endpoint: {text[:80]!r}")
        endpoint = cls(host.removeprefix("[").removesuffix("]"), int(port))
        if str(endpoint) != text:
            raise ProtocolError(f"not an endpoint: {text[:80]!r}")
        return endpoint

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash."""
        return f"http://{self}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return _address(self.host).is_loopback

    @property
    def is_inside(self) -> bool:
        """Whether it is an address for use inside somebody's own network, of several machines or of this one.

        Link-local ones are not: they mean something on one link only, and 169.254.169.254 hands out the secrets of a
        cloud's machines.
        """
        address = _address(self.host)
        return address.is_loopback or any(address in network for network in _INSIDE)

    @property
    def is_public(self) -> bool:
        """Whether it is globally routable unicast, so no address inside anybody's network.

        IPv6 addresses that carry an IPv4 one are never public: they reach it through a translator, and it
        may be private.
        """
        address = _address(self.host)
        if isinstance(address, IPv6Address) and _carries_ipv4(address):
            return False
        return address.is_global and not address.is_multicast

    @property
    def group(self) -> str:
        """The /24 (IPv6: /48) it lies in: one operator, as far as placement can tell (PROTOCOL §3)."""
        address = _address(self.host)
        packed = address.packed[: 3 if isinstance(address, IPv4Address) else 6]
        return packed.hex()


def _carries_ipv4(address: IPv6Address) -> bool:
    embedded = address.sixtofour or address.teredo
    return embedded is not None or address in _NAT64


def _address(host: str) -> IPv4Address | IPv6Address:
    if "%" in host:
        raise ProtocolError(f"a scoped address means something on one machine only: {host[:80]!r}")
    try:
        address = ip_address(host)
    except ValueError:
        raise ProtocolError(f"not a numeric address: {host[:80]!r}") from None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        raise ProtocolError(
            f"write the IPv4 address itself: {host[:80]!r}"
        )  # Python 3.11 and 3.13 spell it differently
    return address
