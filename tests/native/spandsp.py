"""Debian's libspandsp2 by ctypes: the peer of the in-band key detector. Used by tests and benchmarks alone (LGPL)."""

from __future__ import annotations

import ctypes
import subprocess
from ctypes.util import find_library

import numpy as np


def library() -> ctypes.CDLL | None:
    """The library, or None where Debian's libspandsp2 is not installed."""
    name = find_library("spandsp") or "libspandsp.so.2"
    try:
        lib = ctypes.CDLL(name)
    except OSError:
        return None
    lib.dtmf_rx_init.restype = ctypes.c_void_p
    lib.dtmf_rx_init.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    lib.dtmf_rx.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
    lib.dtmf_rx_get.restype = ctypes.c_size_t
    lib.dtmf_rx_get.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
    lib.dtmf_rx_free.argtypes = [ctypes.c_void_p]
    for name in ("g722_encode", "g722_decode", "dtmf_tx"):
        getattr(lib, f"{name}_init").restype = ctypes.c_void_p
        getattr(lib, f"{name}_free").argtypes = [ctypes.c_void_p]
        getattr(lib, name).argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
    lib.g722_encode_init.argtypes = lib.g722_decode_init.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
    lib.dtmf_tx.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
    lib.dtmf_tx_init.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    lib.dtmf_tx_put.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
    return lib


def version() -> str:
    """As Debian names it, else the library's file name."""
    try:
        shown = subprocess.run(
            ["dpkg-query", "-W", "-f", "${Version}", "libspandsp2"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "libspandsp.so.2"
    return f"libspandsp2 {shown.stdout}"


class Detector:
    """spandsp's dtmf_rx of one stream, int16 at 8 kHz. Raises OSError where the library is missing."""

    def __init__(self) -> None:
        lib = library()
        if lib is None:
            raise OSError("libspandsp2 is not installed")
        self.lib = lib
        self.state = lib.dtmf_rx_init(None, None, None)

    def hear(self, pcm: np.ndarray) -> str:
        """The keys found in `pcm`."""
        found, out = "", ctypes.create_string_buffer(129)
        whole = np.ascontiguousarray(pcm, np.int16)
        for at in range(0, len(whole), 160):
            part = np.ascontiguousarray(whole[at : at + 160])
            self.lib.dtmf_rx(self.state, part.ctypes.data, len(part))
            n = self.lib.dtmf_rx_get(self.state, out, 128)
            found += out.raw[:n].decode()
        return found

    def __del__(self) -> None:
        if hasattr(self, "state"):
            self.lib.dtmf_rx_free(self.state)
