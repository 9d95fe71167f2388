"""C functions of installed packages, found once and called by the engine through pointers without the GIL.

Each entry names the package, its extension module and the C signature the engine casts the pointer to. The table is
checked when it is loaded; where an entry can't be used the engine falls back on what `FALLBACK` names.
"""

from __future__ import annotations

import ctypes
import importlib.util

FALLBACK = "energy"
"""Speech detection without the WebRTC VAD: level over the noise floor and periodicity alone."""

SIGNATURES: dict[str, tuple[object, tuple[object, ...]]] = {
    # int WebRtcVad_Create(VadInst **); int ..._Init(VadInst *); int ..._set_mode(VadInst *, int 0..3);
    # int ..._Process(VadInst *, int rate, const int16_t *frame, size_t samples); void ..._Free(VadInst *)
    "WebRtcVad_Create": (ctypes.c_int, (ctypes.POINTER(ctypes.c_void_p),)),
    "WebRtcVad_Init": (ctypes.c_int, (ctypes.c_void_p,)),
    "WebRtcVad_set_mode": (ctypes.c_int, (ctypes.c_void_p, ctypes.c_int)),
    "WebRtcVad_Process": (ctypes.c_int, (ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)),
    "WebRtcVad_Free": (None, (ctypes.c_void_p,)),
}

NEEDS = "the extension module _webrtcvad of the package webrtcvad-wheels"


def find(module: str = "_webrtcvad") -> tuple[dict[str, int], str]:
    """Addresses by name, and "" or the reason there are none (one sentence with what to do)."""
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.origin:
        return {}, f"{NEEDS} is not installed; install webrtcvad-wheels. Falling back on '{FALLBACK}'."
    try:
        library = ctypes.CDLL(spec.origin)
        for name, (result, arguments) in SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
        check(library)
    except (OSError, AttributeError, ValueError) as error:
        return {}, f"{NEEDS} can't be used ({error}); install it again. Falling back on '{FALLBACK}'."
    return {name: ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0 for name in SIGNATURES}, ""


def check(library: ctypes.CDLL) -> None:
    """Runs every function once: 10 ms of silence must be accepted and be no speech. Raises ValueError."""
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
