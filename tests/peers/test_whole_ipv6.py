"""A gateway that has IPv6 alone: registered, called and heard both ways, in the clear and encrypted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.lab import stage
from gateway.lab.sounds import tone
from tests.peers import baresip, whole
from tests.peers.programs import Programs, need
from tests.peers.talks import AGENT_HZ, CALLER_HZ, talk
from tests.peers.whole import Records

pytestmark = [pytest.mark.peers, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, prompts: Path) -> Iterator[stage.GatewayProcess]:
    need("baresip")
    folder = tmp_path_factory.mktemp("six")
    data = whole.data_folder(folder / "data", prompts)
    with stage.gateway(data, config=whole.written(folder / "config", bank=False), host="::1") as running:
        yield running
    assert "Traceback" not in running.log.read_text(errors="replace")


@pytest.fixture(scope="module")
def records(gateway: stage.GatewayProcess) -> Iterator[Records]:
    found = Records(gateway.data)
    yield found
    found.close()


def test_a_call_over_ipv6_is_heard_both_ways(gateway: stage.GatewayProcess, records: Records, crew: Programs) -> None:
    voice, password = tone(AGENT_HZ, 60.0), whole.password("secret1")
    agent = baresip.start(crew, gateway.sip, "secret1", password, voice=voice, encryption="srtp-mand", ip="::1")
    phone = baresip.start(crew, "", "six", voice=tone(CALLER_HZ, 60.0), ip="::1")
    call = talk(records, phone, agent, gateway.uri("3001"), "37")
    assert (call.caller, call.agent) == ({AGENT_HZ}, {CALLER_HZ})
    assert call.profiles == {"caller": None, "agent": "AES_CM_128_HMAC_SHA1_80"}
