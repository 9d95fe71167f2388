"""What `sip:` of gateway.yaml says of calls that stand: session timers and reliable provisional responses."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.flow.fields import Fields, Report
from gateway.sip.config import RELIABLE
from gateway.sip.session_timer import LEAST


@dataclass(frozen=True)
class DialogSettings:
    """As SipConfig has them: `session_expires` and `min_se` in seconds."""

    session_expires: int = 1800
    min_se: int = LEAST
    reliable: str = "supported"


def read_dialogs(f: Fields, report: Report) -> DialogSettings:
    """Reads the keys; what can't be used is noted in `report` with its line and its default taken."""
    default = DialogSettings()
    session = int(f.duration("session_timer", float(default.session_expires)))
    least = int(f.duration("shortest_session", float(default.min_se), float(LEAST)))
    if session and session < least:
        report.add(
            "session_timer of sip is shorter than the shortest session",
            f.mark("session_timer"),
            read=f"{session}s",
            expected=f"0s for none, or at least {least}s",
        )
        session = default.session_expires
    return DialogSettings(session, least, f.choice("reliable", RELIABLE, default.reliable))
