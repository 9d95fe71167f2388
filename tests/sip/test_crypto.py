"""Keys in session descriptions (RFC 4568, RFC 7714): which lines are taken, and what both sides make of them."""

from __future__ import annotations

import base64
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.media.host import PROFILES
from gateway.sip import crypto, offer_answer, sdp
from gateway.sip.crypto import SUITES, Srtp
from gateway.sip.offer_answer import NotAcceptable

KEY = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"
"""30 octets, those of the example in RFC 4568 section 4.1."""
OTHER = "PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR"
GCM = base64.b64encode(bytes(range(28))).decode()
CM80, CM32, GCM128 = SUITES


def seeded(policy: str = "optional", seed: int = 1, suites: tuple[str, ...] = tuple(SUITES)) -> Srtp:
    return Srtp(policy, suites, random.Random(seed).randbytes)


def offered(*lines: str, protocol: str = "RTP/SAVP", head: tuple[str, ...] = ()) -> sdp.SessionDescription:
    text = ["v=0", "o=- 1 1 IN IP4 10.0.0.9", "s=-", "c=IN IP4 10.0.0.9", "t=0 0", *head]
    text += [f"m=audio 4000 {protocol} 0 8", *(f"a=crypto:{line}" for line in lines), ""]
    return sdp.parse("\r\n".join(text).encode())


def test_the_engine_knows_every_suite() -> None:
    assert set(SUITES) == set(PROFILES)


USED = [
    f"1 {CM80} inline:{KEY}",
    f"999999999 {CM80} inline:{KEY}|2^20",
    f"1 {CM80} inline:{KEY}|2^48",
    f"1 {CM80} INLINE:{KEY}|1048576",
    f"1  {CM32}\tinline:{KEY}  WSH=64",
    f"1 {CM80} inline:{KEY} -UNKNOWN=1 -x",
    f"1 {GCM128} inline:{GCM}",
    f"1 {GCM128} inline:{GCM.rstrip('=')}",
]
PASSED_OVER = [
    f"1 {CM80} inline:{KEY}|1:4",
    f"1 {CM80} inline:{KEY}|2^20|1:4",
    f"1 {CM80} inline:{KEY}|2^20|1:32;inline:{OTHER}|2^20|2:32",
    f"1 {CM80} inline:{KEY}|2^19",
    f"1 {CM80} inline:{KEY}|1000",
    f"1 {CM80} inline:{KEY} UNENCRYPTED_SRTP",
    f"1 {CM80} inline:{KEY} UNENCRYPTED_SRTCP",
    f"1 {CM80} inline:{KEY} UNAUTHENTICATED_SRTP",
    f"1 {CM80} inline:{KEY} KDR=1",
    f"1 {CM80} inline:{KEY} FEC_KEY=inline:{KEY}",
    f"1 {CM80} inline:{KEY} SURPRISE",
    f"1 {CM80} inline:{KEY[:-4]}",
    f"1 {CM80} inline:{KEY}AAAA",
    f"1 {CM80} inline:{KEY[:-1]}*",
    f"1 {GCM128} inline:{KEY}",
    f"1 F8_128_HMAC_SHA1_80 inline:{KEY}",
    f"1 {CM80.lower()} inline:{KEY}",
    f"1 {CM80} other:{KEY}",
    f"1 {CM80}",
    f"x {CM80} inline:{KEY}",
    f"1234567890 {CM80} inline:{KEY}",
    "",
]


@pytest.mark.parametrize("line", USED)
def test_lines_that_are_taken(line: str) -> None:
    offer = offered(f"7 AES_256_CM_HMAC_SHA1_80 inline:{KEY}", line)
    answer = offer_answer.answer(offer, "10.0.0.2", 6000, srtp=seeded())
    (mine,) = sdp.parse(answer.encode()).media[0].crypto
    assert (answer.media[0].protocol, mine.tag) == ("RTP/SAVP", int(line.split()[0]))
    agreed = offer_answer.agreed(answer, offer)
    assert (agreed.profile, agreed.own_key) == (mine.suite, mine.key)
    assert agreed.peer_key == offer.media[0].crypto[1].key
    assert len(agreed.peer_key) == len(agreed.own_key) == SUITES[mine.suite]


