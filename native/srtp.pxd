"""SRTP and SRTCP (RFC 3711, RFC 7714) through the libsrtp of `pylibsrtp`; the cryptography is libsrtp's alone."""

from libc.stdint cimport int64_t, uint8_t, uint32_t

cdef enum:
    SRTP_ROOM = 32          # octets that must be free behind a packet for srtp_seal: 20 are the most that are used
    SRTP_PEERS = 64         # SSRCs a peer may use under one key
    SRTP_KEY = 30           # octets of the longest master key and salt

cdef enum:                  # profiles, as numbered by the order of foreign_srtp.PROFILES
    AES_CM_128_HMAC_SHA1_80 = 0
    AES_CM_128_HMAC_SHA1_32 = 1
    AEAD_AES_128_GCM = 2
    SRTP_PROFILES = 3

cdef enum:                  # what srtp_open refuses
    SRTP_FORGED = -1
    SRTP_REPLAYED = -2

ctypedef int (*srtp_create_t)(void **context, const void *policy) noexcept nogil
ctypedef int (*srtp_dealloc_t)(void *context) noexcept nogil
ctypedef int (*srtp_packet_t)(void *context, void *packet, int *n) noexcept nogil

cdef struct Srtp:
    void *sender            # srtp_t; NULL: not created
    void *receiver
    int profile
    uint8_t own[SRTP_KEY]   # key||salt, so that new keys can be told from old ones; overwritten by srtp_destroy
    uint8_t peer[SRTP_KEY]
    int64_t sealed          # packets and reports sent
    int64_t unsealed        # of those the library refused (the key is used up after 2**48 packets)
    int64_t opened          # packets and reports authentic and new
    int64_t replayed
    int64_t forged          # not authentic, too short to be, or of more SSRCs than SRTP_PEERS
    uint32_t known[SRTP_PEERS]
    int peers

cpdef int srtp_profile(str name) except -1
cdef int srtp_create(Srtp *s, int profile, const uint8_t *own_key_salt, int own_n,
                     const uint8_t *peer_key_salt, int peer_n) noexcept nogil
cdef void srtp_adopt(Srtp *fresh, Srtp *old) noexcept nogil
cdef void srtp_destroy(Srtp *s) noexcept nogil
cdef int srtp_seal(Srtp *s, uint8_t *packet, int n, bint control) noexcept nogil
cdef int srtp_open(Srtp *s, uint8_t *packet, int n, bint control) noexcept nogil
