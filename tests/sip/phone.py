"""A phone made of values: registers at a node of a Wire by hand, with credentials."""

from __future__ import annotations

from gateway.sip.auth import Account, credentials, read_challenges
from gateway.sip.message import Response
from gateway.sip.place import Place
from tests.sip.raw import PHONE, ask, request
from tests.sip.wire import Wire

ANN = Account("ann", "secret")
AOR = "sip:ann@10.0.0.2"


class Phone:
    """Registers at 10.0.0.2. `source`: where its messages come from."""

    def __init__(self, source: Place = PHONE, **config: object) -> None:
        self.wire = Wire()
        self.node = self.wire.node("10.0.0.2", **{"accounts": (ANN, Account("bob", "pw")), **config})
        self.source = source
        self.cseq = 0
        self.serial = 0

    def send(self, user: str = "ann", password: str = "secret", cseq: int | None = None, **more: str) -> Response:
        """A REGISTER, challenged, and again with credentials; gives the final answer. `To`, `Contact`, ... as headers;
        `sender` is the user of From where it is another one."""
        self.serial += 1
        self.cseq = cseq or self.cseq + 1
        to = more.pop("To", f"<sip:{user}@10.0.0.2>")
        sender = more.pop("sender", user)
        settings = {"uri": "sip:10.0.0.2", "From": f"<sip:{sender}@10.0.0.2>;tag=t", "To": to, "drop": (), **more}
        challenge = self._ask("a", settings)
        assert challenge.status == 401, challenge.status
        value = credentials(
            read_challenges(challenge.all("WWW-Authenticate"), ())[0],
            Account(user, password),
            "REGISTER",
            "sip:10.0.0.2",
            1,
            "c",
        )
        self.cseq += 1
        settings["Authorization"] = str(value)
        return self._ask("b", settings)

    def _ask(self, letter: str, settings: dict[str, str]) -> Response:
        via = f"SIP/2.0/UDP 10.0.0.9:5060;branch=z9hG4bK{letter}{self.serial};rport"
        data = request("REGISTER", cseq=self.cseq, **{"Via": via, **settings})
        found = [m for m in ask(self.wire, self.node, data, source=self.source) if isinstance(m, Response)]
        return found[-1]
