"""The PROXY protocol's header: what each form says, what is refused, whole and byte by byte."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgiserve.errors import RemoteProtocolError
from asgiserve.events import NEED_DATA, NeedData
from asgiserve.protocols.proxy import MAX_PREFACE, Preface, read_preface

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
BEHIND = b"GET / HTTP/1.1\r\n"


def v2(block: bytes, *, family: int = 0x11, command: int = 0x21) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(block)) + block


def ends(client: str, server: str, client_port: int = 56324, server_port: int = 443) -> bytes:
    addresses = ip_address(client).packed + ip_address(server).packed
    return addresses + struct.pack("!HH", client_port, server_port)


UNIX = b"/run/client".ljust(108, b"\0") + b"/run/app.sock".ljust(108, b"\0")
TLVS = b"\x01\x00\x02h2" + b"\x04\x00\x00" + b"\xee\x00\x05hello"

GOOD = [
    (b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n", (("192.0.2.1", 56324), ("198.51.100.7", 443))),
    (b"PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n", (("255.255.255.255", 65535), ("0.0.0.0", 0))),
    (b"PROXY TCP6 2001:DB8::1 ::1 56324 443\r\n", (("2001:db8::1", 56324), ("::1", 443))),
    (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", (("192.0.2.1", 1), ("::1", 2))),
    (b"PROXY TCP6 %s %s 65535 65535\r\n" % (b":".join([b"ffff"] * 8), b":".join([b"fffe"] * 8)), ()),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN whatever it says\x00\r\n", None),
    (b"PROXY UNKNOWN %s\r\n" % (b"x" * 91), None),
    (v2(ends("192.0.2.1", "198.51.100.7")), (("192.0.2.1", 56324), ("198.51.100.7", 443))),
    (v2(ends("2001:db8::1", "::1"), family=0x21), (("2001:db8::1", 56324), ("::1", 443))),
    (v2(ends("::ffff:192.0.2.1", "::1"), family=0x21), (("192.0.2.1", 56324), ("::1", 443))),
    (v2(ends("192.0.2.1", "198.51.100.7") + TLVS), (("192.0.2.1", 56324), ("198.51.100.7", 443))),
    (v2(UNIX, family=0x31), (None, ("/run/app.sock", None))),
    (v2(b"\0" * 216 + TLVS, family=0x31), (None, ("", None))),
    (v2(b"", family=0x00, command=0x20), None),
    (v2(ends("192.0.2.1", "198.51.100.7"), command=0x20), None),
    (v2(b"short", command=0x20), None),
    (v2(b"", family=0x00), None),
    (v2(b"anything", family=0x01), None),
    (v2(ends("192.0.2.1", "198.51.100.7"), family=0x12), None),
    (v2(UNIX, family=0x32), None),
    (v2(b"\0" * 2048, family=0x00), None),
]

BAD = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"proxy TCP4 192.0.2.1 198.51.100.7 56324 443\r\n",
    b"PROXY\r\n",
    b"PROXY \r\n",
    b"PROXY TCP4\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.7 56324\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443 \r\n",
    b"PROXY TCP4  192.0.2.1 198.51.100.7 56324 443\r\n",
    b"PROXY TCP4\t192.0.2.1 198.51.100.7 56324 443\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\n" + b"x" * 70,
    b"PROXY TCP4 192.0.2.1 198.51.100.7 056324 443\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.7 65536 443\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.7 +1 443\r\n",
    b"PROXY TCP4 192.0.2.01 198.51.100.7 1 443\r\n",
    b"PROXY TCP4 192.0.2 198.51.100.7 1 443\r\n",
    b"PROXY TCP4 ::1 ::1 1 443\r\n",
    b"PROXY TCP6 192.0.2.1 198.51.100.7 1 443\r\n",
    b"PROXY TCP6 fe80::1%eth0 ::1 1 443\r\n",
    b"PROXY TCP5 192.0.2.1 198.51.100.7 1 443\r\n",
    b"PROXY UDP4 192.0.2.1 198.51.100.7 1 443\r\n",
    b"PROXY unknown\r\n",
    b"PROXY UNKNOWNS\r\n",
    b"PROXY UNKNOWN %s\r\n" % (b"x" * 92),
    b"PROXY TCP4 " + b"1" * 200,
    SIGNATURE[:-1] + b"\r",
    v2(ends("192.0.2.1", "198.51.100.7"), command=0x11),
    v2(ends("192.0.2.1", "198.51.100.7"), command=0x22),
    v2(ends("192.0.2.1", "198.51.100.7"), family=0x13),
    v2(ends("192.0.2.1", "198.51.100.7"), family=0x41),
    v2(ends("192.0.2.1", "198.51.100.7")[:-1]),
    v2(ends("192.0.2.1", "198.51.100.7"), family=0x21),
    v2(UNIX[:-1], family=0x31),
    v2(b"\0" * 2049),
    v2(b"\0" * 65535, family=0x00, command=0x20),
]


def expected(told: object, length: int) -> Preface:
    if told is None:
        return Preface(length, known=False)
    client, server = told  # type: ignore[misc]
    return Preface(length, known=True, client=client, server=server)


@pytest.mark.parametrize(("wire", "told"), [(wire, told) for wire, told in GOOD if told != ()])
def test_a_header_tells_the_two_ends(wire: bytes, told: object) -> None:
    assert read_preface(wire) == expected(told, len(wire))
    assert read_preface(wire + BEHIND) == expected(told, len(wire))


def test_the_longest_line_of_version_1_is_read() -> None:
    wire = next(wire for wire, told in GOOD if told == ())
    assert len(wire) == 104
    assert isinstance(read_preface(wire), Preface)


@pytest.mark.parametrize("wire", [wire for wire, _ in GOOD])
def test_a_header_is_read_once_it_is_complete(wire: bytes) -> None:
    for end in range(len(wire)):
        assert read_preface(wire[:end]) is NEED_DATA, wire[:end]


@pytest.mark.parametrize("wire", BAD)
def test_what_is_no_header_is_refused_however_it_is_split(wire: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        read_preface(wire)
    for end in range(len(wire)):
        try:
            part = read_preface(wire[:end])
        except RemoteProtocolError:
            break
        assert part is NEED_DATA


@pytest.mark.parametrize("first", [b"G", b"\x16\x03\x01", b"PRI * HTTP/2.0", b"\r\nG", b"\x00"])
def test_what_begins_otherwise_is_refused_at_once(first: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        read_preface(first)


BEGINNINGS = st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 1.2.3.4 ", b"PROXY UNKNOWN", SIGNATURE, SIGNATURE + b"\x21"])


@given(BEGINNINGS, st.binary(max_size=300))
def test_any_bytes_are_read_refused_or_waited_for(beginning: bytes, rest: bytes) -> None:
    wire = beginning + rest
    try:
        preface = read_preface(wire)
    except RemoteProtocolError:
        return
    if isinstance(preface, NeedData):
        assert len(wire) < MAX_PREFACE
    else:
        assert read_preface(wire[: preface.length]) == preface
        assert read_preface(wire + BEHIND) == preface


@given(BEGINNINGS, st.binary(min_size=MAX_PREFACE, max_size=MAX_PREFACE + 10))
def test_with_so_many_bytes_all_is_decided(beginning: bytes, rest: bytes) -> None:
    try:
        assert isinstance(read_preface(beginning + rest), Preface)
    except RemoteProtocolError:
        pass
