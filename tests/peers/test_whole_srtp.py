"""Calls encrypted by SDES-SRTP, with baresip on both sides of the gateway."""

from __future__ import annotations

import pytest

from gateway.lab.sounds import tone
from tests.peers import baresip, whole
from tests.peers.programs import Programs
from tests.peers.talks import AGENT_HZ, CALLER_HZ, talk
from tests.peers.whole import Hall

pytestmark = [pytest.mark.peers, pytest.mark.timeout(300)]

PROFILE = "AES_CM_128_HMAC_SHA1_80"


@pytest.fixture(scope="module")
def agent(hall: Hall, crew: Programs) -> baresip.Baresip:
    """A phone that has to encrypt, and whose owner's line says so too."""
    voice, password = tone(AGENT_HZ, 60.0), whole.password("secret1")
    return baresip.start(crew, hall.gateway.sip, "secret1", password, voice=voice, encryption="srtp-mand")


@pytest.mark.parametrize("how", ["srtp-mandf", "srtp", ""])
def test_each_leg_is_encrypted_as_its_phone_wants(hall: Hall, crew: Programs, agent: baresip.Baresip, how: str) -> None:
    """The agent's always is; the caller's where the phone offers keys, in RTP/SAVPF or beside RTP/AVP."""
    phone = baresip.start(crew, "", f"caller-{how or 'plain'}", voice=tone(CALLER_HZ, 60.0), encryption=how)
    call = talk(hall.records, phone, agent, hall.gateway.uri("3001"), "37")
    assert (call.caller, call.agent) == ({AGENT_HZ}, {CALLER_HZ})
    assert call.profiles == {"caller": PROFILE if how else None, "agent": PROFILE}
