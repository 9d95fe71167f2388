"""SRTP (RFC 3711, RFC 7714) by libsrtp, through its Python binding."""

from __future__ import annotations

from pylibsrtp import Error, Policy, Session

PROFILES = {
    "AES_CM_128_HMAC_SHA1_80": (Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 30),
    "AES_CM_128_HMAC_SHA1_32": (Policy.SRTP_PROFILE_AES128_CM_SHA1_32, 30),
    "AEAD_AES_128_GCM": (Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 28),
}
"""libsrtp's number, and octets of key and salt together."""


class Secrets:
    """Both directions of one leg."""

    def __init__(self, profile: str, own: bytes, peer: bytes) -> None:
        number = PROFILES[profile][0]
        self.out = Session(Policy(own, Policy.SSRC_ANY_OUTBOUND, srtp_profile=number))
        self.into = Session(Policy(peer, Policy.SSRC_ANY_INBOUND, srtp_profile=number))
        self.replayed = self.forged = 0

    def seal(self, packet: bytes, control: bool = False) -> bytes:
        return bytes((self.out.protect_rtcp if control else self.out.protect)(packet))

    def open(self, packet: bytes, control: bool = False) -> bytes | None:
        """What was in the packet; None for one that is not authentic, or was here before (both counted)."""
        try:
            return bytes((self.into.unprotect_rtcp if control else self.into.unprotect)(packet))
        except Error as error:
            if "replay" in str(error):
                self.replayed += 1
            else:
                self.forged += 1
        except ValueError:
            self.forged += 1
        return None
