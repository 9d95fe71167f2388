"""Socket addresses as the kernel has them, IPv4 and IPv6 alike."""

from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcmp

from native.clib cimport socklen_t

cdef enum:
    LONGEST = 28            # octets of an address

cdef struct Address:        # sockaddr_in (16 octets) or sockaddr_in6 (28)
    uint8_t octets[LONGEST]
    socklen_t size          # 16, 28, or 0: none

cdef inline int address_port(const Address *a) noexcept nogil:
    """UDP port in host order; 0 where there is no address."""
    return a.octets[2] << 8 | a.octets[3] if a.size else 0


cdef inline bint address_same(const Address *a, const Address *b) noexcept nogil:
    """Family, port and address agree. An IPv6 flow label or zone is not looked at; no address is like none."""
    if a.size != b.size or a.size == 0 or memcmp(a.octets, b.octets, 4) != 0:
        return False
    if a.size == 16:
        return memcmp(a.octets + 4, b.octets + 4, 4) == 0
    return memcmp(a.octets + 8, b.octets + 8, 16) == 0


cdef inline bint address_same_host(const Address *a, const Address *b) noexcept nogil:
    """Family and address agree; the ports may differ."""
    if a.size != b.size or a.size == 0 or memcmp(a.octets, b.octets, 2) != 0:
        return False
    return memcmp(a.octets + (4 if a.size == 16 else 8), b.octets + (4 if a.size == 16 else 8), 4 if a.size == 16 else 16) == 0


cdef inline int64_t address_host4(const Address *a) noexcept nogil:
    """The IPv4 address as a number; 0 for IPv6."""
    if a.size != 16:
        return 0
    return <int64_t>a.octets[4] << 24 | a.octets[5] << 16 | a.octets[6] << 8 | a.octets[7]


cdef inline void address_set_port(Address *a, int port) noexcept nogil:
    a.octets[2] = <uint8_t>(port >> 8)
    a.octets[3] = <uint8_t>port


cdef int address_fill(Address *a, str ip, int port) except -1
