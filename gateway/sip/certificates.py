"""Certificates for SIP over TLS: contexts for both directions, several names, new files without a restart."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gateway.core.errors import ConfigError
from gateway.sip.tls import Tls

log = logging.getLogger(__name__)

VERIFY = ("none", "server", "mutual")
"""Whose certificates are checked: nobody's, those of servers we connect to, those of everybody who connects as well."""

DAY_S = 86400.0

_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL: an expired certificate is read like any other."""

_REASONS = {
    "KEY_VALUES_MISMATCH": ("the key does not belong to the certificate", "give the key it was issued for"),
    "KEY_TYPE_MISMATCH": ("the key does not belong to the certificate", "give the key it was issued for"),
    "EE_KEY_TOO_SMALL": ("its key is too short to be safe", "have one issued with 2048 bits RSA, or EC"),
    "CA_MD_TOO_WEAK": ("it is signed with an algorithm that is no longer safe", "have a new one issued"),
}


@dataclass(frozen=True, slots=True)
class Pair:
    """PEM files: a certificate with the chain above it, and its private key."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Certificate:
    """What an endpoint shows and trusts. `pairs`: the first is shown where the peer names no host, or one that is in no
    certificate (SNI, RFC 6066 section 3). `authorities`: a PEM file with the roots that are trusted; None: the
    system's. `verify`: one of VERIFY."""

    pairs: tuple[Pair, ...] = ()
    authorities: Path | None = None
    verify: str = "server"


@dataclass(frozen=True, slots=True)
class Shown:
    """One certificate as peers see it. `until` in seconds since 1970."""

    file: Path
    names: tuple[str, ...]
    until: float

    def days_left(self, now: float) -> float:
        """`now` in seconds since 1970; negative once it has expired."""
        return (self.until - now) / DAY_S


