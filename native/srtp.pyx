# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Sealing and opening packets in place on the engine's thread. Contexts are made and freed by the commanding thread.

A pair of contexts belongs to one thread at a time; different pairs may be used by different threads. New keys are a new
`Srtp` that adopts what stays of the old one, takes its place, and leaves it to be destroyed. The first packet of an
SSRC makes libsrtp clone its template, a few hundred octets; an incoming one only after it proved authentic.
"""

from libc.stdint cimport uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from native import foreign_srtp

cdef enum:
    OK = 0                  # srtp_err_status_t
    REPLAY_FAIL = 9
    REPLAY_OLD = 10
    INDEX_OLD = 26
    LARGEST = 65535         # octets of a packet
    POLICY = 512            # room for a srtp_policy_t

cdef struct Policy:
    uint8_t octets[POLICY]

cdef Policy POLICIES[SRTP_PROFILES][2]      # [profile][0: sending, 1: receiving]
cdef int KEY_SALT[SRTP_PROFILES]            # octets; 0: this libsrtp has not got the profile
cdef int TAG[SRTP_PROFILES][2]              # octets; [RTP, RTCP]
cdef int key_at

cdef srtp_create_t create
cdef srtp_dealloc_t release
cdef srtp_packet_t protect[2]               # [RTP, RTCP]
cdef srtp_packet_t unprotect[2]


cdef int context_open(void **context, int profile, int way, const uint8_t *key_salt) noexcept nogil:
    """One direction (0 sending, 1 receiving). 0, or libsrtp's error."""
    cdef Policy policy = POLICIES[profile][way]
    memcpy(policy.octets + key_at, &key_salt, sizeof(key_salt))
    return create(context, policy.octets)


cdef int srtp_create(Srtp *s, int profile, const uint8_t *own_key_salt, int own_n,
                     const uint8_t *peer_key_salt, int peer_n) noexcept nogil:
    """Makes both directions; key||salt each. 0, or -1 where libsrtp or the profile is missing or a length is wrong."""
    memset(s, 0, sizeof(Srtp))
    if create == NULL or profile < 0 or profile >= SRTP_PROFILES or KEY_SALT[profile] == 0:
        return -1
    if own_n != KEY_SALT[profile] or peer_n != KEY_SALT[profile]:
        return -1
    s.profile = profile
    if (context_open(&s.sender, profile, 0, own_key_salt) != OK
            or context_open(&s.receiver, profile, 1, peer_key_salt) != OK):
        srtp_destroy(s)
        return -1
    memcpy(s.own, own_key_salt, own_n)
    memcpy(s.peer, peer_key_salt, peer_n)
    return 0


cdef inline void swap(void **a, void **b) noexcept nogil:
    cdef void *held = a[0]
    a[0] = b[0]
    b[0] = held


cdef void srtp_adopt(Srtp *fresh, Srtp *old) noexcept nogil:
    """On the engine's thread, before `fresh` takes the place of `old`, which is then fit only for srtp_destroy.

    A direction whose profile and key are the same goes on as it was, with its rollover counter and replay window (RFC
    3711 section 3.3.1); the other one begins anew. The counters go on in any case.
    """
    cdef bint same = fresh.profile == old.profile and old.sender != NULL and fresh.sender != NULL
    cdef int n = KEY_SALT[fresh.profile]
    if same and memcmp(fresh.own, old.own, n) == 0:
        swap(&fresh.sender, &old.sender)
    if same and memcmp(fresh.peer, old.peer, n) == 0:
        swap(&fresh.receiver, &old.receiver)
        memcpy(fresh.known, old.known, sizeof(old.known))
        fresh.peers = old.peers
    fresh.sealed = old.sealed
    fresh.unsealed = old.unsealed
    fresh.opened = old.opened
    fresh.replayed = old.replayed
    fresh.forged = old.forged


cdef void srtp_destroy(Srtp *s) noexcept nogil:
    """Frees both directions and overwrites the keys, as libsrtp does with its own. Counters stay."""
    if s.sender != NULL:
        release(s.sender)
    if s.receiver != NULL:
        release(s.receiver)
    s.sender = s.receiver = NULL
    memset(s.own, 0, sizeof(s.own))
    memset(s.peer, 0, sizeof(s.peer))


