"""Watching registrations: SUBSCRIBE, NOTIFY, their ends, and what gets refused. The watcher is a raw peer."""

from __future__ import annotations

import random

import pytest

from gateway.sip import notifier
from gateway.sip.auth import Account, digest, fields, response
from gateway.sip.message import Request, Response, parse, respond
from gateway.sip.place import Place
from gateway.sip.trunks import Trunk
from tests.sip.raw import request
from tests.sip.wire import Node, Wire

PHONE = Place("10.0.0.9", 5060)
ACCOUNTS = (Account("ann", "secret"), Account("bo", "other"))
TRUNK = Trunk("pbx", account=Account("line", "third"))


class Watcher:
    """Somebody at PHONE who subscribes with ann's password and answers NOTIFY."""

    def __init__(self, answer: int = 200) -> None:
        self.wire = Wire()
        self.node: Node = self.wire.node("10.0.0.2", accounts=ACCOUNTS, user="trunkline", trunks=(TRUNK,))
        self.answer: int | None = answer
        self.notified: list[Request] = []
        self.replies: list[Response] = []
        self.tag = ""
        self._dice = random.Random(5)
        self._seq = 0

    def run(self, seconds: float = 0.2) -> None:
        """Time passes; each NOTIFY is answered."""
        for _ in range(max(1, round(seconds / 0.1))):
            self.wire.run(0.1)
            taken, self.wire.raw[PHONE] = self.wire.raw.get(PHONE, []), []
            for data in taken:
                message = parse(data)
                if isinstance(message, Response):
                    self.replies.append(message)
                elif self.answer is not None:
                    known = [n.cseq for n in self.notified]
                    if message.cseq not in known:
                        self.notified.append(message)
                    self.put(respond(message, self.answer).encode())

    def put(self, data: bytes) -> None:
        self.wire.put(data, PHONE, self.node.place)

    def ask(self, uri: str = "sip:bo@10.0.0.2", *, user: str = "ann", method: str = "SUBSCRIBE", **headers: str) -> int:
        """A request that answers its challenge; gives the final status."""
        given = {"Event": "reg", "Expires": "600", **headers}
        proof: dict[str, str] = {}
        for _ in range(2):
            self._seq += 1
            branch = f"z9hG4bK{self._dice.getrandbits(40)}"
            data = request(method, uri=uri, cseq=self._seq, branch=branch, to_tag=self.tag, **given, **proof)
            self.put(data)
            self.replies.clear()
            self.run()
            reply = self.replies[-1]
            if reply.status != 401:
                break
            challenge = fields(reply.get("WWW-Authenticate") or "")
            password = dict((a.user, a.password) for a in (*ACCOUNTS, TRUNK.account))[user]
            proof = {"Authorization": authorization(challenge, user, password, method, uri)}
        if reply.status == 200 and method == "SUBSCRIBE":
            self.tag = reply.to.tag
        return reply.status

    def states(self) -> list[str]:
        return [n.get("Subscription-State") or "" for n in self.notified]

    def register(self, user: str = "bo", password: str = "other", expires: int = 600) -> None:
        phone = self.wire.nodes.get(Place("10.0.0.1", 5060)) or self.wire.node("10.0.0.1", user=user)
        phone.register("sip:10.0.0.2", f"sip:{user}@10.0.0.2", Account(user, password), expires)
        self.run(0.4)


def authorization(challenge: dict[str, str], user: str, password: str, method: str, uri: str) -> str:
    realm, nonce = challenge["realm"], challenge["nonce"]
    secret = digest("MD5", f"{user}:{realm}:{password}")
    proof = response(secret, "MD5", method, uri, nonce, "auth", "00000001", "abc")
    return (
        f'Digest username="{user}", realm="{realm}", nonce="{nonce}", uri="{uri}", response="{proof}", '
        f'algorithm=MD5, qop=auth, nc=00000001, cnonce="abc"'
    )


