"""TLS between the bytes of a connection and the bytes of its messages, over memory buffers: no socket, no clock."""

from __future__ import annotations

import ssl

_READ = 65536


class Tls:
    """One side of one connection. `receive` takes what came and gives what it holds; `send` takes what is to be said,
    once it is `ready`: the handshake is done. `output` is to be written to the peer after each. `over`: the peer ended
    it, or broke it; `trouble` then says why, empty for an orderly end."""

    def __init__(self, context: ssl.SSLContext, *, server: bool, name: str | None = None) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._in, self._out, server_side=server, server_hostname=name)
        self.ready = self.over = False
        self.trouble = ""
        if not server:
            self._advance()

    @property
    def output(self) -> bytes:
        """Takes what has to be written."""
        return self._out.read()

    def receive(self, data: bytes) -> bytes:
        """Never raises."""
        if self.over:
            return b""
        self._in.write(data)
        plain = bytearray()
        try:
            if not self.ready and not self._advance():
                return b""
            while chunk := self._ssl.read(_READ):
                plain += chunk
            self.over = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self._failed(error)
        return bytes(plain)

    def send(self, plain: bytes) -> None:
        if self.over or not self.ready:
            return
        try:
            self._ssl.write(plain)
        except ssl.SSLError as error:
            self._failed(error)

    def close(self) -> None:
        """Says goodbye; the peer's own is not waited for."""
        if self.ready and not self.over:
            self.over = True
            try:
                self._ssl.unwrap()
            except ssl.SSLError:
                return  # the peer's goodbye is still to come, and nobody waits for it

    def peer(self) -> dict[str, object]:
        """The peer's certificate as `ssl` tells it; empty where none was asked for."""
        return dict(self._ssl.getpeercert() or {}) if self.ready else {}

    def _advance(self) -> bool:
        try:
            self._ssl.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except (ssl.SSLError, ValueError) as error:
            self._failed(error)
            return False
        self.ready = True
        return True

    def _failed(self, error: Exception) -> None:
        self.over = True
        said = getattr(error, "verify_message", "") or getattr(error, "reason", "") or str(error)
        self.trouble = str(said).lower().replace("_", " ")
