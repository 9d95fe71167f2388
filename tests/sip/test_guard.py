"""Who is listened to: the guard alone, on a clock of values, and an endpoint behind it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from gateway.core.errors import ConfigError
from gateway.sip import guard as module
from gateway.sip.auth import Account, read_challenges
from gateway.sip.auth import credentials as digest_of
from gateway.sip.config import Trunk
from gateway.sip.events import CallOffered
from gateway.sip.guard import BUSY, DROP, IN, SCANNERS, Buckets, Defence, Guard, Lockouts, Rate
from gateway.sip.message import Request, Response, parse
from gateway.sip.offer_answer import answer
from gateway.sip.place import Place
from tests.sip.raw import SDP, request
from tests.sip.wire import Node, Wire

STRANGER, PHONE, OTHER = Place("203.0.113.7", 5060), Place("198.51.100.2", 5060), Place("192.0.2.3", 5062)


def req(method: str = "INVITE", **headers: str) -> Request:
    message = parse(request(method, **headers))
    assert isinstance(message, Request)
    return message


# --- buckets and lock-outs ------------------------------------------------------------------------------------------


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    buckets = Buckets(Rate(10, 5))
    assert [buckets.take("a", 0.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert buckets.take("b", 0.0)
    assert [buckets.take("a", 0.1), buckets.take("a", 0.1)] == [True, False]
    assert sum(buckets.take("a", 0.1 + n / 1000) for n in range(1, 1001)) == 10
    assert sum(buckets.take("a", 1000.0) for _ in range(10)) == 5


@given(
    st.floats(0.1, 100),
    st.integers(1, 50),
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 2)), max_size=200),
)
def test_nobody_gets_more_than_burst_and_rate(rate: float, burst: int, steps: list[tuple[str, float]]) -> None:
    buckets, now, got = Buckets(Rate(rate, burst)), 0.0, dict.fromkeys("abc", 0)
    for key, wait in steps:
        now += wait
        got[key] += buckets.take(key, now)
        assert got[key] <= burst + now * rate + 1e-6


def test_a_lock_out_doubles_to_an_hour_and_is_forgotten() -> None:
    lockouts, now, waits = Lockouts(1.0, 3600.0), 0.0, []
    for _ in range(15):
        waits.append(lockouts.fail("x", now))
        assert lockouts.locked("x", now + waits[-1] - 0.01)
        now += waits[-1]
        assert not lockouts.locked("x", now)
    assert waits == [min(2.0**n, 3600.0) for n in range(15)]
    lockouts.forgive("x")
    assert lockouts.fail("x", now) == 1.0
    assert lockouts.fail("x", now + 602) == 1.0  # ten quiet minutes


# --- the guard alone ------------------------------------------------------------------------------------------------


def test_a_stranger_is_limited_by_address_whatever_its_port() -> None:
    guard = Guard(Defence(requests=Rate(1, 10)))
    assert sum(guard.hears(Place("203.0.113.7", port), b"OPTIONS ", 0.0) for port in range(1, 100)) == 10
    assert guard.hears(OTHER, b"OPTIONS ", 0.0)


def test_a_stranger_with_a_whole_ipv6_network_is_one_stranger() -> None:
    guard = Guard(Defence(requests=Rate(1, 10)))
    assert sum(guard.hears(Place(f"2001:db8::{n:x}", 5060), b"OPTIONS ", 0.0) for n in range(1, 100)) == 10
    assert guard.hears(Place("2001:db8:0:1::1", 5060), b"OPTIONS ", 0.0)


def test_strangers_together_are_limited_and_others_are_not() -> None:
    guard = Guard(Defence(strangers=Rate(1, 100), trusted=("10.0.0.0/8",)), lambda ip: ip == "192.0.2.3")
    guard.knows(PHONE, 0.0)
    passed = sum(guard.hears(Place(f"203.{n >> 8}.{n & 255}.7", 5060), b"REGISTER ", 0.0) for n in range(5000))
    assert passed == 100
    for favoured in (PHONE, OTHER, Place("10.1.2.3", 9)):
        assert all(guard.hears(favoured, b"REGISTER ", 0.0) for _ in range(5000))


def test_what_begins_something_is_limited_by_method() -> None:
    guard = Guard(Defence(invites=Rate(1, 3), registers=Rate(1, 5)))
    assert [guard.admits(STRANGER, req("INVITE"), 0.0) for _ in range(4)] == [IN] * 3 + [DROP]
    assert [guard.admits(STRANGER, req("REGISTER"), 0.0) for _ in range(6)] == [IN] * 5 + [DROP]
    assert guard.admits(STRANGER, req("OPTIONS"), 0.0) == IN
    guard.knows(STRANGER, 0.0)
    assert [guard.admits(STRANGER, req("INVITE"), 0.0) for _ in range(4)] == [IN] * 3 + [BUSY]


@pytest.mark.parametrize(
    "agent", ["friendly-scanner", "SIPVicious 0.3", "VaxSIPUserAgent/3.1", "pplsip", "sipcli/v1.8"]
)
def test_scanners_are_dropped(agent: str) -> None:
    assert Guard(Defence()).admits(STRANGER, req("OPTIONS", User_Agent=agent), 0.0) == DROP


@pytest.mark.parametrize(
    "agent",
    [
        "",
        "eyeBeam release 3015c",
        "Asterisk PBX 18",
        "baresip v1.0.0",
        "Linphone/5",
        "sipsak 0.9.8",
        "Trunkline",
        "Zoiper",
    ],
)
def test_phones_and_exchanges_are_no_scanners(agent: str) -> None:
    assert Guard(Defence()).admits(STRANGER, req("OPTIONS", User_Agent=agent), 0.0) == IN


def test_wrong_passwords_lock_a_source_out_but_not_its_calls() -> None:
    guard = Guard(Defence())
    guard.failed_auth(STRANGER, "1001", 0.0)
    assert not guard.hears(STRANGER, b"REGISTER sip:x", 0.5)
    assert not guard.hears(STRANGER._replace(port=9), b"INVITE sip:x", 0.5)
    for going_on in (b"BYE sip:x", b"ACK sip:x", b"CANCEL sip:x", b"SIP/2.0 200 OK"):
        assert guard.hears(STRANGER, going_on, 0.5)
    assert guard.hears(STRANGER, b"REGISTER sip:x", 1.01)
    guard.failed_auth(STRANGER, "1001", 1.01)
    assert not guard.hears(STRANGER, b"REGISTER sip:x", 3.0)
    guard.succeeded(STRANGER, "1001", 3.1)
    assert guard.hears(STRANGER, b"REGISTER sip:x", 3.1)


def test_strangers_cannot_lock_a_phone_out() -> None:
    guard = Guard(Defence())
    for n in range(40):
        guard.failed_auth(Place(f"203.0.113.{n}", 5060), "1001", float(n))
    assert guard.hears(PHONE, b"REGISTER sip:x", 41.0)
    assert not guard.barred(PHONE, "1001", 41.0)


def test_in_an_office_the_account_that_is_guessed_at_waits_and_the_others_hardly() -> None:
    guard = Guard(Defence())
    guard.succeeded(PHONE, "1001", 0.0)
    guesser, new = PHONE._replace(port=1), PHONE._replace(port=2)
    now, waits = 0.0, []
    for _ in range(10):
        guard.failed_auth(guesser, "1002", now)
        waits.append(guard.barred(new, "1002", now))
        assert not guard.hears(new, b"REGISTER sip:x", now)
        assert not guard.barred(new, "1001", now)
        assert not guard.barred(PHONE, "1002", now)  # a phone that stands is not barred
        now += 5.0
        assert guard.hears(new, b"REGISTER sip:x", now)
        guard.succeeded(PHONE, "1001", now)  # a colleague's refresh makes no guess undone
        now += 60.0
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    guard.succeeded(new._replace(port=3), "1002", now)
    guard.failed_auth(guesser, "1002", now)
    assert guard.barred(new, "1002", now) == 1


def test_forged_strangers_leave_room_for_phones_that_were_here() -> None:
    guard = Guard(Defence(strangers=Rate(10, 10)))
    guard.issued = lambda data, ip, now: data.endswith(b"nonce")
    guard.succeeded(PHONE, "1001", 0.0)
    heard = 0
    for n in range(5000):
        heard += guard.hears(Place(f"203.{n >> 8}.{n & 255}.7", 5060), b"REGISTER ", n / 1000)
        if n % 250 == 0:
            assert guard.hears(PHONE._replace(port=n + 1), b"REGISTER ", n / 1000)
            assert guard.hears(OTHER, b"REGISTER nonce", n / 1000)
    assert heard <= 60


def test_what_a_known_phone_asks_outside_its_calls_is_bounded() -> None:
    guard = Guard(Defence(others=Rate(1, 3)))
    guard.knows(PHONE, 0.0)
    assert [guard.admits(PHONE, req("MESSAGE"), 0.0) for _ in range(4)] == [IN] * 3 + [BUSY]
    assert guard.admits(PHONE, req("INVITE"), 0.0) == IN


def test_a_known_phone_with_a_wrong_password_is_locked_out_alone() -> None:
    guard = Guard(Defence())
    guard.knows(PHONE, 0.0)
    neighbour = PHONE._replace(port=6000)
    guard.failed_auth(PHONE, "1001", 0.0)
    assert guard.hears(PHONE, b"INVITE sip:x", 0.1)  # a re-INVITE, as far as anybody knows yet
    assert guard.admits(PHONE, req("REGISTER"), 0.1) == DROP
    assert guard.hears(neighbour, b"REGISTER sip:x", 0.1)


def test_a_network_that_is_none_is_said_at_once() -> None:
    with pytest.raises(ConfigError, match="trusted network"):
        Defence(trusted=("10.0.0.0/99",))


class Attack(RuleBasedStateMachine):
    """Any mix of floods, guesses and good phones: memory is bounded, and a phone that stands is never cut off."""

    phones = Bundle("phones")

    def __init__(self) -> None:
        super().__init__()
        self.kept, self.known = module.KEPT, module.KNOWN
        module.KEPT = 64
        module.KNOWN = 512
        self.guard = Guard(Defence(requests=Rate(2, 4), strangers=Rate(20, 40)), lambda ip: ip.startswith("10."))
        self.guard._sources._held._most = 64
        self.guard._guesses._held._most = 64
        self.guard._familiar._most = 64
        for buckets in (self.guard._requests, self.guard._others, *self.guard._begins.values()):
            buckets._held._most = 64
        self.now = 0.0
        self.standing: set[Place] = set()

    def teardown(self) -> None:
        module.KEPT, module.KNOWN = self.kept, self.known

    @rule(target=phones, n=st.integers(0, 20), port=st.integers(1024, 1030))
    def registers(self, n: int, port: int) -> Place:
        phone = Place(f"198.51.100.{n}", port)
        self.guard.succeeded(phone, f"user{n}", self.now)
        self.standing.add(phone)
        return phone

    @rule(phone=phones, ahead=st.booleans())
    def fails(self, phone: Place, ahead: bool) -> None:
        """A wrong password from the phone's own network, or from its very place."""
        self.guard.failed_auth(phone if ahead else phone._replace(port=9), "user1", self.now)

    @rule(count=st.integers(1, 200), seed=st.integers(0, 2**16))
    def flood(self, count: int, seed: int) -> None:
        for n in range(count):
            source = Place(f"203.{(seed + n) % 256}.{n % 256}.{seed % 256}", 5060)
            if self.guard.hears(source, b"REGISTER sip:x", self.now):
                self.guard.admits(source, REGISTER, self.now)
                self.guard.failed_auth(source, f"user{n % 30}", self.now)

    @rule(seconds=st.floats(0, 5000))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def a_standing_phone_is_heard(self) -> None:
        for phone in self.standing:
            assert self.guard.hears(phone, b"INVITE sip:x", self.now)
            assert self.guard.hears(phone, b"BYE sip:x", self.now)
            assert not self.guard.stranger(phone, self.now)
            assert not self.guard.barred(phone, f"user{phone.ip.rpartition('.')[2]}", self.now)

    @invariant()
    def memory_is_bounded(self) -> None:
        sizes = self.guard.sizes
        assert sizes.pop("known") <= 512
        assert max(sizes.values()) <= 65


