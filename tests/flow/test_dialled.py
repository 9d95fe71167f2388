"""Where a dialled number leads."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from gateway.core.errors import Findings, Mark
from gateway.flow.check import load
from gateway.flow.dialled import Number, check, lead, numbers

ROOT = Path(__file__).resolve().parents[2]

FLOWS = {"1001": Number("bank"), "+4940111": Number("shop"), "*": Number("rest")}
TRUNK = {
    "+4930123456": Number("exact"),
    "+49301*": Number("short"),
    "+4930123*": Number("long"),
    "*": Number("default"),
}


@pytest.mark.parametrize(
    ("spellings", "trunk", "flow"),
    [
        (("+4930123456",), TRUNK, "exact"),
        (("+4930123999",), TRUNK, "long"),
        (("+4930199",), TRUNK, "short"),
        (("1001",), TRUNK, "bank"),  # a flow's own number goes before a trunk's rest
        (("+4940111", "040111"), TRUNK, "shop"),
        (("+4940222",), TRUNK, "default"),
        (("+4940222",), None, "rest"),
        (("+491001", "1001"), None, "bank"),
        (("*",), None, "rest"),
    ],
)
def test_the_closest_number_wins(spellings: tuple[str, ...], trunk: dict[str, Number] | None, flow: str) -> None:
    found = lead(spellings, FLOWS, trunk)
    assert found is not None
    assert found.flow == flow


def test_a_number_nobody_serves_leads_nowhere() -> None:
    assert lead(("5",), {"1001": Number("bank")}) is None
    assert lead(("",), {}, {"+49*": Number("x")}) is None


def test_a_trunks_number_wins_over_a_flows() -> None:
    assert lead(("1001",), FLOWS, {"1001": Number("own")}) == Number("own")
    assert lead(("1001",), FLOWS, {"1*": Number("own")}) == Number("own")


def test_numbers_that_lead_to_no_flow_are_told_with_their_place() -> None:
    bank = load(ROOT / "ivr_flows" / "bank.yaml")
    dids = {
        "1": Number("bank", "en-US", Mark("t", 3, 5)),
        "2": Number("bnk", None, Mark("t", 4, 5)),
        "3": Number("bank", "fr-FR", Mark("t", 5, 5)),
    }
    check([{"1": dids["1"]}], {"bank": bank}, "t")
    with pytest.raises(Findings) as caught:
        check([dids], {"bank": bank}, "t")
    shown = str(caught.value)
    assert "t:4:5: unknown flow bnk" in shown
    assert "did you mean: bank" in shown
    assert "t:5:5: unknown language of flow bank: fr-FR" in shown


def test_a_number_two_flows_claim_is_refused() -> None:
    flows = [SimpleNamespace(id=name, numbers={"1001": ""}) for name in ("a", "b")]
    with pytest.raises(Exception, match="leads to two flows"):
        numbers(flows)  # type: ignore[arg-type]
