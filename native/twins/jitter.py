"""The playout buffer in numpy: one class, and the samples it holds."""

from __future__ import annotations

from collections import deque

import numpy as np

from native.twins.comfort import ComfortNoise
from native.twins.conceal import Concealment, Pcm, blend, rising
from native.twins.delay import Delay
from native.twins.stretch import stretch_find, stretch_make

RUNS, SEEN, STRAYS, LOUD = 32, 64, 3, 300
SURE, PATIENT, HASTY = 10, 500, 50
LIKE, LESS = np.float32(0.9), np.float32(0.05)
NEVER = 1 << 62


class Held:
    """Samples at their timestamps, and the runs (a, b) that are there."""

    def __init__(self, most: int) -> None:
        self.most, self.runs = most, list[tuple[int, int]]()
        self.pcm = np.zeros(most, np.int16)

    def write(self, at: int, pcm: Pcm) -> None:
        self.pcm[(at + np.arange(len(pcm))) % self.most] = pcm

    def read(self, at: int, n: int) -> Pcm:
        return self.pcm[(at + np.arange(n)) % self.most]

    def place(self, a: int, b: int) -> int | None:
        """How much was there already; None where it would be one run too many."""
        touched = [r for r in self.runs if r[0] <= b and r[1] >= a]
        if not touched and len(self.runs) == RUNS:
            return None
        rest = [r for r in self.runs if r not in touched]
        self.runs = sorted([*rest, (min([a, *(r[0] for r in touched)]), max([b, *(r[1] for r in touched)]))])
        return sum(min(b, r[1]) - max(a, r[0]) for r in touched)

    def drop(self, before: int) -> int:
        """What lies before is gone; gives how much that was."""
        gone = sum(max(0, min(b, before) - a) for a, b in self.runs)
        self.runs = [(max(a, before), b) for a, b in self.runs if b > before]
        return gone