REGISTER = req("REGISTER")
TestAttack = Attack.TestCase
TestAttack.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


# --- an endpoint behind it ------------------------------------------------------------------------------------------


def gateway(seed: int = 1, **config: object) -> tuple[Wire, Node]:
    wire = Wire(seed)
    own = {"accounts": (Account("1001", "right"), Account("1002", "too")), "destinations": ("8000",)}
    return wire, wire.node("10.0.0.2", domain="example.test", **{**own, **config})


class Caller:
    """Sends requests from a place and gives what came back."""

    def __init__(self, wire: Wire, node: Node, place: Place = STRANGER) -> None:
        self.wire, self.node, self.place, self.count = wire, node, place, 0

    def send(self, method: str, *, user: str = "1001", to: str = "8000", **more: str) -> list[Response | Request]:
        self.count += 1
        uri = "sip:example.test" if method == "REGISTER" else f"sip:{to}@example.test"
        headers = {
            "Via": f"SIP/2.0/UDP {self.place.ip}:{self.place.port};branch=z9hG4bK{self.count}-{self.place.port}",
            "From": f"<sip:{user}@example.test>;tag=t{self.count}",
            "To": f"<sip:{user}@example.test>" if method == "REGISTER" else f"<{uri}>",
            "Contact": f"<sip:{user}@{self.place.ip}:{self.place.port}>",
            "call_id": f"c{self.count}-{self.place}",
        }
        data = request(method, uri=uri, body=SDP if method == "INVITE" else "", **{**headers, **more})
        return self.put(data, 0.25 if method == "INVITE" else 0.02)

    def put(self, data: bytes, wait: float = 0.02) -> list[Response | Request]:
        self.wire.raw[self.place] = []
        self.node.receive(data, self.place)
        self.wire.run(wait)
        return [parse(each) for each in self.wire.raw[self.place]]

    def logged_in(self, method: str, password: str, user: str = "1001", **more: str) -> int:
        """The status after digest; 0 where nothing is answered."""
        asked = self.send(method, user=user, **more)
        if not asked or asked[0].status != 401:
            return asked[0].status if asked else 0
        (challenge,) = read_challenges(asked[0].all("WWW-Authenticate"), ())
        value = digest_of(challenge, Account(user, password), method, "sip:example.test", 1, "c")
        answers = self.send(method, user=user, Authorization=value, **more)
        return answers[-1].status if answers else 0


