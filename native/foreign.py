"""C functions of installed packages, found once and called by the engine through pointers without the GIL.

`LIBRARIES` names for each library the files it may be in, the C signatures the engine casts its pointers to, and what
proves that it works. A library is loaded by its own path: nothing else of the package that carries it comes along.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

Signature = tuple[object, tuple[object, ...]]

VOID, INT, INT32 = ctypes.c_void_p, ctypes.c_int, ctypes.c_int32

FALLBACK = "energy"
"""Speech detection without the WebRTC VAD: level over the noise floor and periodicity alone."""

SIGNATURES: dict[str, Signature] = {
    # int WebRtcVad_Create(VadInst **); int ..._Init(VadInst *); int ..._set_mode(VadInst *, int 0..3);
    # int ..._Process(VadInst *, int rate, const int16_t *frame, size_t samples); void ..._Free(VadInst *)
    "WebRtcVad_Create": (INT, (ctypes.POINTER(VOID),)),
    "WebRtcVad_Init": (INT, (VOID,)),
    "WebRtcVad_set_mode": (INT, (VOID, INT)),
    "WebRtcVad_Process": (INT, (VOID, INT, VOID, ctypes.c_size_t)),
    "WebRtcVad_Free": (None, (VOID,)),
}

OPUS_SIGNATURES: dict[str, Signature] = {
    # RFC 6716's API, opus.h: rates are opus_int32, a state is memory of get_size(streams) octets
    "opus_get_version_string": (ctypes.c_char_p, ()),
    "opus_decoder_get_size": (INT, (INT,)),
    "opus_decoder_init": (INT, (VOID, INT32, INT)),
    "opus_decode": (INT, (VOID, ctypes.c_char_p, INT32, VOID, INT, INT)),
    "opus_encoder_get_size": (INT, (INT,)),
    "opus_encoder_init": (INT, (VOID, INT32, INT, INT)),
    "opus_encoder_ctl": (INT, (VOID, INT)),  # and one opus_int32, after the dots
    "opus_encode": (INT32, (VOID, VOID, INT, VOID, INT32)),
}


@dataclass(frozen=True)
class Library:
    """`files`: where it may be, best first. `check` raises ValueError. `without`: what follows from its absence."""

    needs: str
    install: str
    without: str
    files: Callable[[], Iterator[str]]
    signatures: dict[str, Signature]
    check: Callable[[ctypes.CDLL], None]


def extension(module: str) -> Iterator[str]:
    """The file of an installed extension module."""
    spec = importlib.util.find_spec(module)
    if spec is not None and spec.origin:
        yield spec.origin


def beside(package: str, pattern: str) -> Iterator[str]:
    """Files that match `pattern` from the folder an installed package lies in. The package is not imported."""
    spec = importlib.util.find_spec(package)
    if spec is not None and spec.origin:
        yield from (str(found) for found in sorted(Path(spec.origin).parent.parent.glob(pattern)))


def opus_files() -> Iterator[str]:
    yield from beside("av", "av.libs/libopus-*.so*")
    yield from beside("opuslib_next", "opuslib_next/_native/libopus.so")
    yield "libopus.so.0"  # the loader's own search: nothing is started to find it


def check_vad(library: ctypes.CDLL) -> None:
    """10 ms of silence must be accepted and be no speech."""
    instance = ctypes.c_void_p()
    if library.WebRtcVad_Create(ctypes.byref(instance)) or not instance:
        raise ValueError("WebRtcVad_Create failed")
    silence = (ctypes.c_int16 * 80)()
    answers = (
        library.WebRtcVad_Init(instance),
        library.WebRtcVad_set_mode(instance, 3),
        library.WebRtcVad_Process(instance, 8000, silence, 80),
    )
    library.WebRtcVad_Free(instance)
    if any(answers):
        raise ValueError(f"WebRtcVad answered {answers} to silence")


def check_opus(library: ctypes.CDLL) -> None:
    """20 ms of silence at 16 kHz must come back as 20 ms of silence."""
    encoder = ctypes.create_string_buffer(library.opus_encoder_get_size(1))
    decoder = ctypes.create_string_buffer(library.opus_decoder_get_size(1))
    pcm, packet = (ctypes.c_int16 * 320)(), ctypes.create_string_buffer(1500)
    if library.opus_encoder_init(encoder, 16000, 1, 2048) or library.opus_decoder_init(decoder, 16000, 1):
        raise ValueError("libopus refuses 16 kHz mono")
    size = library.opus_encode(encoder, pcm, 320, packet, len(packet))
    samples = library.opus_decode(decoder, packet.raw[: max(size, 0)], size, pcm, 320, 0) if size > 0 else 0
    if samples != 320 or max(map(abs, pcm)) > 10:
        raise ValueError(f"libopus made {size} octets and {samples} samples of 20 ms of silence")


LIBRARIES = {
    "webrtcvad": Library(
        "the extension module _webrtcvad of the package webrtcvad-wheels",
        "install webrtcvad-wheels",
        f"Falling back on '{FALLBACK}'.",
        lambda: extension("_webrtcvad"),
        SIGNATURES,
        check_vad,
    ),
    "opus": Library(
        "libopus (the system's libopus.so.0, or the one in the package av or opuslib-next-bundled)",
        "apt-get install libopus0, or pip install av",
        "Opus is not offered.",
        opus_files,
        OPUS_SIGNATURES,
        check_opus,
    ),
}


@functools.cache
def find(name: str = "webrtcvad") -> tuple[dict[str, int], str]:
    """Addresses of a library's functions by name, and "" or why there are none (one sentence with what to do)."""
    return load(LIBRARIES[name])


def load(library: Library) -> tuple[dict[str, int], str]:
    """As `find`: the first of the library's files that has every function and passes its check."""
    missing = f"{library.needs} is not installed; {library.install}. {library.without}"
    broken = ""
    for file in library.files():
        try:
            loaded = ctypes.CDLL(file)
            for name, (result, arguments) in library.signatures.items():
                function = getattr(loaded, name)
                function.restype, function.argtypes = result, arguments
            library.check(loaded)
        except (OSError, AttributeError, ValueError) as error:
            if "cannot open shared object file: No such file" not in str(error):
                broken = f"{library.needs} can't be used ({error}); {library.install}. {library.without}"
            continue
        return {name: ctypes.cast(getattr(loaded, name), VOID).value or 0 for name in library.signatures}, ""
    return {}, broken or missing