cdef int srtp_seal(Srtp *s, uint8_t *packet, int n, bint control) noexcept nogil:
    """Encrypts and signs a packet (`control`: RTCP) in place, SRTP_ROOM octets free behind it. The new length, or -1.

    No sequence number is sealed twice under one key.
    """
    cdef int size = n
    if s.sender == NULL or n < (8 if control else 12) or n > LARGEST - SRTP_ROOM:
        return -1
    if protect[control](s.sender, packet, &size) != OK:
        s.unsealed += 1
        return -1
    s.sealed += 1
    return size


cdef inline uint32_t ssrc_at(const uint8_t *octets) noexcept nogil:
    return <uint32_t>octets[0] << 24 | <uint32_t>octets[1] << 16 | <uint32_t>octets[2] << 8 | octets[3]


cdef int place_of(const Srtp *s, uint32_t ssrc) noexcept nogil:
    """Where an SSRC that proved authentic stands in the list; s.peers when it does not."""
    cdef int k
    for k in range(s.peers):
        if s.known[k] == ssrc:
            return k
    return s.peers


cdef int refused(Srtp *s, int status) noexcept nogil:
    """Counts a packet that libsrtp did not take."""
    if status == REPLAY_FAIL or status == REPLAY_OLD or status == INDEX_OLD:
        s.replayed += 1
        return SRTP_REPLAYED
    s.forged += 1
    return SRTP_FORGED


cdef int srtp_open(Srtp *s, uint8_t *packet, int n, bint control) noexcept nogil:
    """Verifies and decrypts in place. The new length, SRTP_FORGED or SRTP_REPLAYED; then the octets are worthless.

    The replay check comes before the signature is verified, as in RFC 3711 section 3.3, so a forgery that bears a
    sequence number already used counts as a replay.
    """
    cdef int size = n, status, place
    cdef int least = (12 if control else 12) + TAG[s.profile][control]   # RTCP: header and SSRC, then the index
    if s.receiver == NULL or n < least or n > LARGEST:
        s.forged += 1
        return SRTP_FORGED
    place = place_of(s, ssrc_at(packet + (4 if control else 8)))
    if place == SRTP_PEERS:
        s.forged += 1
        return SRTP_FORGED
    status = unprotect[control](s.receiver, packet, &size)
    if status != OK:
        return refused(s, status)
    if place == s.peers:
        s.known[place] = ssrc_at(packet + (4 if control else 8))
        s.peers += 1
    s.opened += 1
    return size


found = foreign_srtp.find()


cdef void resolve():
    """Once, when the module is imported."""
    global create, release, key_at
    if found.why:
        return
    for place, pair in enumerate(found.policies):
        for way, octets in enumerate(pair):
            if len(octets) > POLICY:
                return
            memcpy(POLICIES[place][way].octets, <const char *>octets, len(octets))
        _, size, rtp, rtcp = list(foreign_srtp.PROFILES.values())[place]
        KEY_SALT[place] = size if pair[0] else 0
        TAG[place][0] = rtp
        TAG[place][1] = rtcp
    key_at = found.key_at
    protect[0] = <srtp_packet_t><uintptr_t>found.addresses["srtp_protect"]
    protect[1] = <srtp_packet_t><uintptr_t>found.addresses["srtp_protect_rtcp"]
    unprotect[0] = <srtp_packet_t><uintptr_t>found.addresses["srtp_unprotect"]
    unprotect[1] = <srtp_packet_t><uintptr_t>found.addresses["srtp_unprotect_rtcp"]
    release = <srtp_dealloc_t><uintptr_t>found.addresses["srtp_dealloc"]
    create = <srtp_create_t><uintptr_t>found.addresses["srtp_create"]


resolve()

# --- for Python ---

import time


def why_not(str profile) -> str:
    """"" when `profile` (its name in SDP, RFC 4568) can be used, else one sentence with what to do."""
    if profile not in foreign_srtp.PROFILES:
        return f"'{profile}' is no SRTP profile; the known ones are {', '.join(foreign_srtp.PROFILES)}."
    return found.why or found.missing.get(profile, "")