def test_an_agent_watches_another_come_and_go() -> None:
    watcher = Watcher()
    assert watcher.ask() == 200
    assert watcher.states() == ["active;expires=600"]
    assert b'state="init"' in watcher.notified[0].body
    watcher.register()
    assert b'state="active"' in watcher.notified[1].body
    assert b"sip:bo@10.0.0.1" in watcher.notified[1].body
    assert b'version="1"' in watcher.notified[1].body
    watcher.node.drop_contacts("sip:bo@10.0.0.2", "gone")
    watcher.run()
    assert b"sip:bo@10.0.0.1" not in watcher.notified[-1].body
    assert watcher.ask(Expires="0") == 200
    assert watcher.states()[-1] == "terminated;reason=timeout"
    assert not watcher.node.endpoint._stack.dialogs


def test_a_subscription_is_kept_alive_and_ends_with_its_time() -> None:
    watcher = Watcher()
    watcher.ask(Expires="60")
    watcher.run(50)
    assert watcher.ask(Expires="60") == 200
    watcher.run(50)
    assert [s.partition(";")[0] for s in watcher.states()] == ["active", "active"]
    watcher.run(20)
    assert watcher.states()[-1] == "terminated;reason=timeout"
    assert not watcher.node.endpoint.busy


@pytest.mark.parametrize("answer", [481, 500, None])
def test_a_watcher_who_is_gone_is_forgotten(answer: int | None) -> None:
    watcher = Watcher()
    watcher.answer = answer
    watcher.ask()
    watcher.run(40)
    assert not watcher.node.endpoint._stack.dialogs
    assert watcher.node.endpoint.counters["notify_refused"] == 1


def test_asking_once_is_a_subscription_of_no_time() -> None:
    watcher = Watcher()
    assert watcher.ask(Expires="0") == 200
    assert watcher.states() == ["terminated;reason=timeout"]
    watcher.run(1)
    assert not watcher.node.endpoint._stack.dialogs


def test_a_gateway_that_stops_says_so() -> None:
    watcher = Watcher()
    watcher.ask()
    watcher.node.close()
    watcher.run(1)
    assert watcher.states()[-1] == "terminated;reason=deactivated"
    assert not watcher.node.endpoint._stack.dialogs


@pytest.mark.parametrize(
    ("headers", "uri", "status"),
    [
        ({"Event": "refer"}, "sip:bo@10.0.0.2", 403),
        ({"Event": "dialog"}, "sip:bo@10.0.0.2", 489),
        ({"Event": "presence"}, "sip:bo@10.0.0.2", 489),
        ({"Event": "message-summary"}, "sip:bo@10.0.0.2", 489),
        ({"Expires": "5"}, "sip:bo@10.0.0.2", 423),
        ({"Accept": "application/pidf+xml"}, "sip:bo@10.0.0.2", 406),
        ({}, "sip:nobody@10.0.0.2", 404),
    ],
)
def test_what_is_not_told(headers: dict[str, str], uri: str, status: int) -> None:
    watcher = Watcher()
    assert watcher.ask(uri, **headers) == status
    assert not watcher.notified
    assert not watcher.node.endpoint._stack.dialogs
    told = watcher.replies[-1]
    if status == 489:
        assert told.get("Allow-Events") == "refer, reg"
    if status == 423:
        assert told.get("Min-Expires") == "30"


def test_a_stranger_learns_nothing() -> None:
    watcher = Watcher()
    watcher.put(request("SUBSCRIBE", uri="sip:bo@10.0.0.2", Event="reg"))
    watcher.run()
    assert watcher.replies[-1].status == 401


def test_there_is_an_end_to_watching(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifier, "MOST", 16)
    watcher = Watcher()
    found = []
    for number in range(4):
        watcher.tag = ""
        found.append(watcher.ask(Call_ID=f"call-{number}"))
    assert found == [200, 200, 503, 503]


def test_in_the_subscriptions_dialog_nothing_else_is_answered() -> None:
    watcher = Watcher()
    watcher.ask()
    assert watcher.ask(method="INFO") == 405
    assert watcher.ask(method="OPTIONS", Expires="1") == 405
    assert watcher.ask(Require="warp") == 420
    assert watcher.ask(Expires="1") == 423
    assert watcher.ask(Event="dialog") == 489
    watcher._seq = 0
    assert watcher.ask() == 500


def test_a_trunk_watches_nobody() -> None:
    assert Watcher().ask(user="line") == 403
