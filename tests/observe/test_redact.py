"""Nothing a caller said, keyed or is called by stands in a log line."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.observe.redact import FIELDS, MASK, Redactor

SALT = b"0123456789abcdef"


def test_words_are_masked_numbers_hashed_secrets_never_shown() -> None:
    shown = Redactor(salt=SALT).fields(
        {"call": "c-1", "text": "my card was stolen", "caller": "+15550100", "password": "x", "score": 0.9, "ok": True}
    )
    assert shown["text"] == shown["password"] == MASK
    assert str(shown["caller"]).startswith("#")
    assert "555" not in str(shown["caller"])
    assert (shown["call"], shown["score"], shown["ok"]) == ("c-1", 0.9, True)


def test_a_hash_matches_lines_of_one_run_but_not_of_another() -> None:
    one, other = Redactor(salt=SALT), Redactor()
    assert one.fields({"caller": "1001"}) == one.fields({"caller": "1001"})
    assert one.fields({"caller": "1001"}) != one.fields({"caller": "1002"})
    assert one.fields({"caller": "1001"}) != other.fields({"caller": "1001"})


def test_an_allowed_field_is_shown_unless_the_line_is_sensitive() -> None:
    redactor = Redactor(allow=["text", "digits", "password"])
    assert redactor.fields({"text": "hello", "digits": "12345678"}) == {"text": "hello", "digits": "12345678"}
    assert redactor.fields({"digits": "1234", "sensitive": True}) == {"digits": MASK, "sensitive": True}
    assert redactor.fields({"turn": {"text": "1234"}, "redacted": True})["turn"] == {"text": MASK}
    assert redactor.fields({"password": "hunter2"}) == {"password": MASK}


def test_fields_are_found_at_any_depth_and_in_any_writing() -> None:
    shown = Redactor().fields({"turns": [{"Text": "hi", "Proxy-Authorization": "Digest x", "n": 1}]})
    assert shown == {"turns": [{"Text": MASK, "Proxy-Authorization": MASK, "n": 1}]}


def test_long_numbers_in_free_text_are_masked_but_ids_times_and_addresses_stay() -> None:
    redactor = Redactor()
    kept = "call 01a20039-1d31-78ab-9f61-931f006cb337 at 2026-11-16T10:00:01 from 127.0.0.1:15060 took 1250 ms"
    assert redactor.text(kept) == kept
    for number in ("4111111111111111", "4111 1111 1111 1111", "+15550100200", "555-0100-200"):
        assert redactor.text(f"heard {number}, then nothing") == f"heard {MASK}, then nothing"


@given(st.sampled_from(sorted(FIELDS)), st.text("abcdefgh0123456789", min_size=9, max_size=40), st.booleans())
def test_no_redacted_field_ever_shows_its_value(name: str, value: str, nested: bool) -> None:
    fields = {"list": [{"deep": {name: value}}]} if nested else {name: value}
    assert value not in str(Redactor().fields(fields))