cpdef int srtp_profile(str name) except -1:
    """The number of a profile. Raises ValueError where it can't be used."""
    reason = why_not(name)
    if reason:
        raise ValueError(reason)
    return list(foreign_srtp.PROFILES).index(name)


cdef class SrtpPair:
    """Both directions of one leg: `own` seals what is sent, `peer` opens what comes; key||salt, 30 octets (GCM 28).

    Raises ValueError for a profile that can't be used or keys of another length.
    """

    cdef Srtp s

    def __cinit__(self, str profile, bytes own, bytes peer):
        number = srtp_profile(profile)
        need = KEY_SALT[number]
        if len(own) != need or len(peer) != need:
            raise ValueError(f"{profile} takes {need} octets of key and salt each way, not {len(own)} and {len(peer)}")
        if srtp_create(&self.s, number, own, <int>len(own), peer, <int>len(peer)):
            raise ValueError(f"libsrtp refused keys for {profile}")

    def __dealloc__(self):
        srtp_destroy(&self.s)

    cdef seal(self, bytes packet, bint control):
        cdef uint8_t *octets = <uint8_t *>calloc(1, len(packet) + SRTP_ROOM)
        if octets == NULL:
            raise MemoryError
        try:
            memcpy(octets, <const char *>packet, len(packet))
            size = srtp_seal(&self.s, octets, <int>len(packet), control)
            return octets[:size] if size >= 0 else None
        finally:
            free(octets)

    cdef open(self, bytes packet, bint control):
        cdef uint8_t *octets = <uint8_t *>calloc(1, len(packet) + 1)
        if octets == NULL:
            raise MemoryError
        try:
            memcpy(octets, <const char *>packet, len(packet))
            size = srtp_open(&self.s, octets, <int>len(packet), control)
            return octets[:size] if size >= 0 else size
        finally:
            free(octets)

    def adopt(self, SrtpPair old):
        """Takes over what stays of `old`: the contexts of keys that are the same, and the counters. `old` ends."""
        srtp_adopt(&self.s, &old.s)
        srtp_destroy(&old.s)

    def protect(self, bytes packet):
        """The sealed RTP packet, or None when it can't be one or its sequence number was used already."""
        return self.seal(packet, False)

    def protect_rtcp(self, bytes packet):
        """The sealed compound RTCP packet, or None when it can't be one."""
        return self.seal(packet, True)

    def unprotect(self, bytes packet):
        """The RTP packet; -1 when it is not authentic, -2 when it was seen before or is too old to tell."""
        return self.open(packet, False)

    def unprotect_rtcp(self, bytes packet):
        """The compound RTCP packet, -1 or -2 as above."""
        return self.open(packet, True)

    @property
    def counters(self):
        """Packets by outcome."""
        return {
            "sealed": self.s.sealed,
            "unsealed": self.s.unsealed,
            "opened": self.s.opened,
            "replayed": self.s.replayed,
            "forged": self.s.forged,
        }


def cost(str profile, int octets=172, int count=100_000):
    """(ns to seal, ns to open) one RTP packet of `octets`, the mean of `count` in a loop without Python."""
    cdef bytes key = bytes(range(foreign_srtp.PROFILES[profile][1]))
    cdef SrtpPair pair = SrtpPair(profile, key, key)
    cdef int k, n = 0, bad = 0, room = octets + SRTP_ROOM
    cdef uint8_t *packets = <uint8_t *>calloc(count, room)
    if packets == NULL:
        raise MemoryError
    try:
        for k in range(count):
            packets[k * room] = 0x80
            packets[k * room + 2] = <uint8_t>(k >> 8)
            packets[k * room + 3] = <uint8_t>k
        start = time.process_time_ns()
        with nogil:
            for k in range(count):
                n = srtp_seal(&pair.s, packets + <size_t>k * room, octets, False)
                bad += n < 0
        middle = time.process_time_ns()
        with nogil:
            for k in range(count):
                bad += srtp_open(&pair.s, packets + <size_t>k * room, n, False) != octets
        end = time.process_time_ns()
    finally:
        free(packets)
    if bad:
        raise RuntimeError(f"{bad} packets did not come back")
    return (middle - start) / count, (end - middle) / count
