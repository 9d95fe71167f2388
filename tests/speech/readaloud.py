"""A local server that speaks the read-aloud protocol of edge-tts, well or badly."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from xml.etree import ElementTree

from aiohttp import WSMsgType, web

MP3 = (Path(__file__).parent / "data" / "table.mp3").read_bytes()
MP3_S = 2.0


def header(path: str, kind: str) -> str:
    return f"X-RequestId:1\r\nContent-Type:{kind}\r\nPath:{path}\r\n"


class ReadAloud:
    """`mood` is what it does next; `asked` keeps (voice, text) of every request that came through."""

    def __init__(self) -> None:
        self.mood = "well"
        self.asked: list[tuple[str, str]] = []
        self.connections = 0

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.connections += 1
        if self.mood.isdigit():
            return web.Response(status=int(self.mood), headers={"Date": formatdate(usegmt=True)})
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type == WSMsgType.TEXT and "Path:ssml" in message.data:
                await self.speak(socket, message.data.partition("\r\n\r\n")[2])
        return socket

    async def speak(self, socket: web.WebSocketResponse, ssml: str) -> None:
        root = ElementTree.fromstring(ssml)
        voice = root.find(".//{*}voice")
        assert voice is not None
        text = "".join(voice.itertext())
        self.asked.append((voice.attrib["name"], text))
        if self.mood == "mute":
            await asyncio.sleep(30)
        await socket.send_str(header("turn.start", "application/json") + "\r\n{}")
        if self.mood == "strange":
            await socket.send_str(header("who.knows", "application/json") + "\r\n{}")
            return
        sound = {"noise": b"\x00\x01" * 500, "empty": b""}.get(self.mood, MP3)
        half = len(sound) // 2
        for part in (sound[:half], sound[half:] if self.mood != "drops" else b""):
            if part:
                head = header("audio", "audio/mpeg").encode()
                await socket.send_bytes(len(head).to_bytes(2, "big") + head + part)
        said = {"Offset": 0, "Duration": int(MP3_S * 1e7), "text": {"Text": text, "BoundaryType": "SentenceBoundary"}}
        about = {"Metadata": [{"Type": "SentenceBoundary", "Data": said}]}
        await socket.send_str(header("audio.metadata", "application/json") + "\r\n" + json.dumps(about))
        if self.mood == "drops":
            await socket.close()
            return
        await socket.send_str(header("turn.end", "application/json") + "\r\n{}")


@contextmanager
def read_aloud() -> Iterator[tuple[ReadAloud, str]]:
    """The server in a thread, and its address for edge_tts."""
    server = ReadAloud()
    loop = asyncio.new_event_loop()
    app = web.Application()
    app.router.add_get("/edge/v1", server.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)

    async def start() -> int:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return int(runner.addresses[0][1])

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    port = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield server, f"ws://127.0.0.1:{port}/edge/v1?TrustedClientToken=local"
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