@pytest.mark.parametrize("line", PASSED_OVER)
def test_lines_that_are_not(line: str) -> None:
    with pytest.raises(NotAcceptable) as refusal:
        offer_answer.answer(offered(line), "10.0.0.2", 6000, srtp=seeded())
    assert refusal.value.warning == 306
    again = offer_answer.answer(offered(line, f"3 {CM32} inline:{OTHER}"), "10.0.0.2", 6000, srtp=seeded())
    assert [(line.tag, line.suite) for line in again.media[0].crypto] == [(3, CM32)]


def test_the_first_line_of_the_offer_that_this_machine_can_use_is_answered() -> None:
    offer = offered(f"1 {GCM128} inline:{GCM}", f"2 {CM32} inline:{KEY}", f"3 {CM80} inline:{OTHER}")
    for suites, tag in ((tuple(SUITES), 1), ((CM80, CM32), 2), ((CM80,), 3)):
        answer = offer_answer.answer(offer, "10.0.0.2", 6000, srtp=seeded(suites=suites))
        assert [line.tag for line in answer.media[0].crypto] == [tag]


@pytest.mark.parametrize("protocol", ["RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF"])
@pytest.mark.parametrize("policy", crypto.POLICIES)
@pytest.mark.parametrize("lines", [(), (f"1 {CM80} inline:{KEY}",)])
def test_the_policy_decides(policy: str, protocol: str, lines: tuple[str, ...]) -> None:
    """A phone may also put keys beside RTP/AVP and leave it to us."""
    offer = offered(*lines, protocol=protocol)
    asks = offer_answer.PROFILES[protocol]
    protected = bool(lines) and policy != "never"
    taken = protected or (not asks and policy != "required")
    if not taken:
        with pytest.raises(NotAcceptable):
            offer_answer.answer(offer, "10.0.0.2", 6000, srtp=seeded(policy))
        return
    answer = offer_answer.answer(offer, "10.0.0.2", 6000, srtp=seeded(policy))
    assert answer.media[0].protocol == protocol
    assert bool(answer.media[0].crypto) is protected
    agreed = offer_answer.agreed(answer, offer)
    assert agreed.profile == (CM80 if protected else None)
    assert bool(agreed.own_key) is bool(agreed.peer_key) is protected


def test_of_a_protected_and_a_plain_stream_the_first_that_may_be_is_taken() -> None:
    lines = [f"1 {CM80} inline:{KEY}"]
    offer = offered(*lines)
    plain = offered(protocol="RTP/AVP").media[0]
    both = sdp.SessionDescription((offer.media[0], plain), "10.0.0.9")
    ports = {
        policy: [m.port for m in offer_answer.answer(both, "10.0.0.2", 6000, srtp=seeded(policy)).media]
        for policy in crypto.POLICIES
    }
    assert ports == {"never": [0, 6000], "optional": [6000, 0], "required": [6000, 0]}


def test_our_offer_holds_a_key_for_each_suite() -> None:
    offer = offer_answer.offer("10.0.0.2", 6000, srtp=seeded("required"))
    stream = sdp.parse(offer.encode()).media[0]
    assert stream.protocol == "RTP/SAVP"
    assert [(line.tag, line.suite) for line in stream.crypto] == list(enumerate(SUITES, 1))
    assert len({line.key for line in stream.crypto}) == len(SUITES)
    assert not offer_answer.offer("10.0.0.2", 6000, srtp=seeded("optional")).media[0].crypto


