"""Who holds a TCP port, as far as Linux's /proc tells (proc(5))."""

from __future__ import annotations

from pathlib import Path

LISTENING = "0A"


def who_listens(port: int) -> str | None:
    """`name (pid 123)` of the program that listens on TCP `port`, or None where that can't be known."""
    inodes = {inode for table in ("tcp", "tcp6") for inode in _sockets(Path("/proc/net") / table, port)}
    if not inodes:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        if _holds(process, inodes):
            try:
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
            except OSError:
                return f"pid {process.name}"
    return None


def _sockets(table: Path, port: int) -> list[str]:
    """Inodes of the listening sockets on `port`."""
    try:
        rows = [line.split() for line in table.read_text().splitlines()[1:]]
    except OSError:
        return []
    return [row[9] for row in rows if row[3] == LISTENING and int(row[1].rpartition(":")[2], 16) == port]


def _holds(process: Path, inodes: set[str]) -> bool:
    wanted = {f"socket:[{inode}]" for inode in inodes}
    try:
        return any(str(fd.readlink()) in wanted for fd in (process / "fd").iterdir())
    except OSError:
        return False
