"""Transactions: they move by the tables in `states`, send, repeat, give up and are found again (RFC 3261 section 17).

Whoever uses a transaction gets responses (client) through a callback, and pushes responses (server) in.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.sip.message import Header, Message, Request, Response, respond
from gateway.sip.place import Place
from gateway.sip.states import START, TABLE, TIMERS, Base, Kind, State
from gateway.sip.statuses import REASONS
from gateway.sip.timers import Alarm, Timers
from gateway.sip.via import COOKIE

Key = tuple[object, ...]

User = Callable[[Message], None]
"""What a client transaction does with a response."""


def _nobody(message: Message) -> None:
    return None


class Transaction:
    """One transaction. Server users call `answer`; client users get every response that is theirs, repeated 2xx to
    INVITE included, and a local 408 or 503 where nothing came."""

    __slots__ = (
        "_began",
        "_layer",
        "_timers",
        "destination",
        "key",
        "kind",
        "last",
        "reliable",
        "request",
        "state",
        "tag",
        "user",
    )

    def __init__(self, layer: Transactions, kind: Kind, key: Key, request: Request, place: Place) -> None:
        self._layer = layer
        self._began = layer.now()
        self._timers: dict[str, Alarm] = {}
        self.kind = kind
        self.key = key
        self.request = request
        self.destination = place
        self.state = START[kind]
        self.reliable = place.reliable
        self.last: bytes = b""
        self.user: User = _nobody
        self.tag = ""

    def answer(
        self,
        status: int,
        reason: str | None = None,
        *,
        headers: tuple[Header, ...] = (),
        body: bytes = b"",
    ) -> Response | None:
        """Sends a response. A provisional never follows a final, nor one final another: None is returned then."""
        event = "send 1xx" if status < 200 else "send 2xx" if status < 300 else "send final"
        if (self.state, event) not in TABLE[self.kind]:
            return None
        if stamp := self.request.get("Timestamp"):
            headers = (self._stamped(stamp), *headers)
        response = respond(
            self.request, status, reason, tag="" if status == 100 else self.tag, headers=headers, body=body
        )
        self.step(event, response)
        return response

    def _stamped(self, stamp: str) -> Header:
        """The request's Timestamp, with how many seconds we took where that is worth telling (RFC 3261 8.2.6.1)."""
        delay = self._layer.now() - self._began
        return "Timestamp", f"{stamp.split()[0]} {delay:.3f}" if delay >= 0.001 and stamp.split() else stamp

    @property
    def answered(self) -> bool:
        """Whether a final response was sent or received, or none can be any more."""
        return self.state not in (State.CALLING, State.TRYING, State.PROCEEDING)

    def step(self, event: str, message: Message | None = None) -> bool:
        """Moves by the table; False where the table has no row, so the event means nothing now."""
        row = TABLE[self.kind].get((self.state, event))
        if row is None:
            return False
        self.state, actions = row
        if self.state is State.TERMINATED:
            self._layer.forget(self)
        for action in actions:
            self._act(action, message)
        return True

    def destroy(self) -> None:
        """Ends it without another word (RFC 3261 section 9.1: an INVITE cancelled 64*T1 ago)."""
        self.state = State.TERMINATED
        self._layer.forget(self)

    def expire(self) -> None:
        """Gives up a client transaction that had a provisional response and then nothing: a local 408 for the user."""
        if not self.answered:
            self.destroy()
            self._act("late", None)

    def silence(self) -> None:
        for alarm in self._timers.values():
            alarm.cancel()
        self._timers.clear()

    def _act(self, action: str, message: Message | None) -> None:
        if action[0] == "+":
            self._start(action[1])
        elif action[0] == "-":
            alarm = self._timers.pop(action[1], None)
            if alarm:
                alarm.cancel()
        elif action == "up" and message is not None:
            self.user(message)
        elif action == "send" and isinstance(message, (Request, Response)):
            self.last = message.encode()
            self._layer.send(self.last, self.destination)
        elif action == "again":
            if self.last:
                self._layer.count("retransmitted")
                self._layer.send(self.last, self.destination)
        elif action == "ack" and isinstance(message, Response):
            self._layer.send(_ack(self.request, message).encode(), self.destination)
        elif action == "trying":
            self.answer(100)
        elif action in ("late", "lost"):
            status = 408 if action == "late" else 503
            self._layer.count("timed_out" if action == "late" else "transport_failed")
            self.user(Response(status, REASONS[status], respond(self.request, status).headers, local=True))

    def _start(self, letter: str, interval: float | None = None) -> None:
        timer, base = TIMERS[letter], self._layer.base
        if interval is None:
            factor = timer.reliable if self.reliable else timer.first[1]
            if factor is None:
                return
            interval = getattr(base, timer.first[0]) * factor
        self._timers[letter] = self._layer.timers.at(self._layer.now() + interval, lambda: self._ring(letter, interval))

    def _ring(self, letter: str, interval: float) -> None:
        self._timers.pop(letter, None)
        self.step(letter)
        if TIMERS[letter].repeats and self.state is not State.TERMINATED:
            longer = interval * 2
            if TIMERS[letter].top:
                longer = self._layer.base.t2 if self.state is State.PROCEEDING else min(longer, self._layer.base.t2)
            self._start(letter, longer)