@pytest.mark.parametrize(
    "lines",
    [
        (),
        (f"9 {CM80} inline:{OTHER}",),
        (f"1 {CM32} inline:{OTHER}",),
        (f"2 {CM32} inline:{OTHER}|1:4",),
    ],
)
def test_an_answer_without_a_key_of_the_offer_is_none(lines: tuple[str, ...]) -> None:
    offer = offer_answer.offer("10.0.0.2", 6000, srtp=seeded("required"))
    with pytest.raises(NotAcceptable):
        offer_answer.agreed(offer, offered(*lines))


def test_an_answer_in_the_clear_to_a_protected_offer_is_none() -> None:
    offer = offer_answer.offer("10.0.0.2", 6000, srtp=seeded("required"))
    with pytest.raises(NotAcceptable):
        offer_answer.agreed(offer, offered(f"1 {CM80} inline:{OTHER}", protocol="RTP/AVP"))


def test_a_peer_that_says_our_own_key_again_is_not_believed() -> None:
    offer = offer_answer.offer("10.0.0.2", 6000, srtp=seeded("required"))
    with pytest.raises(NotAcceptable):
        offer_answer.agreed(offer, offered(str(offer.media[0].crypto[0])))


def test_keys_stay_while_the_call_is_changed_and_new_ones_are_taken() -> None:
    offer = offered(f"1 {CM80} inline:{KEY}")
    mine = offer_answer.answer(offer, "10.0.0.2", 6000, srtp=seeded())
    first = offer_answer.agreed(mine, offer)
    again = offer_answer.answer(offer, "10.0.0.2", 6000, srtp=seeded(seed=2), before=(mine, offer))
    assert again == mine, "an offer said twice gets the same answer"
    other = offered(f"2 {CM80} inline:{OTHER}")
    second = offer_answer.agreed(
        offer_answer.answer(other, "10.0.0.2", 6000, srtp=seeded(seed=3), before=(mine, offer)), other
    )
    assert second.own_key == first.own_key
    assert second.peer_key == base64.b64decode(OTHER)
    narrow = offered(f"1 {CM32} inline:{OTHER}")
    third = offer_answer.agreed(
        offer_answer.answer(narrow, "10.0.0.2", 6000, srtp=seeded(seed=4), before=(mine, offer)), narrow
    )
    assert (third.profile, third.own_key == first.own_key) == (CM32, False)
    ours = offer_answer.offer("10.0.0.2", 6000, srtp=seeded(seed=5), before=(mine, offer))
    assert {line.suite: line.key for line in ours.media[0].crypto}[CM80] == first.own_key


def test_what_was_protected_stays_so() -> None:
    offer = offered(f"1 {CM80} inline:{KEY}")
    mine = offer_answer.answer(offer, "10.0.0.2", 6000, srtp=seeded())
    with pytest.raises(NotAcceptable):
        offer_answer.answer(offered(protocol="RTP/AVP"), "10.0.0.2", 6000, srtp=seeded(), before=(mine, offer))


def test_keys_are_shown_nowhere_but_in_the_text_itself() -> None:
    offer = offered(f"1 {CM80} inline:{KEY}|2^31")
    mine = offer_answer.answer(offer, "10.0.0.2", 6000, srtp=seeded())
    agreed = offer_answer.agreed(mine, offer)
    own = str(mine.media[0].crypto[0].keys).partition(":")[2]
    for shown in (repr(offer), repr(mine), repr(agreed), repr(seeded()), repr(crypto.settled((), ()))):
        assert KEY not in shown
        assert own not in shown
        assert repr(agreed.own_key) not in shown
    assert KEY in str(offer)


@given(st.text(alphabet=st.characters(max_codepoint=126), max_size=80) | st.sampled_from(PASSED_OVER + USED))
def test_any_line_is_read_or_passed_over(value: str) -> None:
    line = crypto.read(value)
    if line:
        assert crypto.read(str(line)) == line
        assert line.key is None or len(line.key) == SUITES[line.suite]
