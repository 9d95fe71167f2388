"""A softphone in a process of its own, on pyVoIP: `pyvoip_phone.py SERVER_PORT OWN_PORT USER PASSWORD [DIAL]`.

It registers, dials where told to or else answers the first call that comes, says on standard output what happens, and
leaves when the other side hangs up.
"""

import sys
import time

from pyVoIP.VoIP import CallState, VoIPPhone


def say(text: str) -> None:
    print(text, flush=True)


def answered(call) -> None:
    say("ringing")
    call.answer()
    say("answered")
    wait(call)


def wait(call) -> None:
    while call.state != CallState.ENDED:
        time.sleep(0.05)
    say("ended")


def main() -> None:
    server, own, user, password = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    phone = VoIPPhone("127.0.0.1", server, user, password, myIP="127.0.0.1", sipPort=own, callCallback=answered)
    phone.start()
    deadline = time.time() + 10
    while str(phone.get_status()) != "PhoneStatus.REGISTERED" and time.time() < deadline:
        time.sleep(0.05)
    say(f"status {phone.get_status()}")
    if len(sys.argv) > 5:
        call = phone.call(sys.argv[5])
        while call.state not in (CallState.ANSWERED, CallState.ENDED):
            time.sleep(0.05)
        say(str(call.state))
        time.sleep(0.3)
        if call.state == CallState.ANSWERED:
            call.hangup()
            say("hung up")
    sys.stdin.readline()
    phone.stop()
    say("stopped")


main()
