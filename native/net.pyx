# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Socket addresses between text and the kernel's form."""

import socket
import sys

from libc.stdint cimport uint32_t
from libc.string cimport memcpy, memset

from native.clib cimport AF_INET, AF_INET6


cdef int address_fill(Address *a, str ip, int port) except -1:
    """Writes `ip` (IPv4, or IPv6 with an optional %zone) and `port` (0..65535). Raises ValueError for anything else."""
    cdef bytes packed
    cdef unsigned short family
    cdef uint32_t scope = 0
    if not 0 <= port <= 65535:
        raise ValueError(f"{port} is not a UDP port: expected 0 to 65535")
    host, _, zone = ip.partition("%")
    family = AF_INET6 if ":" in host else AF_INET
    try:
        packed = socket.inet_pton(family, host)
        if zone:
            scope = int(zone) if zone.isdigit() else socket.if_nametoindex(zone)
    except (OSError, OverflowError):
        raise ValueError(f"{ip!r} is not an IPv4 or IPv6 address") from None
    if zone and family == AF_INET:
        raise ValueError(f"{ip!r} has a zone, which only IPv6 addresses have")
    memset(a, 0, sizeof(Address))
    a.size = 28 if family == AF_INET6 else 16
    memcpy(a.octets, &family, 2)
    a.octets[2] = <unsigned char>(port >> 8)
    a.octets[3] = <unsigned char>(port & 255)
    memcpy(a.octets + (8 if family == AF_INET6 else 4), <const char *>packed, len(packed))
    if family == AF_INET6:
        memcpy(a.octets + 24, &scope, 4)
    return 0


# --- for Python -------------------------------------------------------------------------------------------------------


def address_of(str ip, int port):
    """The kernel's form of an address: 16 octets for IPv4 (sockaddr_in), 28 for IPv6 (sockaddr_in6).

    Raises ValueError where `ip` is no address or `port` not 0..65535.
    """
    cdef Address a
    address_fill(&a, ip, port)
    return (<char *>a.octets)[:a.size]


def text_of(bytes octets):
    """(ip, port) of what `address_of` gives; an IPv6 zone is left out. Raises ValueError for other octets."""
    if len(octets) == 16 and int.from_bytes(octets[:2], sys.byteorder) == AF_INET:
        return socket.inet_ntop(AF_INET, octets[4:8]), int.from_bytes(octets[2:4], "big")
    if len(octets) == 28 and int.from_bytes(octets[:2], sys.byteorder) == AF_INET6:
        return socket.inet_ntop(AF_INET6, octets[8:24]), int.from_bytes(octets[2:4], "big")
    raise ValueError(f"{len(octets)} octets that are neither sockaddr_in nor sockaddr_in6")


def same(bytes a, bytes b):
    """Whether two addresses in the kernel's form have the same family, port and address."""
    cdef Address x, y
    text_of(a), text_of(b)
    x.size, y.size = len(a), len(b)
    memcpy(x.octets, <const char *>a, x.size)
    memcpy(y.octets, <const char *>b, y.size)
    return bool(address_same(&x, &y)) and address_port(&x) == address_port(&y)