def test_a_stranger_learns_nothing_about_numbers_users_and_hosts() -> None:
    wire, node = gateway()
    caller = Caller(wire, node)
    asked = [
        caller.send("INVITE", to="8000"),
        caller.send("INVITE", to="4711"),
        caller.send("INVITE", user="nobody"),
        caller.send("INVITE", Require="warp"),
        caller.send("REGISTER"),
        caller.send("REGISTER", user="nobody"),
    ]
    shapes = {re.sub(r'nonce="[^"]*"', "", str([a.status for a in answers])) for answers in asked}
    assert shapes == {"[401]"}
    challenges = {re.sub(r'nonce="[^"]*"', "", answers[0].get("WWW-Authenticate")) for answers in asked}
    assert len(challenges) == 1
    told = [caller.send("OPTIONS", to=to)[0] for to in ("8000", "4711", "1001", "nobody")]
    assert {(a.status, tuple(name for name, _ in a.headers)) for a in told} == {
        (200, tuple(n for n, _ in told[0].headers))
    }
    assert caller.logged_in("REGISTER", "wrong") == 403
    wire.run(2)
    assert caller.logged_in("REGISTER", "wrong", "nobody") == 403


def test_a_refusal_of_a_stranger_is_sent_once_and_kept_nowhere() -> None:
    wire, node = gateway()
    caller = Caller(wire, node)
    for method in ("INVITE", "OPTIONS", "BYE", "SUBSCRIBE", "REFER", "PUBLISH", "TELEPORT", "REGISTER"):
        data = request(
            method,
            uri="sip:8000@example.test",
            branch=f"z9hG4bK{method}",
            Via=f"SIP/2.0/UDP {STRANGER.ip}:5060;branch=z9hG4bK{method}",
        )
        assert len(caller.put(data, 40)) == 1
        assert len(caller.put(data)) == 1
    assert len(node.endpoint._stack.transactions) == 0
    assert len(node.endpoint._stack.timers) == 0


