"""Numbers as trunks write them and as flows know them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip.numbers import COUNTRIES, FORMATS, e164, number_of, written
from gateway.sip.uri import Uri, parse_uri


@pytest.mark.parametrize(
    ("dialled", "country", "read"),
    [
        ("030 123456", "DE", "+4930123456"),
        ("(030) 123-456", "DE", "+4930123456"),
        ("4930123456", "DE", "+4930123456"),
        ("00442071234567", "DE", "+442071234567"),
        ("2025550100", "US", "+12025550100"),
        ("12025550100", "US", "+12025550100"),
        ("011442071234567", "US", "+442071234567"),
        ("010 1234 5678", "CN", "+861012345678"),
        ("01012345678", "CN", "+861012345678"),
        ("+49-30-123456", None, "+4930123456"),
        ("+4930123456", "US", "+4930123456"),
    ],
)
def test_a_number_is_read_as_its_country_dials_it(dialled: str, country: str | None, read: str) -> None:
    assert e164(dialled, country) == read


@pytest.mark.parametrize("word", ["1001", "112", "110", "95588", "anna", "", "*21#", "1800FLOWERS", "4930123456x"])
def test_what_is_no_full_number_stays_as_it_came(word: str) -> None:
    for country in ("DE", "US", "CN", None):
        assert e164(word, country) == word


def test_without_a_country_only_a_plus_makes_a_number() -> None:
    assert e164("030123456") == "030123456"
    assert e164("4930123456") == "4930123456"


@pytest.mark.parametrize(
    ("uri", "read"),
    [
        ("tel:+49-30-123456", "+4930123456"),
        ("tel:030123456;phone-context=+49", "+4930123456"),
        ("sip:030123456;phone-context=+49@sip.example.com;user=phone", "+4930123456"),
        ("tel:7042;phone-context=example.com", "7042"),
        ("sip:+4930123456;ext=12@sip.example.com", "+4930123456"),
        ("sip:anna@example.com", "anna"),
        ("sip:a%0d%0ab@example.com", "a b"),
        ("sip:example.com", ""),
    ],
)
def test_a_uri_names_a_number(uri: str, read: str) -> None:
    assert number_of(parse_uri(uri)) == read


@pytest.mark.parametrize(
    ("number", "form", "country", "shown"),
    [
        ("+4930123456", "plus", "DE", "+4930123456"),
        ("+4930123456", "e164", "DE", "4930123456"),
        ("+4930123456", "national", "DE", "030123456"),
        ("+442071234567", "national", "DE", "00442071234567"),
        ("+12025550100", "national", "US", "2025550100"),
        ("+442071234567", "national", "US", "011442071234567"),
        ("+4930123456", "national", None, "4930123456"),
        ("112", "e164", "DE", "112"),
        ("anna", "national", "DE", "anna"),
        ("030123456", "as_is", "DE", "030123456"),
    ],
)
def test_a_number_is_written_as_the_peer_wants_it(number: str, form: str, country: str | None, shown: str) -> None:
    assert written(number, form, country) == shown


@given(st.text(max_size=40), st.sampled_from([None, *sorted(COUNTRIES)]), st.sampled_from(FORMATS))
def test_nothing_that_may_be_dialled_breaks_it(text: str, country: str | None, form: str) -> None:
    read = e164(text, country)
    assert read == text or (read[0] == "+" and read[1:].isdigit())
    assert e164(read, country) == read
    assert "\r" not in number_of(Uri("sip", text, "h"), country)
    written(read, form, country)


@given(
    st.sampled_from(["+4930123456", "+442071234567", "+12025550100", "+861012345678"]), st.sampled_from(["DE", "US"])
)
def test_what_is_written_for_a_country_is_read_back_there(number: str, country: str) -> None:
    assert e164(written(number, "national", country), country) == number