class JitterBuffer:
    """As `native.jitter.JitterBuffer`; `now` must be given. `concealment` may be another with begin, make and join."""

    def __init__(self, rate: int = 8000, concealment: Concealment | None = None) -> None:
        self.rate, self.frame, self.past = rate, rate // 50, rate // 800 * 39
        self.held = Held(rate * 1024 // 1000)
        self.conceal = concealment or Concealment(rate)
        self.comfort = ComfortNoise(seed=1)
        self.silent, self.source = True, "silence"
        self.shift = self.at = self.hold = self.edge = self.newest = self.packet = self.grid = 0
        self.used_at = self.pace = self.step = self.wish = self.noise_from = self.delay_ms = 0
        self.eager = np.float32(0)
        self.late = self.duplicate = self.placed = self.played = self.removed = self.dropped = 0
        self.refused = self.inserted = self.concealed = self.noise_frames = 0
        self.seen: deque[int] = deque(maxlen=SEEN)
        self.grid = self.frame
        self.reset()

    def reset(self) -> None:
        """Another stream begins."""
        self.delay = Delay(self.rate)
        self.running = self.noise_on = self.comfort.known = False
        self.stray = 0

    # --- in -------------------------------------------------------------------------------------------------------

    def clock(self, now: int) -> int:
        return now * self.rate // 1_000_000_000

    def realign(self, stamp: int, t: int) -> None:
        """This packet came neither early nor late; what is buffered is played before it."""
        s = t - self.delay.base if self.running else t
        end = self.held.runs[-1][1] if self.held.runs else self.at if self.silent else self.at + self.hold
        if end > s + self.rate // 2:
            self.dropped += self.held.drop(NEVER)
            self.silent, self.at, self.edge = True, s, s
            self.seen.clear()
        else:
            s = max(s, end)
        if not self.running:
            self.delay.rebase(t - s, t)
        self.running, self.shift, self.newest, self.stray = True, s - stamp, s, 0

    def judge(self, s: int, n: int, t: int) -> str:
        first = self.at if not self.silent else self.held.runs[0][0] if self.held.runs else s
        last = max(s + n, self.held.runs[-1][1] if self.held.runs else s)
        if s + n <= self.at:
            return "behind"
        if s + self.delay.base - t > 3 * self.rate // 10 and t - self.used_at < 4 * self.rate:
            return "ahead"
        if last - min(first, s) + self.past + self.frame <= self.held.most:
            return "fits"
        return "behind" if s < first else "full"

    def useless(self, s: int, n: int, t: int, what: str) -> bool:
        """Counts a packet that is of no use. True where it shows a new timeline instead."""
        if s in self.seen:
            self.duplicate += 1
            return False
        self.stray += 1
        if self.stray >= STRAYS and t - self.used_at >= 2 * self.frame:
            return True
        if what == "behind":
            self.late += 1
            self.delay.packet(s, t, True)
        else:
            self.refused += n
        return False

    def store(self, s: int, pcm: Pcm, t: int) -> bool:
        n, start = len(pcm), max(s, self.at)
        late = s < self.at or (not self.silent and s < self.at + self.hold)
        if s < self.edge and s in self.seen:
            self.duplicate += 1
            return False
        overlap = self.held.place(start, s + n)
        if overlap is None or overlap == s + n - start:
            self.refused += n if overlap is None else 0
            self.duplicate += overlap is not None
            return False
        self.held.write(start, pcm[start - s :])
        self.placed += s + n - start - overlap
        self.seen.append(s)
        self.edge = max(self.edge, s + n)
        self.late += late
        self.delay.packet(s, t, late)
        return True

    def put(self, stamp: int, pcm: Pcm, marker: bool = False, now: int = 0) -> bool:
        t, s, n = self.clock(now), stamp + self.shift, len(pcm)
        early, what, far = s + self.delay.base - t, self.judge(s, n, t), self.rate // 10
        if (
            not self.running
            or (marker and (early > far or (what == "behind" and early < -far and s not in self.seen)))
            or (what in ("behind", "ahead") and self.useless(s, n, t, what))
        ):
            self.realign(stamp, t)
            s = stamp + self.shift
            what = self.judge(s, n, t)
        if self.silent and not self.held.runs and t - s - self.delay.base > 2 * self.rate // 5:
            self.delay.rebase(t - s, t)
        if what == "full":
            self.dropped += self.held.drop(s + n - self.rate // 2)
            self.at, self.hold = self.held.runs[0][0] if self.held.runs else s, 0
            self.blank()
            what = self.judge(s, n, t)
        if what != "fits" or not self.store(s, pcm, t):
            return False
        self.stray, self.used_at, self.newest = 0, t, s
        self.grid = int(np.gcd(n, self.frame))
        return True

    def noise(self, stamp: int, payload: bytes, now: int = 0) -> None:
        t = self.clock(now)
        if not self.running:
            self.realign(stamp, t)
        s = stamp + self.shift
        if s > t - self.delay.base + self.rate // 2 or s < self.at - self.frame:
            s = self.at + self.hold
        self.comfort.set(payload)
        if not self.noisy():
            self.noise_from = s
        self.noise_on = True

    # --- what is missing ------------------------------------------------------------------------------------------

    def noisy(self) -> bool:
        """Whether what is missing now is comfort noise."""
        near = self.at <= self.noise_from + 2 * self.frame
        return self.noise_on and near and self.at + self.hold >= self.noise_from

    def blank(self) -> None:
        self.held.write(self.at - self.past, np.zeros(self.past, np.int16))

    def ready(self, t: int) -> bool:
        """Whether the talk spurt that waits begins now."""
        oldest = t - self.delay.base - 2 * self.rate // 5
        if self.held.runs and self.running and self.held.runs[0][0] < oldest:
            self.dropped += self.held.drop(oldest)
        if not self.held.runs:
            return False
        first = self.held.runs[0][0]
        if self.running and t < first + self.delay.base + self.delay.target:
            return False
        self.at, self.hold, self.silent, self.pace, self.step, self.wish = first, 0, False, 0, 0, 0
        self.blank()
        return True

    def hush(self, n: int, quiet: bool) -> Pcm:
        if self.noisy() and not quiet:
            self.source = "noise"
            return self.comfort.make(n)
        if quiet or self.source == "noise":
            self.source = "silence"
        return np.zeros(n, np.int16)

    def make_up(self, n: int, quiet: bool) -> Pcm:
        if quiet or self.noisy():
            self.silent = True
            return self.hush(n, quiet)
        if self.source != "made up":
            self.conceal.begin(self.held.read(self.at - self.past, self.past))
            self.source = "made up"
        most = 6 * (self.rate // 100) - self.conceal.lost
        out = self.conceal.make(n)
        self.held.write(self.at + self.hold, out)
        self.concealed += min(n, most)
        self.silent = n >= most
        return out

    def resume(self, pcm: Pcm) -> Pcm:
        """Audio again, blended into what was heard before."""
        n = min(self.rate // 400, len(pcm))
        if self.source == "made up" and self.conceal.lost < 6 * (self.rate // 100):
            pcm = self.conceal.join(pcm)
        elif self.source != "silence":
            old = self.comfort.make(n) if self.source == "noise" else np.zeros(n, np.int16)
            pcm[:n] = blend(old, pcm[:n], rising(n))
        self.source = "audio"
        return pcm

    def patch(self, quiet: bool, t: int) -> Pcm:
        out, left = list[Pcm](), self.frame
        while left:
            if self.silent and not self.ready(t):
                out.append(self.hush(left, quiet))
                self.hold += left
                break
            gap = self.held.runs[0][0] - self.at if self.held.runs else NEVER
            if gap > self.hold:
                n = min(left, gap - self.hold)
                out.append(self.make_up(n, quiet))
                self.hold += n
            else:
                self.at, self.hold = self.at + gap, 0
                n = min(left, self.held.runs[0][1] - self.at)
                pcm = self.held.read(self.at, n)
                if self.source != "audio":
                    pcm = self.resume(pcm)
                    self.held.write(self.at, pcm)
                out.append(pcm)
                self.use(n)
            left -= n
        self.noise_frames += self.source == "noise"
        return np.concatenate(out)

    # --- the delay ------------------------------------------------------------------------------------------------

    def use(self, n: int, played: int | None = None) -> None:
        self.at += n
        self.held.drop(self.at)
        self.played += n if played is None else played

    def stretch(self, step: int, most: int, speech: bool, must: bool) -> Pcm | None:
        """A frame with a pitch period less (step 1) or more (-1), only in silence unless `speech`."""
        reach, ahead = 3 * self.rate // 200, 0
        if step > 0:
            most = ahead = min(most, self.held.runs[0][1] - self.at - self.frame)
        if most < self.rate // 400:
            return None
        line, lag = self.held.read(self.at - reach, reach + self.frame + ahead), most
        if np.abs(line[reach:].astype(int)).max() >= LOUD:
            if not speech:
                return None
            lag, likeness = stretch_find(line, reach, self.rate, step, most)
            self.pace = 4
            if likeness < LIKE - self.eager:
                self.eager += LESS if must else np.float32(0)
                self.pace = 2 if must else 5
                return None
        self.eager = np.float32(0)
        out = stretch_make(line, reach, self.rate, step * lag, self.frame)
        self.use(self.frame + step * lag, self.frame if step > 0 else self.frame - lag)
        self.held.write(self.at - self.frame, out)
        self.removed += lag if step > 0 else 0
        self.inserted += lag if step < 0 else 0
        return out

    def leap(self, n: int) -> Pcm | None:
        """A frame after leaving n samples out."""
        if self.held.runs[0][1] < self.at + n + self.frame:
            return None
        overlap = self.rate // 200
        old, out = self.held.read(self.at, overlap), self.held.read(self.at + n, self.frame)
        out[:overlap] = blend(old, out[:overlap], rising(overlap))
        self.use(n + self.frame, self.frame)
        self.held.write(self.at - self.frame, out)
        self.dropped += n
        return out

    def steer(self, t: int) -> Pcm | None:
        delay, frame = t - self.delay.base - self.at, self.frame
        within = (self.newest - self.at) % self.grid
        spare = delay - self.delay.target - (frame - self.grid) - within
        self.delay_ms = int(delay * 1000 / self.rate)
        if delay > 9 * self.rate // 20:
            out = self.leap(delay - self.delay.target - frame)
            if out is not None:
                return out
        return self.act(spare, within)

    def act(self, spare: int, within: int) -> Pcm | None:
        frame, most = self.frame, 3 * self.rate // 200
        long, short = spare > frame + frame // 16, spare < -(frame // 16)
        step = -1 if short else 1 if long or within >= frame // 4 else 0
        now = spare < -(frame // 2) or spare > 3 * frame
        self.wish = self.wish + 1 if step == self.step else 0
        self.step = step
        if self.pace > 0:
            self.pace -= 1
            return None
        if step == 0 or (self.wish < SURE and not now and not short):
            return None
        now = now or self.wish >= (HASTY if short else PATIENT)
        return self.stretch(step, min(within, most) if step > 0 and not long else most, now, short or long)

    def take(self, quiet: bool = False, now: int = 0) -> Pcm:
        t, first = self.clock(now), self.held.runs[0] if self.held.runs else (0, 0)
        if self.silent or self.source != "audio" or first[0] != self.at or first[1] < self.at + self.frame:
            return self.patch(quiet, t)
        out = self.steer(t) if self.running else None
        if out is None:
            out = self.held.read(self.at, self.frame)
            self.use(self.frame)
        return out

    @property
    def target_ms(self) -> int:
        return self.delay.target * 1000 // self.rate

    @property
    def play(self) -> int:
        return self.at - self.shift

    @property
    def short(self) -> int:
        """Samples missing of the next frame."""
        if self.silent or not self.held.runs:
            return 0 if self.held.runs else self.frame
        gap = self.held.runs[0][0] - self.at - self.hold
        return min(gap, self.frame) if gap > 0 else max(0, self.frame - self.held.runs[0][1] + self.held.runs[0][0])

    @property
    def counters(self) -> dict[str, int]:
        names = "late duplicate placed played removed dropped refused inserted concealed noise_frames"
        waiting = sum(b - a for a, b in self.held.runs)
        stretched = self.removed + self.inserted
        return {name: getattr(self, name) for name in names.split()} | {"waiting": waiting, "stretched": stretched}