def test_the_same_request_gets_the_same_tag() -> None:
    wire, node = gateway()
    data = request("INVITE", uri="sip:8000@example.test", Via=f"SIP/2.0/UDP {STRANGER.ip}:5060;branch=z9hG4bKx")
    tags = {Caller(wire, node).put(data)[0].to.tag for _ in range(3)}
    assert len(tags) == 1
    assert len({Caller(*gateway(seed)).put(data)[0].to.tag for seed in range(3)}) == 3


@pytest.mark.parametrize(
    "method", ["INVITE", "REGISTER", "OPTIONS", "BYE", "SUBSCRIBE", "MESSAGE", "PUBLISH", "TELEPORT"]
)
def test_an_answer_to_a_forged_source_is_hardly_larger_than_the_request(method: str) -> None:
    wire, node = gateway()
    data = request(method, uri="sip:8000@example.test", body=SDP if method == "INVITE" else "")
    wire.raw.clear()
    node.receive(data, Place("10.0.0.9", 5060))
    wire.run(60)
    sent = wire.raw.get(Place("10.0.0.9", 5060), [])
    assert len(sent) == 1
    assert len(sent[0]) <= 1.6 * len(data), sent[0].decode()


@pytest.mark.parametrize(
    "method", ["INVITE", "REGISTER", "OPTIONS", "BYE", "SUBSCRIBE", "MESSAGE", "PUBLISH", "TELEPORT", "CANCEL", "REFER"]
)
def test_the_smallest_request_gets_one_short_answer(method: str) -> None:
    wire, node = gateway()
    lines = ["v:SIP/2.0/UDP a;rport", "f:sip:a@a;tag=1", "t:sip:a@a", "i:1", f"CSeq:1 {method}", "", ""]
    data = "\n".join([f"{method} sip:10.0.0.2 SIP/2.0", *lines]).encode()
    wire.raw.clear()
    node.receive(data, STRANGER)
    wire.run(60)
    (answer,) = wire.raw[STRANGER]
    times = 3.5 if parse(answer).status == 401 else 2.2
    assert len(answer) <= times * len(data), answer.decode()
    assert not {"Allow", "Server"} & {name for name, _ in parse(answer).headers}


