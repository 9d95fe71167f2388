# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The tick is spread: a sub-tick is 1 ms, and leg k sends on sub-tick k % 20, right after its socket was read."""

from libc.errno cimport EINTR

from native.clib cimport (
    ACQUIRE, CLOCK_MONOTONIC, CLOCK_THREAD_CPUTIME_ID, PR_SET_TIMERSLACK, RELEASE, SCHED_FIFO, TIMER_ABSTIME, clock_nanosleep,
    clock_ns, load32, now_ns, prctl, pthread_self, pthread_setschedparam, sched_param, store32, timespec, write,
)
from native.codec cimport CODECS
from native.desk cimport PROMPT_DONE, post
from native.inbound cimport leg_control, leg_packet
from native.io cimport io_flush, io_forget, io_poll, io_watch
from native.leg cimport LEG_GONE, LEG_OPEN, leg_fetch, leg_keys, leg_listen, leg_rearm, leg_remote, leg_seat, leg_stop
from native.net cimport Address
from native.outbound cimport leg_report, leg_send
from native.playout cimport LISTED, PLAY_LAST, playout_add, prompt_let_go
from native.rings cimport ring_put, ring_take
from native.room cimport SEATS, Room, Seat, room_far, room_settle
from native.srtp cimport srtp_adopt

cdef int64_t SUB_NS = 1_000_000
cdef int64_t STOOD_STILL_NS = 200_000_000   # further behind than this is not caught up with

cdef enum:
    SENDS_EVERY = 20        # sub-ticks
    IDLE = 5                # sub-ticks passed over while no leg is open
    FLUSH = 16              # legs whose packets leave together


# --- commands -----------------------------------------------------------------------------------------------------


cdef void play(Machine *m, Leg *l, Command *c, int64_t now) noexcept nogil:
    """`flags`: PLAY_ bits of every item; a: append. A list without room ends the token at once, as stopped."""
    cdef int k
    if not c.a:
        leg_stop(&m.desk, l, now)
        leg_rearm(&m.desk, l, now)
    if l.playout.count - l.playout.first + c.n > LISTED:
        for k in range(c.n):
            prompt_let_go(&m.desk.prompts[c.detail.ids[k]])
        post(&m.desk, PROMPT_DONE, l.handle, now, c.token, 1)
        return
    for k in range(c.n):
        playout_add(&l.playout, m.desk.prompts, c.detail.ids[k], c.flags | (PLAY_LAST if k == c.n - 1 else 0), c.token)


cdef void visit(Machine *m, Room *room) noexcept nogil:
    """A room stands in the list while it has a seat whose leg is on another thread."""
    cdef bint far = False
    cdef int k
    for k in range(SEATS):
        far = far or room.seats[k].link != NULL
    for k in range(m.far_rooms):
        if m.rooms[k] == room:
            if not far:
                m.far_rooms -= 1
                m.rooms[k] = m.rooms[m.far_rooms]
            return
    if far and m.far_rooms < m.max_legs:
        m.rooms[m.far_rooms] = room
        m.far_rooms += 1


cdef void settle(Command *c) noexcept nogil:
    cdef int k
    for k in range(SEATS):
        c.room.seats[k].hears = c.detail.hears[k]
    room_settle(c.room)


cdef void sit(Machine *m, Command *c, Leg *l) noexcept nogil:
    """Seat `a` of a room is taken by the leg, or by a link; who hears whom is set for all seats."""
    cdef Seat *seat = &c.room.seats[c.a]
    seat.taken = True
    seat.link = c.link
    if c.link != NULL:
        seat.voice = &seat.own
        visit(m, c.room)
    else:
        seat.voice = &l.voice
        seat.wide = l.wide
        leg_seat(l, c.room, c.a, NULL)
    settle(c)


