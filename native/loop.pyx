# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The tick is spread: a sub-tick is 1 ms, and slot s sends on sub-tick s % 20. Sockets are read every 5 ms."""

from native.clib cimport (
    ACQUIRE, CLOCK_MONOTONIC, CLOCK_THREAD_CPUTIME_ID, PR_SET_TIMERSLACK, RELEASE, SCHED_FIFO, TIMER_ABSTIME, clock_nanosleep,
    clock_ns, load32, now_ns, prctl, pthread_self, pthread_setschedparam, sched_param, store32, timespec, write,
)
from native.leg cimport (
    KEYS, LEG_GONE, LEG_OPEN, PROMPT_DONE, Leg, leg_alone, leg_listen, leg_overheard, leg_rearm, leg_receive, leg_remote, leg_send,
    leg_stop, post,
)
from native.playout cimport LISTED, PLAY_LAST, playout_add, prompt_doom
from native.rings cimport ring_take

cdef int64_t SUB_NS = 1_000_000
cdef int64_t STOOD_STILL_NS = 200_000_000   # further behind than this is not caught up with

cdef enum:
    SENDS_EVERY = 20        # sub-ticks
    READS_EVERY = 5


cdef void play(Machine *m, Leg *l, Command *c, int64_t now) noexcept nogil:
    """`flags`: PLAY_ bits of every item; a: append. A list without room ends the token at once, as stopped."""
    cdef int k
    if not c.a:
        leg_stop(&m.desk, l, now)
        leg_rearm(&m.desk, l, now)
    if l.playout.count - l.playout.first + c.n > LISTED:
        post(&m.desk, PROMPT_DONE, l.handle, now, c.token, 1)
        return
    for k in range(c.n):
        playout_add(&l.playout, m.desk.prompts, c.ids[k], c.flags | (PLAY_LAST if k == c.n - 1 else 0), c.token)


cdef void send_keys(Leg *l, Command *c) noexcept nogil:
    cdef int k, at
    for k in range(c.n):
        if l.keys.count == KEYS:
            return
        at = (l.keys.head + l.keys.count) % KEYS
        l.keys.event[at] = <unsigned char>c.ids[k]
        l.keys.length[at] = c.a
        l.keys.count += 1


cdef void bridge(Machine *m, Leg *l, Leg *other) noexcept nogil:
    leg_alone(&m.desk, l)
    leg_alone(&m.desk, other)
    l.peer = other.slot
    other.peer = l.slot


cdef void obey(Machine *m, Command *c, int64_t now) noexcept nogil:
    """Carries one command out. Also called by the commanding thread while the engine does not run."""
    cdef Leg *l = m.desk.legs[c.slot] if c.what != DO_FREE_PROMPT else NULL
    if c.what == DO_FREE_PROMPT:
        prompt_doom(&m.desk.prompts[c.a])
    elif c.what == DO_OPEN:
        l.opened_at = l.heard_at = now
        store32(&l.state, LEG_OPEN, RELEASE)
    elif c.what == DO_CLOSE:
        leg_alone(&m.desk, l)
        leg_stop(&m.desk, l, now)
        store32(&l.state, LEG_GONE, RELEASE)
    elif c.what == DO_REMOTE:
        if not l.wire.known:
            l.heard_at = now
        leg_remote(l, c.ip, c.port, c.a, c.b, c.flags & 1, c.flags >> 1 & 1)
    elif c.what == DO_PLAY:
        play(m, l, c, now)
    elif c.what == DO_RESUME:
        l.playout.muted = False
        leg_rearm(&m.desk, l, now)
    elif c.what == DO_STOP:
        leg_stop(&m.desk, l, now)
    elif c.what == DO_LISTEN:
        leg_listen(l, c.a)
        leg_overheard(&m.desk, l)
    elif c.what == DO_BRIDGE:
        bridge(m, l, m.desk.legs[c.a])
    elif c.what == DO_UNBRIDGE:
        leg_alone(&m.desk, l)
    elif c.what == DO_KEYS:
        send_keys(l, c)
    elif c.what == DO_TAP:
        l.tapped = c.a
    elif c.what == DO_MASK:
        l.masked = c.a


cdef void obey_all(Machine *m, int64_t now) noexcept nogil:
    cdef Command c
    while ring_take(&m.commands, &c, 1):
        obey(m, &c, now)


cdef void sub_tick(Machine *m, int64_t number, int64_t due) noexcept nogil:
    """Reads a fifth of the sockets, then sends for a twentieth of the legs; the legs that send were just read."""
    cdef int32_t top = load32(&m.top, ACQUIRE)
    cdef int32_t slot
    cdef int64_t now = now_ns(), late
    cdef Leg *l
    slot = <int32_t>(number % READS_EVERY)
    while slot < top:
        l = m.desk.legs[slot]
        if load32(&l.state, ACQUIRE) == LEG_OPEN:
            leg_receive(&m.desk, l, now)
        slot += READS_EVERY
    slot = <int32_t>(number % SENDS_EVERY)
    while slot < top:
        l = m.desk.legs[slot]
        if load32(&l.state, ACQUIRE) == LEG_OPEN:
            now = now_ns()
            leg_send(&m.desk, l, now)
            late = (now - due) // 100000
            m.late[late if late < BUCKETS - 1 else BUCKETS - 1] += 1
        slot += SENDS_EVERY


cdef void wake(Machine *m) noexcept nogil:
    cdef unsigned long long one = 1
    if m.desk.posted:
        m.desk.posted = 0
        write(m.eventfd, &one, 8)


cdef void prepare(Machine *m) noexcept nogil:
    """Short timers, and the real-time class where the system grants it."""
    cdef sched_param priority
    priority.sched_priority = 10
    prctl(PR_SET_TIMERSLACK, 1)
    m.realtime = pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority) == 0


cdef void machine_run(Machine *m) noexcept nogil:
    """The engine's thread, until `stopping` is set."""
    cdef int64_t due = now_ns(), number = 0, behind
    cdef timespec until
    prepare(m)
    while not load32(&m.stopping, ACQUIRE):
        due += SUB_NS
        behind = now_ns() - due
        if behind < 0:
            until.tv_sec = due // 1000000000
            until.tv_nsec = due % 1000000000
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL)
        elif behind > STOOD_STILL_NS:
            m.skipped += behind // SUB_NS
            due += behind // SUB_NS * SUB_NS
        elif behind > SUB_NS:
            m.overruns += 1
        number += 1
        m.ticks += 1
        obey_all(m, now_ns())
        sub_tick(m, number, due)
        wake(m)
        if number & 127 == 0:
            m.busy_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID)
    obey_all(m, now_ns())
    m.busy_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID)