class Contexts:
    """The contexts of one Certificate. Take `server` and `client` anew for every connection: `refresh` replaces them
    once the files have changed, and connections that stand keep theirs. Raises ConfigError where the files can't be
    used."""

    def __init__(self, certificate: Certificate) -> None:
        self.certificate = certificate
        self.shown: tuple[Shown, ...] = ()
        self.client: ssl.SSLContext
        self.server: ssl.SSLContext | None = None
        self._times = self._seen = self._saved()
        self._looked = 0.0
        self._load()

    def refresh(self, now: float) -> bool:
        """Looks, at most once a second, whether the files changed and lie still since the last look, and loads them.
        True where new ones are in use; files that can't be used are told in the log and the old ones stay. `now` in
        seconds of any clock."""
        if now - self._looked < 1.0:
            return False
        self._looked = now
        times = self._saved()
        still, self._seen = times == self._seen, times
        if times == self._times or not still:
            return False
        self._times = times
        try:
            self._load()
        except ConfigError as error:
            log.error("new certificates can't be used; the old ones stay", extra={"fields": {"error": str(error)}})
            return False
        log.info("new certificates are in use", extra={"fields": {"files": [str(one.file) for one in self.shown]}})
        return True

    def trouble(self, now: float, soon: float = 14.0) -> list[str]:
        """What a person should know about: certificates that have expired or will within `soon` days. `now` in seconds
        since 1970."""
        found = []
        for shown in self.shown:
            days = shown.days_left(now)
            if days < 0:
                found.append(f"certificate {shown.file} expired {-days:.0f} days ago: no phone will accept it")
            elif days < soon:
                found.append(f"certificate {shown.file} expires in {days:.0f} days")
        return found

    def _saved(self) -> tuple[float, ...]:
        """When each file was changed; 0 for one that isn't there."""
        return tuple(_changed(path) for path in self._files())

    def _files(self) -> Iterable[Path]:
        for pair in self.certificate.pairs:
            yield pair.certificate
            yield pair.key
        if self.certificate.authorities:
            yield self.certificate.authorities

    def _load(self) -> None:
        client = self._client()
        servers = [self._server(pair) for pair in self.certificate.pairs]
        shown = tuple(_shown(pair, context) for pair, context in zip(self.certificate.pairs, servers, strict=True))
        self.client, self.shown = client, shown
        self.server = servers[0] if servers else None
        if len(servers) > 1:
            named = {
                name: context for one, context in reversed([*zip(shown, servers, strict=True)]) for name in one.names
            }
            servers[0].sni_callback = lambda sock, name, _: _choose(sock, name, named)

    def _server(self, pair: Pair) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        _show(context, pair)
        if self.certificate.verify == "mutual":
            context.verify_mode = ssl.CERT_REQUIRED
            self._trust(context)
        return context

    def _client(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.certificate.pairs:
            _show(context, self.certificate.pairs[0])
        if self.certificate.verify == "none":
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        else:
            self._trust(context)
        return context

    def _trust(self, context: ssl.SSLContext) -> None:
        path = self.certificate.authorities
        if path is None:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
            return
        _holds(path, "authorities", b"CERTIFICATE-----")
        try:
            context.load_verify_locations(path)
        except (OSError, ssl.SSLError) as error:
            raise _unusable("authorities", path, error) from None


def _choose(sock: ssl.SSLObject | ssl.SSLSocket, name: str | None, named: dict[str, ssl.SSLContext]) -> None:
    """Shows the certificate for the name the peer asks for; one level of a wildcard counts as well."""
    low = (name or "").lower().rstrip(".")
    found = named.get(low) or named.get(f"*.{low.partition('.')[2]}")
    if found:
        sock.context = found


def _show(context: ssl.SSLContext, pair: Pair) -> None:
    _holds(pair.certificate, "certificate", b"CERTIFICATE-----")
    _holds(pair.key, "key", b"PRIVATE KEY-----")
    try:
        context.load_cert_chain(pair.certificate, pair.key, password=lambda: _locked(pair.key))
    except (OSError, ssl.SSLError) as error:
        raise _unusable("certificate", pair.certificate, error) from None


def _holds(path: Path, what: str, block: bytes) -> None:
    """Raises ConfigError where a file can't be read or has no PEM block of its kind."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _unusable(what, path, error) from None
    if block not in data:
        raise ConfigError(
            f"{what} {path} can't be used: no PEM block of that kind is in it",
            do="convert it to PEM: it starts with -----BEGIN",
        )


def _locked(key: Path) -> str:
    raise ConfigError(
        f"key {key} is locked with a passphrase",
        do="store it without one, readable by the gateway's user alone: openssl pkey -in KEY -out NEW",
    )


def _unusable(what: str, path: Path, error: Exception) -> ConfigError:
    reason = getattr(error, "reason", None) or ""
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
        said, do = (error.strerror or str(error)).lower(), "look whether the file is there and may be read"
    else:
        said, do = _REASONS.get(reason, (str(reason or error).lower().replace("_", " "), ""))
    return ConfigError(f"{what} {path} can't be used: {said}", do=do or None)


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _shown(pair: Pair, server: ssl.SSLContext) -> Shown:
    """What a certificate says, read the way a peer reads it: by a handshake in memory."""
    reader = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    reader.check_hostname = False
    reader.load_verify_locations(pair.certificate)
    reader.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    asked, server.verify_mode = server.verify_mode, ssl.CERT_NONE
    ours, theirs = Tls(server, server=True), Tls(reader, server=False)
    for _ in range(8):
        ours.receive(theirs.output)
        theirs.receive(ours.output)
    server.verify_mode = asked
    seen = theirs.peer()
    if not seen:
        raise ConfigError(f"certificate {pair.certificate} can't be used: {theirs.trouble or ours.trouble}")
    alternatives = seen.get("subjectAltName", ())
    assert isinstance(alternatives, tuple)
    names = tuple(str(value).lower() for kind, value in alternatives if kind in ("DNS", "IP Address"))
    return Shown(pair.certificate, names, ssl.cert_time_to_seconds(str(seen["notAfter"])))