cdef void stand(Machine *m, Command *c, Leg *l) noexcept nogil:
    c.room.seats[c.a].taken = False
    c.room.seats[c.a].link = NULL
    if c.link == NULL:
        leg_seat(l, NULL, 0, NULL)
    else:
        visit(m, c.room)
    settle(c)
    bury(m, c.link)
    if c.b:
        bury(m, c.room)


cdef void bury(Machine *m, void *memory) noexcept nogil:
    """Tells the commanding thread that this thread will not look at `memory` again."""
    if memory != NULL:
        ring_put(&m.graves, &memory, 1)


cdef void far(Machine *m, Leg *l, Command *c) noexcept nogil:
    if l.link != NULL and l.link != c.link:
        bury(m, l.link)
    leg_seat(l, NULL, 0, c.link)
    if c.link != NULL:
        store32(&c.link.wide, l.wide, RELEASE)


cdef void obey(Machine *m, Command *c, int64_t now) noexcept nogil:
    """Carries one command out. Also called by the commanding thread while the engine does not run."""
    cdef Leg *l = m.legs[c.index]
    if c.what == DO_OPEN:
        l.opened_at = l.heard_at = now
        m.open_legs += 1
        store32(&l.state, LEG_OPEN, RELEASE)
        if m.running:
            watch(m, l)
    elif c.what == DO_CLOSE:
        leg_stop(&m.desk, l, now)
        if m.running:
            leg_report(l, &m.io, True, now)
            io_flush(&m.io)
            io_forget(&m.io, 2 * c.index)
            io_forget(&m.io, 2 * c.index + 1)
        bury(m, l.srtp)
        l.srtp = NULL
        m.open_legs -= 1
        store32(&l.state, LEG_GONE, RELEASE)
    elif c.what == DO_REMOTE:
        if not l.wire.known or (c.detail.wire.receive and not l.wire.receive):
            l.heard_at = now
        if (CODECS[c.detail.wire.codec].rate == 16000) != l.wide:
            leg_rearm(&m.desk, l, now)      # what is heard starts anew
        leg_remote(l, &c.detail.wire)
        if l.link != NULL:
            store32(&l.link.wide, l.wide, RELEASE)
    elif c.what == DO_PLAY:
        play(m, l, c, now)
    elif c.what == DO_RESUME:
        l.playout.muted = False
        leg_rearm(&m.desk, l, now)
    elif c.what == DO_STOP:
        leg_stop(&m.desk, l, now)
    elif c.what == DO_LISTEN:
        leg_listen(&m.desk, l, c.a)
    elif c.what == DO_SEAT:
        sit(m, c, l)
    elif c.what == DO_STAND:
        stand(m, c, l)
    elif c.what == DO_FAR:
        far(m, l, c)
    elif c.what == DO_KEYS:
        leg_keys(l, c.detail.ids, c.n, c.a)
    elif c.what == DO_TAP:
        l.tapped = c.a
        l.tap_wide = c.b
    elif c.what == DO_MASK:
        l.masked = c.a
    elif c.what == DO_ECHO:
        l.echoing = c.a
    elif c.what == DO_TONES:
        l.tones = c.a
    elif c.what == DO_GAIN:
        l.auto_gain = c.a
    elif c.what == DO_SECURE:
        if l.srtp != NULL:
            srtp_adopt(c.srtp, l.srtp)
        bury(m, l.srtp)
        l.srtp = c.srtp


cdef void obey_all(Machine *m, int64_t now) noexcept nogil:
    cdef Command c
    while ring_take(&m.commands, &c, 1):
        obey(m, &c, now)


cdef void watch(Machine *m, Leg *l) noexcept nogil:
    io_watch(&m.io, 2 * l.index, l.fd)
    if l.control_fd >= 0:
        io_watch(&m.io, 2 * l.index + 1, l.control_fd)


# --- ticks --------------------------------------------------------------------------------------------------------


