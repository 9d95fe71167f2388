"""The functions of libsrtp that the engine calls, taken from the wheel `pylibsrtp` and checked when this is loaded.

`pylibsrtp` (BSD) carries libsrtp 2 and OpenSSL in one extension file made by cffi. cffi hands out the address of each
function it declares and knows the layout of the policy from the headers the wheel was compiled against, so nothing here
depends on exported symbols, on a header or on a system library. Importing `pylibsrtp` runs `srtp_init` once a process.
"""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

PROFILES: dict[str, tuple[str, int, int, int]] = {
    # name in SDP: (profile in libsrtp, octets of master key and salt, of the tag on RTP, of the tag on RTCP)
    "AES_CM_128_HMAC_SHA1_80": ("srtp_profile_aes128_cm_sha1_80", 30, 10, 10),
    "AES_CM_128_HMAC_SHA1_32": ("srtp_profile_aes128_cm_sha1_32", 30, 4, 10),
    "AEAD_AES_128_GCM": ("srtp_profile_aead_aes_128_gcm", 28, 16, 16),
}
"""RFC 4568 section 6.2 (the short tag is for RTP alone), RFC 7714 section 12. A profile's number is its place here."""

WINDOW = 1024
"""Packets behind the newest that may still come once each (RFC 3711 section 3.3.2 asks for at least 64)."""

PACKET = "srtp_err_status_t(*)(struct srtp_ctx_t_ *, void *, int *)"
SIGNATURES = {
    "srtp_create": "srtp_err_status_t(*)(struct srtp_ctx_t_ * *, struct srtp_policy_t *)",
    "srtp_dealloc": "srtp_err_status_t(*)(struct srtp_ctx_t_ *)",
    "srtp_protect": PACKET,
    "srtp_protect_rtcp": PACKET,
    "srtp_unprotect": PACKET,
    "srtp_unprotect_rtcp": PACKET,
}
"""The C types the engine casts the pointers to, as cffi writes them. libsrtp 3 has others and is refused by that."""

NEEDS = "SRTP needs the package pylibsrtp 1.0 (libsrtp 2)"


class Found(NamedTuple):
    """What the engine needs. Where `why` is not empty (one sentence with what to do) the rest is."""

    addresses: dict[str, int]
    policies: list[tuple[bytes, bytes]]
    """A profile's policy for sending and for receiving, any SSRC, the key still to be set; b"" where it is missing."""
    key_at: int
    """Octets into a policy where the pointer to key and salt stands."""
    missing: dict[str, str]
    """Profiles this libsrtp can't do, each with the reason."""
    why: str


def find(module: str = "pylibsrtp") -> Found:
    """Looks the functions up, and runs each of them once. Raises nothing."""
    try:
        binding: Any = importlib.import_module(f"{module}._binding")
        importlib.import_module(module)  # runs srtp_init
    except ImportError as error:
        return Found({}, [], 0, {}, f"{NEEDS}, which can't be imported ({error}); install pylibsrtp.")
    ffi, lib = binding.ffi, binding.lib
    try:
        addresses = {name: address(ffi, lib, name) for name in SIGNATURES}
        built = {name: policies(ffi, lib, name) for name in PROFILES}
        key_at = ffi.offsetof("srtp_policy_t", "key")
        missing = {name: why for name in PROFILES if built[name][0] and (why := check(ffi, lib, name))}
    except (AttributeError, KeyError, TypeError, ValueError, ffi.error) as error:
        return Found({}, [], 0, {}, f"{NEEDS}; the one installed can't be used ({error}); install pylibsrtp==1.0.0.")
    missing |= {name: unbuilt(name) for name in PROFILES if not built[name][0]}
    return Found(addresses, [(b"", b"") if n in missing else built[n] for n in PROFILES], key_at, missing, "")


def unbuilt(name: str) -> str:
    return f"the libsrtp of this pylibsrtp was built without {name}; install pylibsrtp==1.0.0 from a wheel."


def address(ffi: Any, lib: Any, name: str) -> int:
    """Where a function is. Raises ValueError when its C type is another one."""
    pointer = ffi.addressof(lib, name)
    if ffi.typeof(pointer).cname != SIGNATURES[name]:
        raise ValueError(f"{name} is {ffi.typeof(pointer).cname}")
    return int(ffi.cast("uintptr_t", pointer))


def policy(ffi: Any, lib: Any, name: str, ssrc_type: int) -> Any | None:
    """A policy without a key, or None where the library refuses the profile."""
    made = ffi.new("srtp_policy_t *")
    profile = getattr(lib, PROFILES[name][0])
    if lib.srtp_crypto_policy_set_from_profile_for_rtp(ffi.addressof(made.rtp), profile):
        return None
    if lib.srtp_crypto_policy_set_from_profile_for_rtcp(ffi.addressof(made.rtcp), profile):
        return None
    made.ssrc.type = ssrc_type
    made.window_size = WINDOW
    made.allow_repeat_tx = 0
    return made


def policies(ffi: Any, lib: Any, name: str) -> tuple[bytes, bytes]:
    """For sending and for receiving, as the octets of the C struct."""
    pair = [policy(ffi, lib, name, kind) for kind in (lib.ssrc_any_outbound, lib.ssrc_any_inbound)]
    if None in pair:
        return b"", b""
    return bytes(ffi.buffer(pair[0])), bytes(ffi.buffer(pair[1]))


def check(ffi: Any, lib: Any, name: str) -> str:
    """Seals a packet and a report, opens them, and sees them refused when they come again. "" or the reason."""
    key = ffi.new("unsigned char[]", bytes(range(PROFILES[name][1])))
    contexts = []
    try:
        for kind in (lib.ssrc_any_outbound, lib.ssrc_any_inbound):
            made = policy(ffi, lib, name, kind)
            made.key = key
            context = ffi.new("srtp_t *")
            if status := lib.srtp_create(context, made):
                return f"srtp_create answered {status} for {name}; install pylibsrtp==1.0.0 from a wheel."
            contexts.append(context[0])
        answers = [trip(ffi, lib, contexts, plain, kind) for plain, kind in SAMPLES]
    finally:
        for context in contexts:
            lib.srtp_dealloc(context)
    return "" if all(answers) else f"libsrtp does not get a packet of {name} there and back; install pylibsrtp==1.0.0."


SAMPLES = (
    (bytes.fromhex("800000010000000000000001") + bytes(20), ""),
    (bytes.fromhex("80c9000100000001"), "_rtcp"),
)


def trip(ffi: Any, lib: Any, contexts: list[Any], plain: bytes, kind: str) -> bool:
    """True when what was sealed opens to the same octets, once."""
    protect, unprotect = getattr(lib, "srtp_protect" + kind), getattr(lib, "srtp_unprotect" + kind)
    packet, size = ffi.new("unsigned char[256]", plain), ffi.new("int *", len(plain))
    if protect(contexts[0], packet, size):
        return False
    sealed = bytes(ffi.buffer(packet, size[0]))
    again, size_again = ffi.new("unsigned char[256]", sealed), ffi.new("int *", len(sealed))
    opened = unprotect(contexts[1], packet, size) == 0 and bytes(ffi.buffer(packet, size[0])) == plain
    return bool(sealed[12:] != plain[12:] and opened and unprotect(contexts[1], again, size_again))
