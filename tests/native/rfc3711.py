"""SRTP and SRTCP once more, straight from the standards, so that packets are checked by something that is not libsrtp.

AES (FIPS 197), AES-CM and the key derivation (RFC 3711), GCM (NIST SP 800-38D, RFC 7714). Slow, and open to whoever can
watch its timing: for tests alone.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from itertools import count


def times_x(a: int) -> int:
    return (a << 1 ^ 0x11B) & 0xFF if a & 0x80 else a << 1


def multiply(a: int, b: int) -> int:
    """In GF(2^8)."""
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a, b = times_x(a), b >> 1
    return product


def substitution() -> bytes:
    table = bytearray([0x63])
    for a in range(1, 256):
        inverse = next(b for b in range(1, 256) if multiply(a, b) == 1)
        turned = [(inverse << k | inverse >> 8 - k) & 0xFF for k in range(5)]
        table.append(turned[0] ^ turned[1] ^ turned[2] ^ turned[3] ^ turned[4] ^ 0x63)
    return bytes(table)


SBOX = substitution()


def exclusive(a: bytes, b: bytes) -> bytes:
    """As long as the shorter."""
    return bytes(x ^ y for x, y in zip(a, b, strict=False))


def schedule(key: bytes) -> list[bytes]:
    """Eleven round keys of a 128-bit key."""
    words, round_constant = [key[k : k + 4] for k in range(0, 16, 4)], 1
    for k in range(4, 44):
        word = words[-1]
        if k % 4 == 0:
            word = bytes(SBOX[c] for c in word[1:] + word[:1])
            word = bytes([word[0] ^ round_constant]) + word[1:]
            round_constant = times_x(round_constant)
        words.append(exclusive(words[-4], word))
    return [b"".join(words[k : k + 4]) for k in range(0, 44, 4)]


def aes(key: bytes, block: bytes) -> bytes:
    """One block of AES-128."""
    keys = schedule(key)
    state = exclusive(block, keys[0])
    for number, round_key in enumerate(keys[1:], 1):
        state = bytes(SBOX[state[(k + 4 * (k % 4)) % 16]] for k in range(16))
        if number < 10:
            mixed = bytearray()
            for k in range(0, 16, 4):
                c = state[k : k + 4]
                mixed += bytes(
                    times_x(c[i]) ^ times_x(c[(i + 1) % 4]) ^ c[(i + 1) % 4] ^ c[(i + 2) % 4] ^ c[(i + 3) % 4]
                    for i in range(4)
                )
            state = bytes(mixed)
        state = exclusive(state, round_key)
    return state


def counter_mode(key: bytes, start: int, data: bytes) -> bytes:
    """Counter mode from the 128-bit `start`."""
    stream = b""
    for k in count():
        if len(stream) >= len(data):
            return exclusive(stream, data)
        stream += aes(key, (start + k & 2**128 - 1).to_bytes(16, "big"))
    return b""


def derive(key: bytes, salt: bytes, label: int, octets: int) -> bytes:
    """A session key, salt or authentication key (RFC 3711 section 4.3, key derivation rate 0)."""
    x = int.from_bytes(salt.ljust(14, b"\0"), "big") ^ label << 48
    return counter_mode(key, x << 16, bytes(octets))


def ghash(h: int, data: bytes) -> int:
    y = 0
    for k in range(0, len(data), 16):
        x, z = y ^ int.from_bytes(data[k : k + 16], "big"), 0
        v = h
        for bit in range(127, -1, -1):
            z ^= v if x >> bit & 1 else 0
            v = v >> 1 ^ (0xE1 << 120 if v & 1 else 0)
        y = z
    return y


def gcm(key: bytes, iv: bytes, plain: bytes, aad: bytes) -> bytes:
    """Ciphertext and a tag of 16 octets."""
    start = int.from_bytes(iv + b"\0\0\0\1", "big")
    cipher = counter_mode(key, start + 1, plain)
    padded = aad + bytes(-len(aad) % 16) + cipher + bytes(-len(cipher) % 16)
    sizes = struct.pack("!QQ", 8 * len(aad), 8 * len(cipher))
    total = ghash(int.from_bytes(aes(key, bytes(16)), "big"), padded + sizes)
    return cipher + counter_mode(key, start, total.to_bytes(16, "big"))


def protect(profile: str, key_salt: bytes, packet: bytes, rollover: int = 0) -> bytes:
    """A sealed RTP packet of a 12-octet header."""
    key, salt = key_salt[:16], key_salt[16:]
    head, body, seq, ssrc = packet[:12], packet[12:], packet[2:4], packet[8:12]
    index = struct.pack("!I", rollover) + seq
    session_key, session_salt = derive(key, salt, 0, 16), derive(key, salt, 2, len(salt))
    if profile == "AEAD_AES_128_GCM":
        iv = exclusive(b"\0\0" + ssrc + index, session_salt)
        return head + gcm(session_key, iv, body, head)
    start = int.from_bytes(exclusive(bytes(4) + ssrc + index, session_salt), "big") << 16
    sealed = head + counter_mode(session_key, start, body)
    tag = hmac.digest(derive(key, salt, 1, 20), sealed + index[:4], hashlib.sha1)
    return sealed + tag[: 4 if profile.endswith("32") else 10]


def protect_rtcp(profile: str, key_salt: bytes, packet: bytes, index: int) -> bytes:
    """A sealed compound packet, the `index`-th."""
    key, salt = key_salt[:16], key_salt[16:]
    head, body, ssrc = packet[:8], packet[8:], packet[4:8]
    trailer = struct.pack("!I", index | 1 << 31)
    session_key, session_salt = derive(key, salt, 3, 16), derive(key, salt, 5, len(salt))
    if profile == "AEAD_AES_128_GCM":
        iv = exclusive(b"\0\0" + ssrc + b"\0\0" + struct.pack("!I", index), session_salt)
        return head + gcm(session_key, iv, body, head + trailer) + trailer
    start = int.from_bytes(exclusive(bytes(4) + ssrc + struct.pack("!HI", 0, index), session_salt), "big") << 16
    sealed = head + counter_mode(session_key, start, body) + trailer
    return sealed + hmac.digest(derive(key, salt, 4, 20), sealed, hashlib.sha1)[:10]