cdef void took(void *owner, uint32_t tag, const uint8_t *octets, int n, const Address *source, int64_t now) noexcept nogil:
    cdef Machine *m = <Machine *>owner
    cdef Leg *l = m.legs[tag >> 1]
    if load32(&l.state, ACQUIRE) != LEG_OPEN:
        return
    if tag & 1:
        leg_control(&m.desk, l, <uint8_t *>octets, n, source, now)
    else:
        leg_packet(&m.desk, l, <uint8_t *>octets, n, source, now)


cdef void leave(Machine *m, int legs, int64_t due) noexcept nogil:
    """Queued packets go; how late they are is counted once they are gone."""
    cdef int64_t late
    m.failed = io_flush(&m.io)
    late = (now_ns() - due) // 100000
    late = late if late > 0 else 0
    m.late[late if late < BUCKETS - 1 else BUCKETS - 1] += legs


cdef void sub_tick(Machine *m, int64_t number, int64_t due) noexcept nogil:
    """Reads what came, then sends for a twentieth of the legs, which were just read."""
    cdef int32_t top = load32(&m.top, ACQUIRE), k
    cdef int32_t index = <int32_t>(number % SENDS_EVERY)
    cdef int waiting = 0
    cdef Leg *l
    k = index
    while k < top:
        leg_fetch(m.legs[k])
        k += SENDS_EVERY
    io_poll(&m.io, number, now_ns(), m, took)
    for k in range(m.far_rooms):
        far_seats(m.rooms[k], <int>(number % SENDS_EVERY))
    while index < top:
        l = m.legs[index]
        if load32(&l.state, ACQUIRE) == LEG_OPEN:
            leg_send(&m.desk, l, &m.io, now_ns())
            waiting += 1
            if waiting == FLUSH:
                leave(m, waiting, due)
                waiting = 0
        index += SENDS_EVERY
    if waiting:
        leave(m, waiting, due)


cdef void far_seats(Room *room, int now) noexcept nogil:
    """Seats whose leg is on another thread have their turn at a sub-tick of their own."""
    if now < SEATS and room.seats[now].taken and room.seats[now].link != NULL:
        room_far(room, now)


cdef void wake(Machine *m) noexcept nogil:
    cdef unsigned long long one = 1
    if m.desk.posted:
        m.desk.posted = 0
        write(m.eventfd, &one, 8)


cdef void prepare(Machine *m) noexcept nogil:
    """Short timers, the real-time class where the system grants it, and the sockets of legs opened before."""
    cdef sched_param priority
    cdef int k
    priority.sched_priority = 10
    prctl(PR_SET_TIMERSLACK, 1)
    m.realtime = pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority) == 0
    for k in range(load32(&m.top, ACQUIRE)):
        if load32(&m.legs[k].state, ACQUIRE) == LEG_OPEN:
            watch(m, m.legs[k])
    m.running = True


cdef void machine_run(Machine *m) noexcept nogil:
    """The engine's thread, until `stopping` is set."""
    cdef int64_t number = (now_ns() - m.epoch) // SUB_NS, due, behind
    cdef timespec until
    prepare(m)
    while not load32(&m.stopping, ACQUIRE):
        number += 1 if m.open_legs or m.far_rooms else IDLE
        due = m.epoch + number * SUB_NS
        behind = now_ns() - due
        if behind < 0:
            until.tv_sec = due // 1000000000
            until.tv_nsec = due % 1000000000
            while clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR:
                pass
        elif behind > STOOD_STILL_NS:
            # Whole ticks are passed over, so that the order of legs stays what it was.
            m.skipped += behind // SUB_NS // SENDS_EVERY * SENDS_EVERY
            number += behind // SUB_NS // SENDS_EVERY * SENDS_EVERY
            due = m.epoch + number * SUB_NS
        elif behind > SUB_NS:
            m.overruns += 1
        m.ticks += 1
        obey_all(m, now_ns())
        sub_tick(m, number, due)
        wake(m)
        if m.ticks & 127 == 0:
            m.busy_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID)
    obey_all(m, now_ns())
    m.running = False
    m.busy_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID)
