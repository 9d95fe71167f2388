"""Certificates made for a test, by authorities made for it."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

import trustme

from gateway.sip.certificates import Certificate, Pair


@dataclass
class Authority:
    """`file`: what peers have to trust."""

    folder: Path
    name: str = "ca"

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._ca = trustme.CA(organization_name=self.name)
        self.file = self.folder / f"{self.name}.pem"
        self._ca.cert_pem.write_to_path(self.file)

    def pair(self, *names: str, days: float = 30.0, file: str = "") -> Pair:
        """A certificate for `names` (hosts or IP addresses) that holds for `days` from now."""
        until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
        issued = self._ca.issue_cert(*names, not_before=until - datetime.timedelta(days=90), not_after=until)
        stem = file or names[0].replace("*", "any")
        pair = Pair(self.folder / f"{stem}.crt", self.folder / f"{stem}.key")
        pair.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(pair.key)
        return pair

    def certificate(self, *names: str, verify: str = "server") -> Certificate:
        """What an endpoint at `names` shows, trusting nobody but this authority."""
        return Certificate((self.pair(*names),), self.file, verify)
