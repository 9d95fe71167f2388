"""Reason headers, read and written."""

from __future__ import annotations

import pytest

from gateway.sip import reason
from gateway.sip.message import Request
from gateway.sip.reason import Reason


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], Reason()),
        (['Q.850;cause=16;text="Terminated"'], Reason("Terminated", 16)),
        (["q.850 ; cause=17"], Reason("q.850 17", 17)),
        (['SIP;cause=200;text="Call completed elsewhere", Q.850;cause=26'], Reason("Call completed elsewhere", 26)),
        (["SIP;cause=600", 'Q.850;cause=21;text="no, thanks"'], Reason("no, thanks", 21)),
        (["SIP;cause=many;text=brief"], Reason("brief", 0)),
        (["SIP;=;text=x", "X.preemption;cause=1"], Reason("X.preemption 1", 0)),
        (["", ";", '"'], Reason('"', 0)),
    ],
)
def test_reading(values: list[str], expected: Reason) -> None:
    assert reason.read(Request("BYE", "sip:x", [("Reason", value) for value in values])) == expected


@pytest.mark.parametrize("given", [Reason("hung up"), Reason("", 16), Reason('a "quoted" word', 31), Reason()])
def test_what_is_written_is_read_again(given: Reason) -> None:
    said = reason.read(Request("BYE", "sip:x", reason.headers(given)))
    assert said.cause == given.cause
    assert said.text == (given.text or ("Q.850 16" if given.cause else ""))


def test_nothing_breaks_out_of_the_line() -> None:
    ((_, value),) = reason.headers(Reason("a\r\nVia: b", 16))
    assert value == 'Q.850;cause=16;text="a Via: b"'