def test_wrong_passwords_are_answered_ever_later_and_a_right_one_ends_it() -> None:
    wire, node = gateway()
    caller = Caller(wire, node)
    said = []
    for _ in range(60):
        said.append(caller.logged_in("REGISTER", "wrong"))
        wire.run(1)
    assert said.count(403) == 6  # at once, then after 1, 2, 4, 8, 16 seconds
    assert set(said) == {403, 0}
    assert node.endpoint.counters["lockouts"] == said.count(403)
    assert node.endpoint.counters["dropped_locked_out"] == said.count(0)
    wire.run(3600)
    assert caller.logged_in("REGISTER", "right") == 200
    assert caller.logged_in("REGISTER", "right") == 200


def test_guesses_from_elsewhere_never_refuse_the_right_password() -> None:
    wire, node = gateway()
    for n in range(12):
        guesser = Caller(wire, node, Place(f"203.0.113.{n}", 5060))
        for _ in range(8):
            guesser.logged_in("REGISTER", "wrong")
            wire.run(20)
    assert Caller(wire, node, PHONE).logged_in("REGISTER", "right") == 200
    assert Caller(wire, node, OTHER).logged_in("REGISTER", "right") == 200
    assert node.endpoint.counters["auth_barred"] == 0


def test_behind_one_address_a_guessed_account_is_told_when_to_come_back() -> None:
    wire, node = gateway()
    assert Caller(wire, node, PHONE).logged_in("REGISTER", "too", "1002") == 200
    guesser = Caller(wire, node, PHONE._replace(port=999))
    for _ in range(4):
        assert guesser.logged_in("REGISTER", "wrong") == 403
        wire.run(5.5)
    moved = Caller(wire, node, PHONE._replace(port=7777))
    assert moved.logged_in("REGISTER", "right") == 503
    assert moved.logged_in("REGISTER", "too", "1002") == 200
    assert node.endpoint.counters["auth_barred"] == 1
    wire.run(60)
    assert moved.logged_in("REGISTER", "right") == 200


def test_guesses_that_came_together_are_one_guess() -> None:
    """All are heard before the first is handled, as where they wait for those of phones."""
    wire, node = gateway()
    (asked,) = Caller(wire, node).send("REGISTER")
    (challenge,) = read_challenges(asked.all("WWW-Authenticate"), ())
    burst = []
    for n in range(1, 50):
        value = digest_of(challenge, Account("1001", f"guess{n}"), "REGISTER", "sip:example.test", n, "c")
        via = f"SIP/2.0/UDP {STRANGER.ip}:5060;branch=z9hG4bKg{n}"
        who = "<sip:1001@example.test>"
        headers = {"Via": via, "From": f"{who};tag=1", "To": who, "call_id": f"g{n}", "Authorization": str(value)}
        burst.append(request("REGISTER", uri="sip:example.test", **headers))
    assert all(node.endpoint.hears(data, STRANGER, wire.now) for data in burst)
    for data in burst:
        node.endpoint.handle(data, STRANGER, wire.now)
    assert node.endpoint.counters["auth_wrong"] == 1
    assert node.endpoint.counters["dropped_locked_out"] == 48


