"""The edge voice against a local server that speaks its protocol, and the ways it fails."""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Iterator

import pytest

from gateway.core.errors import ModelMissing, TrunklineError
from gateway.speech.tts_edge import EdgeVoice
from tests.speech.readaloud import ReadAloud, read_aloud


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ReadAloud]:
    with read_aloud() as (server, address):
        monkeypatch.setattr("edge_tts.communicate.WSS_URL", address)
        yield server


def test_the_text_goes_out_and_speech_comes_back(server: ReadAloud) -> None:
    audio = EdgeVoice().render("Fish & chips, <please>.", "en-US")
    assert 1.5 < audio.seconds < 2.5
    assert server.asked == [
        ("Microsoft Server Speech Text to Speech Voice (en-US, AriaNeural)", "Fish & chips, <please>.")
    ]


def test_each_language_has_its_voice(server: ReadAloud) -> None:
    EdgeVoice().render("您好", "zh-CN")
    assert "zh-CN, XiaoxiaoNeural" in server.asked[0][0]
    EdgeVoice({"zh-CN": "zh-CN-YunxiNeural"}).render("您好", "zh-CN")
    assert "zh-CN, YunxiNeural" in server.asked[1][0]


@pytest.mark.parametrize(
    ("mood", "kind", "says"),
    [
        ("403", ModelMissing, "HTTP 403"),
        ("503", ModelMissing, "HTTP 503"),
        ("mute", ModelMissing, "in time"),
        ("empty", TrunklineError, "no sound"),
        ("noise", TrunklineError, "can't be decoded"),
        ("strange", TrunklineError, "not understood"),
        ("drops", TrunklineError, "cut off"),
    ],
)
def test_each_failure_is_a_sentence(server: ReadAloud, mood: str, kind: type[TrunklineError], says: str) -> None:
    server.mood = mood
    with pytest.raises(TrunklineError, match=says) as caught:
        EdgeVoice(connect_s=1, read_s=1).render("Hello.", "en-US")
    assert type(caught.value) is kind


def test_without_a_network_it_fails_at_once_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = f"ws://127.0.0.1:{taken.getsockname()[1]}/edge/v1?a=b"
        monkeypatch.setattr("edge_tts.communicate.WSS_URL", nobody)
        voice = EdgeVoice()
        with pytest.raises(ModelMissing, match="can't be reached") as caught:
            voice.render("Hello.", "en-US")
        assert "offline voice" in str(caught.value.do)


def test_it_rests_after_a_refusal_and_comes_back(server: ReadAloud) -> None:
    server.mood = "403"
    voice = EdgeVoice(rest_s=3600)
    for _ in range(5):
        with pytest.raises(ModelMissing, match="HTTP 403"):
            voice.render("Hello.", "en-US")
    assert server.connections == 2, "edge-tts itself asks twice, with the clock set right"
    server.mood = "well"
    voice = EdgeVoice(rest_s=0)
    server.mood = "503"
    with pytest.raises(ModelMissing):
        voice.render("Hello.", "en-US")
    server.mood = "well"
    assert voice.render("Hello.", "en-US").seconds > 1


@pytest.mark.parametrize("package", ["edge_tts", "miniaudio"])
def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == package else find(name))
    with pytest.raises(ModelMissing, match=package) as caught:
        EdgeVoice().render("Hello.", "en-US")
    assert caught.value.do == "pip install 'trunkline[edge]'"