def _ack(invite: Request, response: Response) -> Request:
    """The ACK for a final response that is no 2xx, by RFC 3261 17.1.1.3: part of the INVITE's transaction."""
    headers: list[Header] = [("Via", invite.items("Via")[0])]
    headers += [(name, value) for name, value in invite.headers if name in ("Route", "From", "Call-ID")]
    headers += [
        ("To", response.get("To") or invite.get("To") or ""),
        ("CSeq", f"{invite.cseq[0]} ACK"),
        ("Max-Forwards", "70"),
    ]
    return Request("ACK", invite.uri, headers)


class Transactions:
    """All transactions of one endpoint: matching (17.1.3, 17.2.3), timers, and the way out."""

    def __init__(
        self,
        base: Base,
        timers: Timers,
        now: Callable[[], float],
        send: Callable[[bytes, Place], None],
        count: Callable[[str], None],
    ) -> None:
        self.base = base
        self.timers = timers
        self.now = now
        self.send = send
        self.count = count
        self._all: dict[Key, Transaction] = {}
        self._merge: dict[tuple[str, str, int, str], Transaction] = {}

    def __len__(self) -> int:
        return len(self._all)

    def client(self, request: Request, place: Place, user: User) -> Transaction:
        """Sends a request; `user` gets the responses."""
        kind = Kind.INVITE_CLIENT if request.method == "INVITE" else Kind.CLIENT
        transaction = Transaction(self, kind, (request.via.branch, request.method), request, place)
        transaction.user = user
        self._all[transaction.key] = transaction
        transaction.step("start", request)
        return transaction

    def server(self, request: Request, place: Place, tag: str) -> Transaction:
        """A new transaction for a request that matched none. `tag` goes into the To of its answers."""
        kind = Kind.INVITE_SERVER if request.method == "INVITE" else Kind.SERVER
        transaction = Transaction(self, kind, _key(request), request, place)
        transaction.tag = tag
        self._all[transaction.key] = transaction
        if not request.to.tag:
            self._merge.setdefault(_merge_key(request), transaction)
        transaction.step("start")
        return transaction

    def match(self, request: Request, method: str | None = None) -> Transaction | None:
        """The server transaction a request belongs to; `method` INVITE finds the one a CANCEL is for."""
        return self._all.get(_key(request, method))

    def merged(self, request: Request, own: Transaction) -> bool:
        """Whether the same request came by another path already (RFC 3261 section 8.2.2.2)."""
        return self._merge.get(_merge_key(request), own) is not own

    def response(self, response: Response) -> bool:
        """Hands a response to the transaction it answers; False where there is none."""
        transaction = self._all.get((response.via.branch, response.cseq[1]))
        if transaction is None or transaction.kind not in (Kind.CLIENT, Kind.INVITE_CLIENT):
            return False
        status = response.status
        transaction.step("1xx" if status < 200 else "2xx" if status < 300 else "final", response)
        return True

    def unreachable(self, place: Place) -> None:
        """Nothing listens at `place`, or its connection is gone: its open client transactions fail at once."""
        for transaction in list(self._all.values()):
            if transaction.kind in (Kind.CLIENT, Kind.INVITE_CLIENT) and place.reaches(transaction.destination):
                transaction.step("error")

    def forget(self, transaction: Transaction) -> None:
        transaction.silence()
        if self._all.get(transaction.key) is transaction:
            del self._all[transaction.key]
        if transaction.kind in (Kind.SERVER, Kind.INVITE_SERVER):
            key = _merge_key(transaction.request)
            if self._merge.get(key) is transaction:
                del self._merge[key]

    def pending(self) -> bool:
        """Whether a request of ours still waits for its final response, or a refusal of ours for its ACK."""
        return any(
            t.state is State.COMPLETED if t.kind is Kind.INVITE_SERVER else t.kind is not Kind.SERVER and not t.answered
            for t in self._all.values()
        )


def _key(request: Request, method: str | None = None) -> Key:
    """RFC 3261 17.2.3, and the CSeq number: some phones reuse a branch for the INVITE with credentials."""
    method = method or ("INVITE" if request.method == "ACK" else request.method)
    via, number = request.via, request.cseq[0]
    if via.branch.startswith(COOKIE) and via.branch != COOKIE:
        return via.branch, via.sent_by, method, number
    return request.uri, request.from_.tag, request.call_id, number, str(via), method


def _merge_key(request: Request) -> tuple[str, str, int, str]:
    return request.from_.tag, request.call_id, request.cseq[0], request.method
