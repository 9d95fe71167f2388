"""What the engine takes from the C library and the compiler: sockets, clocks, eventfd, atomics. All callable without the GIL."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from * nogil:
    # Compiler builtins; 2 is acquire, 3 release, 0 relaxed.
    uint64_t load64 "__atomic_load_n"(uint64_t *at, int order) noexcept
    void store64 "__atomic_store_n"(uint64_t *at, uint64_t value, int order) noexcept
    int32_t load32 "__atomic_load_n"(int32_t *at, int order) noexcept
    void store32 "__atomic_store_n"(int32_t *at, int32_t value, int order) noexcept
    int32_t add_fetch32 "__atomic_add_fetch"(int32_t *at, int32_t value, int order) noexcept
    void prefetch "__builtin_prefetch"(const void *at) noexcept
    int32_t swap32 "__atomic_exchange_n"(int32_t *at, int32_t value, int order) noexcept

cdef enum:
    RELAXED = 0
    ACQUIRE = 2
    RELEASE = 3
    ACQ_REL = 4

cdef extern from "time.h" nogil:
    ctypedef int clockid_t
    struct timespec:
        int64_t tv_sec
        long tv_nsec
    enum:
        CLOCK_MONOTONIC
        CLOCK_REALTIME
        CLOCK_THREAD_CPUTIME_ID
        TIMER_ABSTIME
    int clock_gettime(clockid_t clock, timespec *out) noexcept
    int clock_nanosleep(clockid_t clock, int flags, const timespec *until, timespec *left) noexcept

cdef extern from "sys/socket.h" nogil:
    struct sockaddr:
        pass
    ctypedef uint32_t socklen_t
    enum:
        MSG_DONTWAIT
        MSG_NOSIGNAL
        MSG_TRUNC
    ssize_t recvfrom(int fd, void *into, size_t size, int flags, sockaddr *source, socklen_t *length) noexcept
    ssize_t sendto(int fd, const void *what, size_t size, int flags, const sockaddr *to, socklen_t length) noexcept

cdef extern from "netinet/in.h" nogil:
    struct in_addr:
        uint32_t s_addr
    struct sockaddr_in:
        uint16_t sin_family
        uint16_t sin_port
        in_addr sin_addr
    enum:
        AF_INET

cdef extern from "arpa/inet.h" nogil:
    uint16_t htons(uint16_t value) noexcept
    uint16_t ntohs(uint16_t value) noexcept
    uint32_t htonl(uint32_t value) noexcept
    uint32_t ntohl(uint32_t value) noexcept

cdef extern from "unistd.h" nogil:
    ssize_t write(int fd, const void *what, size_t size) noexcept
    ssize_t read(int fd, void *into, size_t size) noexcept

cdef extern from "sys/eventfd.h" nogil:
    enum:
        EFD_NONBLOCK
        EFD_CLOEXEC
    int eventfd(unsigned int start, int flags) noexcept

cdef extern from "pthread.h" nogil:
    ctypedef unsigned long pthread_t
    pthread_t pthread_self() noexcept
    int pthread_setschedparam(pthread_t thread, int policy, const sched_param *param) noexcept

cdef extern from "sched.h" nogil:
    struct sched_param:
        int sched_priority
    enum:
        SCHED_FIFO

cdef extern from "sys/prctl.h" nogil:
    enum:
        PR_SET_TIMERSLACK
    int prctl(int option, unsigned long value, ...) noexcept


cdef inline int64_t clock_ns(clockid_t clock) noexcept nogil:
    cdef timespec t
    clock_gettime(clock, &t)
    return <int64_t>t.tv_sec * 1000000000 + t.tv_nsec


cdef inline int64_t now_ns() noexcept nogil:
    """CLOCK_MONOTONIC in nanoseconds."""
    return clock_ns(CLOCK_MONOTONIC)


cdef inline int32_t add32(int32_t *at, int32_t value) noexcept nogil:
    """Adds and gives the sum, in one order for all threads."""
    return add_fetch32(at, value, 5)


# --- batched datagrams ------------------------------------------------------------------------------------------------

cdef extern from "sys/socket.h" nogil:
    enum:
        AF_INET6
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        void *msg_name
        socklen_t msg_namelen
        iovec *msg_iov
        size_t msg_iovlen
        void *msg_control
        size_t msg_controllen
        int msg_flags
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    int recvmmsg(int fd, mmsghdr *into, unsigned int count, int flags, timespec *timeout) noexcept
    int sendmmsg(int fd, mmsghdr *what, unsigned int count, int flags) noexcept
    int connect(int fd, const sockaddr *to, socklen_t length) noexcept
    int bind(int fd, const sockaddr *to, socklen_t length) noexcept
    int getsockname(int fd, sockaddr *own, socklen_t *length) noexcept
    int setsockopt(int fd, int level, int option, const void *value, socklen_t length) noexcept
    ssize_t recvmsg(int fd, msghdr *into, int flags) noexcept
    ssize_t send(int fd, const void *what, size_t size, int flags) noexcept
    enum:
        AF_UNSPEC
        SOL_SOCKET
        SO_TIMESTAMPNS

cdef extern from "sys/epoll.h" nogil:
    ctypedef union epoll_data_t:
        uint64_t u64
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    enum:
        EPOLLIN
        EPOLL_CLOEXEC
        EPOLL_CTL_ADD
        EPOLL_CTL_DEL
    int epoll_create1(int flags) noexcept
    int epoll_ctl(int epoll, int what, int fd, epoll_event *event) noexcept
    int epoll_wait(int epoll, epoll_event *into, int room, int milliseconds) noexcept

cdef extern from "unistd.h" nogil:
    int close(int fd) noexcept
    long syscall(long number, ...) noexcept

cdef extern from "sys/mman.h" nogil:
    enum:
        PROT_READ
        PROT_WRITE
        MAP_SHARED
        MAP_POPULATE
    void *mmap(void *at, size_t size, int protection, int flags, int fd, int64_t offset) noexcept
    int munmap(void *at, size_t size) noexcept

cdef extern from "stdlib.h" nogil:
    int posix_memalign(void **memory, size_t alignment, size_t size) noexcept

cdef extern from "sys/mman.h" nogil:
    enum:
        MADV_HUGEPAGE
    int madvise(void *at, size_t size, int advice) noexcept
