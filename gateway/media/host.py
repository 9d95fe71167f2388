"""What this machine offers the media engine and what it withholds: one sentence each, "" where all is well."""

from __future__ import annotations

import os
import resource
import threading

PROFILES = ("AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32", "AEAD_AES_128_GCM")
"""SRTP profiles by their names in SDP (RFC 4568, RFC 7714)."""

SOCKETS = 2
"""Of a leg: RTP and RTCP."""

OTHER_FILES = 200
"""Open files beside the legs' sockets and the recordings: the database, workers' pipes, libraries."""


def io_uring_refused() -> str:
    """Why sockets can't be read and written by io_uring."""
    from native.uring import uring_refused

    return str(uring_refused())


def codec_missing(name: str) -> str:
    """Why a codec can't be used here; `name` as in the configuration."""
    from native.codec import available

    return next((str(why) for known, why in available().items() if known.partition("/")[0] == name and why), "")


def srtp_missing(profile: str) -> str:
    """Why an SRTP profile can't be used here."""
    from native.srtp import why_not

    return str(why_not(profile))


def real_time_refused() -> str:
    """Why the engine's threads can't have real-time scheduling. It is tried on a thread of its own."""
    said: list[str] = []

    def attempt() -> None:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        except OSError as error:
            said.append(f"{error.strerror}: allow it with LimitRTPRIO=10, ulimit -r 10 or CAP_SYS_NICE")

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    return said[0] if said else ""


def files_for(legs: int, connections: int = 0) -> int:
    """Open files that a gateway may need: a leg's sockets and recording, and SIP's connections."""
    return legs * (SOCKETS + 1) + connections + OTHER_FILES


def legs_within(files: int, connections: int = 0) -> int:
    """How many legs fit into a limit of open files."""
    return max(0, (files - connections - OTHER_FILES) // (SOCKETS + 1))


def raise_open_files(legs: int, connections: int = 0) -> str:
    """Raise this process's limit of open files to what is needed, as far as its hard limit lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = files_for(legs, connections)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return open_files_short(legs, connections)


def open_files_short(legs: int, connections: int = 0) -> str:
    """Why the hard limit of open files is too low for this many legs, beside SIP's connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = files_for(legs, connections)
    if hard == resource.RLIM_INFINITY or hard >= wanted:
        return ""
    within = legs_within(hard, connections)
    return (
        f"{legs} legs need {wanted} open files, {hard} are allowed, enough for {within} legs: "
        "raise the hard limit (LimitNOFILE=, ulimit -Hn) or lower limits: calls: in gateway.yaml"
    )
