"""The section `registrar:` of gateway.yaml."""

from __future__ import annotations

from gateway.flow.fields import Fields, Report
from gateway.sip.auth import ALGORITHMS
from gateway.sip.registrar import RegistrarSettings

KEEPALIVES = ("options", "crlf", "off")
WHOM = ("nat", "all")


def read_registrar(f: Fields, report: Report) -> RegistrarSettings:
    """Reads the section; what can't be used is noted in `report` with its line and its default taken."""
    default = RegistrarSettings()
    least = int(f.duration("min_expires", float(default.min_expires), 5.0))
    most = int(f.duration("max_expires", float(default.max_expires), 5.0))
    expires = int(f.duration("expires", float(min(default.expires, most)), 5.0))
    if not least <= expires <= most:
        report.add(
            "expires of registrar is not between the shortest and the longest",
            f.mark("expires"),
            read=f"{least}s, {expires}s, {most}s",
            expected="min_expires <= expires <= max_expires",
        )
        least, expires, most = default.min_expires, default.expires, default.max_expires
    return RegistrarSettings(
        expires=expires,
        min_expires=least,
        max_expires=most,
        contacts=f.integer("contacts", default.contacts, 1, 100),
        keepalive=f.choice("keepalive", KEEPALIVES, default.keepalive),
        every=f.duration("every", default.every, 5.0),
        whom=f.choice("whom", WHOM, default.whom),
        algorithms=_algorithms(f, report),
        third_party=f.texts("third_party", ()),
    )


def _algorithms(f: Fields, report: Report) -> tuple[str, ...]:
    """Nothing for `auto`: what each phone is known to take."""
    names: tuple[str, ...] = f.texts("algorithms", ("auto",))
    if names == ("auto",):
        return ()
    for name in names:
        if name not in ALGORITHMS:
            report.unknown("digest algorithm", name, ("auto", *ALGORITHMS), f.mark("algorithms"))
    return tuple(name for name in names if name in ALGORITHMS)
