"""Keeps callers' words, digits and numbers out of logs: by the name of a field, whatever the message says."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable, Mapping
from typing import Literal

MASK = "•••"

Treatment = Literal["mask", "hash", "secret"]
"""mask: shown as dots. hash: shown as a tag that is the same for the same value, so that lines can be matched.
secret: dots, even where a person allowed the field."""

FIELDS: dict[str, Treatment] = {
    **dict.fromkeys(
        ("text", "words", "heard", "said", "spoken", "partial", "utterance", "transcript", "hints"), "mask"
    ),
    **dict.fromkeys(("digit", "digits", "key", "keys", "dtmf", "value", "values", "slots", "message", "body"), "mask"),
    **dict.fromkeys(("caller", "number", "dialled", "from", "to", "display", "contact", "uri", "aor"), "hash"),
    **dict.fromkeys(("password", "secret", "token", "authorization", "proxy_authorization", "ha1", "pin"), "secret"),
    **dict.fromkeys(("card", "card_number", "cvv", "id_number", "ssn", "api_key", "cookie"), "secret"),
}
"""What happens to a field of this name, at any depth. Others are shown, with long runs of digits masked."""

NUMBERS = re.compile(r"(?<![\w.:-])\+?\d(?:[ -]?\d){5,}(?![\w.:-])")
"""Six digits or more that stand alone: a phone, card or order number, also in groups. Ids, times, addresses stay."""


class Redactor:
    """`allow`: names of fields a person wants to see in full. A mapping that holds a true `sensitive` or `redacted`
    shows nothing of what was said in it, whatever is allowed. `salt` (bytes) keeps hashes from being guessed; by
    default a new one is made at each start."""

    def __init__(self, allow: Iterable[str] = (), salt: bytes | None = None) -> None:
        self.allow = frozenset(allow)
        self._salt = secrets.token_bytes(16) if salt is None else salt

    def fields(self, fields: Mapping[str, object]) -> dict[str, object]:
        """The same fields as they may be shown."""
        return self._mapping(fields, False)

    def text(self, text: str) -> str:
        """Free text with long numbers masked."""
        return NUMBERS.sub(MASK, text)

    def _mapping(self, fields: Mapping[str, object], sensitive: bool) -> dict[str, object]:
        sensitive = sensitive or bool(fields.get("sensitive") or fields.get("redacted"))
        return {str(k): self._field(str(k), v, sensitive) for k, v in fields.items()}

    def _field(self, name: str, value: object, sensitive: bool) -> object:
        treatment = FIELDS.get(name.lower().replace("-", "_"))
        if value is None or isinstance(value, bool) or value == "":
            return value
        if treatment == "secret" or (treatment is not None and sensitive):
            return MASK
        if treatment is None or name in self.allow:
            return self._value(value, sensitive, shown=name in self.allow)
        return self._hash(value) if treatment == "hash" else MASK

    def _value(self, value: object, sensitive: bool, *, shown: bool = False) -> object:
        if isinstance(value, Mapping):
            return self._mapping(value, sensitive)
        if isinstance(value, list | tuple | set | frozenset):
            return [self._value(item, sensitive, shown=shown) for item in value]
        if isinstance(value, int | float):
            return value
        return str(value) if shown else self.text(str(value))

    def _hash(self, value: object) -> str:
        return "#" + hashlib.blake2b(str(value).encode("utf-8", "replace"), digest_size=4, key=self._salt).hexdigest()
