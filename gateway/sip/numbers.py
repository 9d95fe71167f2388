"""Telephone numbers: +E.164 inside, the form a trunk wants outside (ITU-T E.164, RFC 3966 section 5.1)."""

from __future__ import annotations

import re
from functools import lru_cache

import phonenumbers
from phonenumbers import PhoneNumber, PhoneNumberFormat

from gateway.sip.grammar import clean
from gateway.sip.uri import Uri

FORMATS = ("plus", "e164", "national", "as_is")
"""How a number is written for a peer: +4930123456, 4930123456, 030123456 (00442071234567 abroad), or as we know it:
with + where it is a full number, else as it was dialled."""

COUNTRIES = frozenset(phonenumbers.SUPPORTED_REGIONS)
"""ISO 3166-1 codes that numbers can be read by."""

_FULL = re.compile(r"\+[1-9][0-9]{6,14}")
_DIGITS = re.compile(r"\+?[0-9]{1,30}")
_DIALLED = re.compile(r"\+?[0-9(][0-9 ().\-/]{2,28}")
_SEPARATORS = str.maketrans("", "", " ().-/")


@lru_cache(maxsize=4096)
def e164(text: str, country: str | None = None) -> str:
    """A number as +E.164, read as somebody in `country` dials it; unchanged where it is none: a name, an extension, a
    short number such as 112, a + before what is no country's number."""
    return _canonical(text, country) or text


def full(number: str) -> bool:
    """Whether it is a valid number in its one +E.164 form."""
    return number.startswith("+") and _canonical(number, None) == number


def readings(number: str, country: str | None = None) -> tuple[str, ...]:
    """What a peer may take a number for that is about to be dialled: itself and, where it is not a valid one in full,
    what its digits begin with + or as dialled in `country`. Empty for what is no digits."""
    if not _DIGITS.fullmatch(number):
        return ()
    if full(number):
        return (number,)
    digits = number.lstrip("+")
    texts = [(number, country)] if country or number != digits else []
    texts += [("+" + digits.lstrip("0"), None)]
    found = [number]
    for text, region in texts:
        try:
            parsed = phonenumbers.parse(text, region)
        except phonenumbers.NumberParseException:
            continue
        found.append(phonenumbers.format_number(parsed, PhoneNumberFormat.E164))
        found.append(f"+{parsed.country_code}{parsed.national_number}")  # without a 0 that a peer may drop
    return tuple(dict.fromkeys(found))


def number_of(uri: Uri, country: str | None = None) -> str:
    """The number a sip: or tel: URI names, as `e164` gives it. A phone-context that is a country code (RFC 3966) goes
    before `country`'s own; other parameters of the number are left out. Safe to show."""
    user, _, tail = (uri.user or "").partition(";")
    text = clean(user)
    context = uri.param("phone-context") if uri.scheme == "tel" else _context(tail)
    if context and context.startswith("+") and not text.startswith("+"):
        found = _parsed(text, phonenumbers.region_code_for_country_code(_code(context)))
        if found is not None:
            return phonenumbers.format_number(found, PhoneNumberFormat.E164)
    return e164(text, country)


@lru_cache(maxsize=4096)
def written(number: str, form: str, country: str | None = None) -> str:
    """A number in one of FORMATS, `national` as it is dialled in `country`, or with + where that would be read as
    another number; what is no +E.164 number stays as it is."""
    if form == "as_is" or not _FULL.fullmatch(number):
        return number
    if form == "plus":
        return number
    if form == "e164" or country is None:
        return number[1:]
    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        return number
    if phonenumbers.country_code_for_region(country) == parsed.country_code:
        shown = phonenumbers.format_number(parsed, PhoneNumberFormat.NATIONAL)
    else:
        shown = phonenumbers.format_out_of_country_calling_number(parsed, country)
    digits = "".join(c for c in shown if c.isascii() and c.isdigit())
    return digits if _canonical(digits, country) == number else number


def _canonical(text: str, country: str | None) -> str | None:
    """The one +E.164 form of a valid number."""
    number = _parsed(text, country)
    if number is None:
        return None
    full = phonenumbers.format_number(number, PhoneNumberFormat.E164)
    if full == text:
        return full
    again = _parsed(full, None)
    return full if again and phonenumbers.format_number(again, PhoneNumberFormat.E164) == full else None


def _parsed(text: str, country: str | None) -> PhoneNumber | None:
    if not _DIALLED.fullmatch(text) or (country is None and not text.startswith("+")):
        return None
    try:
        number = phonenumbers.parse(text.translate(_SEPARATORS), country)
    except phonenumbers.NumberParseException:
        return None
    return number if phonenumbers.is_valid_number(number) else None


def _context(params: str) -> str | None:
    for part in params.split(";"):
        name, _, value = part.partition("=")
        if name.lower() == "phone-context":
            return value
    return None


def _code(context: str) -> int:
    """The country code a global phone-context begins with; 0 where there is none."""
    digits = context[1:].translate(_SEPARATORS)
    for length in (1, 2, 3):
        head = digits[:length]
        if head.isascii() and head.isdigit() and int(head) in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
            return int(head)
    return 0
