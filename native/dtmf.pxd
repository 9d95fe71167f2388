"""Keys in band (ITU-T Q.23, Q.24): a detector for what is heard, a generator for what is said. 8 kHz."""

from libc.stdint cimport int16_t

from native.dtmf_out cimport DtmfOut, dtmf_make, dtmf_make_open

cdef enum:
    PIECE = 40              # samples analysed at once: 5 ms
    PIECES = 4              # in a window: 20 ms
    HEARD = 7               # pieces of four windows
    TONES = 8               # four of the low group, then four of the high group

cdef struct Dtmf:
    int digit               # ASCII code of the key held now, 0 none
    int filled              # samples in `part`
    int16_t part[PIECE]
    int at                  # newest of the pieces, a ring
    int newest              # of the pieces in `heard`, a ring
    int16_t heard[HEARD][PIECE]
    bint likely[PIECES]     # whether a piece can be one of two tones; others are not projected
    int quiet               # pieces in a row too soft to matter, up to PIECES
    float re[PIECES][TONES]
    float im[PIECES][TONES]
    float energy[PIECES]
    int found[PIECES]       # of the newest windows: index of the key, -1 none
    float row_re[PIECES]    # ... and the window's sum at its two tones
    float row_im[PIECES]
    float col_re[PIECES]
    float col_im[PIECES]
    float power[PIECES]     # ... the two tones' power, mean square
    float level             # of the key held, mean square
    int missing             # windows in a row without it
    float raw[PIECES]       # energy of the pieces as they came, and of the differences between their samples
    float rough[PIECES]
    float dial              # energy of a dial tone over a window; 0 none
    float steady            # energy that lasts
    int lasted              # pieces it lasted
    int since               # pieces since the dial tone was heard
    float past[4]           # state of the filter that takes a dial tone away

cdef void dtmf_open(Dtmf *d) noexcept nogil
cdef int dtmf_hear(Dtmf *d, const int16_t *pcm, int n) noexcept nogil