def test_who_answers_a_challenge_is_heard_while_forged_strangers_flood() -> None:
    wire, node = gateway(defence=Defence(strangers=Rate(10, 10)))
    caller = Caller(wire, node)
    (asked,) = caller.send("REGISTER")
    (challenge,) = read_challenges(asked.all("WWW-Authenticate"), ())
    value = digest_of(challenge, Account("1001", "right"), "REGISTER", "sip:example.test", 1, "c")

    def flood() -> None:
        for n in range(200):
            node.endpoint.hears(request("REGISTER", Authorization=str(value)), Place(f"192.0.2.{n}", 5060), wire.now)

    flood()
    assert caller.send("REGISTER", Authorization="x" * len(str(value))) == []
    assert caller.send("REGISTER", Authorization=str(value))[0].status == 200
    flood()
    assert Caller(wire, node, STRANGER._replace(port=9)).logged_in("REGISTER", "right") == 200


def test_what_is_too_much_of_a_known_phone_is_not_kept() -> None:
    wire, node = gateway(defence=Defence(others=Rate(1, 5)))
    phone = Caller(wire, node, PHONE)
    assert phone.logged_in("REGISTER", "right") == 200
    wire.run(40)
    said = [phone.send("OPTIONS")[0].status for _ in range(50)]
    assert said.count(503) >= 40
    assert len(node.endpoint._stack.transactions) <= 10


def test_a_forged_source_locks_nobody_out() -> None:
    """A nonce heard at one address, used in a datagram that claims another."""
    wire, node = gateway()
    (asked,) = Caller(wire, node, STRANGER).send("REGISTER")
    (challenge,) = read_challenges(asked.all("WWW-Authenticate"), ())
    value = digest_of(challenge, Account("1001", "wrong"), "REGISTER", "sip:example.test", 1, "c")
    victim = Caller(wire, node, OTHER)
    assert victim.send("REGISTER", Authorization=value)[0].status == 403
    assert node.endpoint.counters["lockouts"] == 0
    assert victim.logged_in("REGISTER", "right") == 200
    assert Caller(wire, node, PHONE).logged_in("REGISTER", "right") == 200


def test_a_call_goes_on_while_its_network_is_locked_out_and_from_a_new_port() -> None:
    wire, node = gateway()
    phone = Caller(wire, node, PHONE)
    assert phone.logged_in("INVITE", "right") == 100
    offered = node.last(CallOffered)
    node.answer(offered.call, answer(offered.offer, "10.0.0.2", 6000))
    wire.run(0.02)
    accepted = parse(wire.raw[PHONE][-1])
    more = {"call_id": accepted.call_id, "From": accepted.get("From"), "To": accepted.get("To")}
    phone.send("ACK", **more, cseq=accepted.cseq[0])
    for _ in range(4):
        Caller(wire, node, PHONE._replace(port=999)).logged_in("REGISTER", "wrong")
    assert node.endpoint.counters["lockouts"] >= 1
    moved = Caller(wire, node, PHONE._replace(port=4444))
    assert moved.send("INFO", **more, cseq=10)[0].status != 481
    assert not node.endpoint._stack.guard.stranger(moved.place, wire.now)
    assert moved.send("BYE", **more, cseq=11)[0].status == 200
    assert node.endpoint.calls == ()


def test_a_full_house_and_a_known_phone_that_calls_too_often_are_told_when_to_come_back() -> None:
    wire, node = gateway(defence=Defence(invites=Rate(1, 3)))
    phone = Caller(wire, node, PHONE)
    assert phone.logged_in("REGISTER", "right") == 200
    (busy,) = [answers[-1] for answers in [phone.send("INVITE") for _ in range(4)] if answers[-1].status == 503]
    assert int(busy.get("Retry-After")) > 0


def test_scanners_hear_nothing() -> None:
    wire, node = gateway()
    caller = Caller(wire, node)
    for method in ("OPTIONS", "REGISTER", "INVITE"):
        assert caller.send(method, User_Agent="friendly-scanner") == []
    assert node.endpoint.counters["dropped_scanner"] == 3


def test_trunks_are_never_limited() -> None:
    wire, node = gateway(trunks=(Trunk("pbx", (STRANGER.ip,)),), defence=Defence(invites=Rate(1, 1)))
    caller = Caller(wire, node)
    assert [caller.send("INVITE", user="x")[0].status for _ in range(100)] == [100] * 100


def test_names_of_counters_are_few() -> None:
    assert len(SCANNERS) == len(set(SCANNERS))
    assert all(part == part.lower() for part in SCANNERS)
