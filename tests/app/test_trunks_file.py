"""trunks.yaml: what is read, and what is said about what can't be."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.config import Roster, load_agents, load_config
from gateway.core.errors import ConfigError, Findings
from gateway.flow.dialled import Number
from gateway.sip.auth import Account
from gateway.sip.trunks import RegisterAs
from gateway.trunks_file import Trunks, check_agents, check_pickup, load_trunks

ROOT = Path(__file__).resolve().parents[2]


def loaded(folder: Path, text: str) -> Trunks:
    path = folder / "trunks.yaml"
    path.write_text(text)
    return load_trunks(path)


def said(folder: Path, text: str) -> str:
    with pytest.raises((Findings, ConfigError)) as caught:
        loaded(folder, text)
    return str(caught.value)


def test_the_shipped_trunks_let_this_machine_call_and_nobody_be_called() -> None:
    found = load_trunks(ROOT / "sip_config" / "trunks.yaml")
    assert [(trunk.name, trunk.addresses) for trunk in found.trunks] == [("this-machine", ("127.0.0.0/8",))]
    assert not found.destinations.permits("+4930123456")


def test_the_examples_in_the_shipped_file_can_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVIDER_PASSWORD", "secret")
    text = (ROOT / "sip_config" / "trunks.yaml").read_text().replace("\n#  ", "\n  ")
    trunk = loaded(tmp_path, text).trunks[1]
    assert trunk.register == RegisterAs("4930123456", Account("4930123456", "secret"))


def test_everything_a_trunk_can_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARRIER", "pw")
    found = loaded(
        tmp_path,
        """
trunks:
  carrier:
    server: sip.example.com:5080
    transport: tcp
    addresses: 203.0.113.0/24
    register: {user: u, auth_user: auth, password_env: CARRIER, expires: 5m}
    domain: example.com
    credentials: {user: c, password: d, realm: r}
    account: {user: pbx, password: e}
    outbound_proxy: 203.0.113.9
    codecs: [PCMA, PCMU, PCMA]
    srtp: required
    country: DE
    caller_id: 030 123456
    number_format: national
    identity: pai
    privacy: always
    trust: true
    refer: true
    anonymous: refuse
    limits: {calls: 30, per_second: 2.5}
    failover: [backup]
    priority: 2
    weight: 3
    options_ping: 30s
    patience: 4s
    flow: bank
    language: en-US
    dids: {030123456: shop, +49301234*: {flow: bank, language: zh-CN}}
  backup: {server: "[2001:db8::1]"}
outbound:
  allow: [+49, "*"]
  deny: +49900
  routes: {+44: [backup, carrier]}
  country: DE
  calls: 5
  per_minute: 30
""",
    )
    trunk, backup = found.trunks
    assert trunk.server == "sip:sip.example.com:5080;transport=tcp"
    assert trunk.outbound_proxy == "sip:203.0.113.9;transport=tcp"
    assert backup.server == "sip:[2001:db8::1]"
    assert trunk.addresses == ("203.0.113.0/24",)
    assert trunk.register == RegisterAs("u", Account("auth", "pw"), 300)
    assert trunk.domain == "example.com"
    assert trunk.accounts == (Account("c", "d", "r"),)
    assert trunk.account == Account("pbx", "e")
    assert (trunk.codecs, trunk.srtp) == (("PCMA", "PCMU"), "required")
    assert (trunk.country, trunk.caller_id, trunk.number_format) == ("DE", "+4930123456", "national")
    assert (trunk.identity, trunk.privacy, trunk.trust, trunk.anonymous) == ("pai", "always", True, False)
    assert trunk.refer
    assert (trunk.max_calls, trunk.per_second, trunk.failover) == (30, 2.5, ("backup",))
    assert (trunk.priority, trunk.weight, trunk.ping_s, trunk.patience_s) == (2, 3, 30.0, 4.0)
    assert found.dids["carrier"] == {
        "+4930123456": Number("shop"),
        "+49301234*": Number("bank", "zh-CN"),
        "*": Number("bank", "en-US"),
    }
    assert found.destinations.allow == ("+49", "*")
    assert found.destinations.routes == {"+44": ("backup", "carrier")}
    assert (found.destinations.max_calls, found.destinations.per_minute) == (5, 30.0)


def test_a_password_is_not_shown(tmp_path: Path) -> None:
    found = loaded(tmp_path, "trunks: {a: {server: h, register: {user: u, password: hush}}}")
    assert "hush" not in repr(found)


def test_all_errors_come_at_once_with_their_places(tmp_path: Path) -> None:
    shown = said(
        tmp_path,
        """trunks:
  carrier:
    server: sip.example.com:99999
    transport: tpc
    register: {user: u}
    credentials: {user: x, password_env: NOT_SET_ANYWHERE}
    codecs: [PCMU, G772]
    country: de
    numbr_format: plus
    number_format: pluss
    addresses: [192.0.2.4, nowhere]
    failover: [bakup, carrier]
    options_ping: fast
    dids: {"030123456": [bank], "+49*1": x, "1": {flow: shop, lang: en}}
    language: en-US
    limits: {calls: 0}
  backup: {}
  bad name: {server: a.b}
  odd: [1]
outbound:
  allow: [+49, x]
  routes: {"+44": [bakup]}
""",
    )
    for line in (
        ":3:13: server of trunk carrier",
        ":4:16: transport of trunk carrier",
        "did you mean: tcp",
        ":5:5: register of trunk carrier has no password",
        ":6:42: password_env of credentials of trunk carrier names a variable that is not set",
        ":7:20: unknown codec G772",
        ":8:14: country of trunk carrier",
        "did you mean: DE",
        ":9:5: unknown key in trunk carrier: numbr_format",
        ":10:20: number_format of trunk carrier",
        ":11:28: addresses of trunk carrier",
        ":12:16: unknown trunk bakup",
        "did you mean: backup",
        ":12:23: unknown trunk carrier",
        ":13:19: options_ping of trunk carrier",
        ":14:25: number 030123456 leads nowhere",
        ":14:33: a number can't hold * but at its end",
        ":14:63: unknown key in number 1: lang",
        ":15:15: language of trunk carrier needs a flow",
        ":16:21: calls of limits of trunk carrier",
        ":17:3: trunk backup carries no calls",
        ":18:3: no trunk can be called so",
        ":19:8: trunk odd must be a map",
        ":21:16: allow of outbound",
        ":22:20: unknown trunk bakup",
    ):
        assert line in shown, line
    assert shown.endswith("22 errors"), shown


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("trunks: {a: {server: x, domain: 'a b;c'}}", ":1:33: domain of trunk a can't be used"),
        ("trunks: {a: {server: x, register: {user: u@x y, password: p}}}", ":1:42: user of register of trunk a"),
        ("trunks: {a: {server: x, caller_id: 'abc\"; evil'}}", ":1:36: caller_id of trunk a can't be used"),
        (
            "trunks: {a: {server: x, number_format: national}}",
            ":1:40: number_format of trunk a needs a country beside it",
        ),
        ("trunks: {a: {server: x, failover: b}, b: {addresses: 10.0.0.1}}", ":1:35: no call goes out by trunk b"),
        (
            "trunks: {a: {addresses: 10.0.0.1}}\noutbound: {allow: '*', routes: {'+44': a}}",
            ":2:40: no call goes out by trunk a",
        ),
        (
            "trunks: {a: {account: {user: u, password: p}}, b: {account: {user: u, password: q}}}",
            ":1:61: trunks a and b have accounts of one name",
        ),
        (
            "trunks: {a: {addresses: 10.0.0.1}, b: {addresses: [10.0.0.1/32, 10.0.0.2]}}",
            ":1:51: trunks a and b have one address",
        ),
        (
            "trunks: {a: {server: x, country: DE, dids: {030123456: bank, +4930123456: shop}}}",
            ":1:62: number +4930123456 of trunk a stands twice",
        ),
        ("trunks: {a: {server: x, dids: {'*': bank}, flow: shop}}", ":1:50: trunk a has a flow for all other numbers"),
        ("trunks: {a: {server: '-x'}}", ":1:22: server of trunk a can't be used"),
        (
            "trunks: {a: {server: x, register: {user: u, pasword: p}}}",
            ":1:45: unknown key in register of trunk a",
        ),
        ("trunks: {a: {server: x, register: {user: u, password: p}, options_ping: '²'}}", ":1:73: options_ping"),
    ],
)
def test_what_cannot_work_is_told_once(tmp_path: Path, text: str, line: str) -> None:
    shown = said(tmp_path, text + "\n")
    assert line in shown
    assert shown.endswith("1 error"), shown


def test_two_passwords_are_one_too_many(tmp_path: Path) -> None:
    text = "trunks: {a: {server: h, register: {user: u, password: x, password_env: Y}}}"
    assert "has two passwords" in said(tmp_path, text)


def test_a_trunk_without_a_server_registers_nowhere_and_asks_nobody(tmp_path: Path) -> None:
    text = "trunks: {a: {addresses: [192.0.2.1], register: {user: u, password: x}, options_ping: 30s}}"
    shown = said(tmp_path, text)
    assert "trunk a registers nowhere" in shown
    assert "options_ping of trunk a has nobody to ask" in shown


def test_a_list_of_trunks_is_no_map(tmp_path: Path) -> None:
    assert ":1:9: trunks must be a map" in said(tmp_path, "trunks: [{name: a}]\n")


def test_every_example_of_the_documentation_can_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "trunks.md").read_text()
    for variable in re.findall(r"password_env: ([A-Z_]+)", page):
        monkeypatch.setenv(variable, "secret")
    blocks = re.findall(r"```yaml\n(trunks:\n.*?)```", page, re.S)
    assert len(blocks) >= 11
    for block in blocks:
        assert loaded(tmp_path, block).trunks


def test_an_agents_number_has_to_be_one_that_may_be_called(tmp_path: Path) -> None:
    agents = tmp_path / "agents.yaml"
    agents.write_text("agents: {anna: {phone: +49 151 12345678}}\n")
    (anna,) = load_agents(agents).agents
    assert anna.aor == "tel:+4915112345678"
    assert load_agents(agents).passwords == {}
    roster = load_agents(agents)
    check_agents(roster, loaded(tmp_path, "trunks: {a: {server: h}}\noutbound: {allow: +49151}"))
    with pytest.raises(Findings, match=r"agents.yaml:1:10: the phone of agent anna may not be called"):
        check_agents(roster, loaded(tmp_path, "trunks: {a: {server: h}}"))
    taken = loaded(tmp_path, "trunks: {a: {account: {user: anna, password: x}}}\noutbound: {allow: '*'}")
    with pytest.raises(Findings, match=r"agents.yaml:1:10: trunk a has an account with the name of an agent"):
        check_agents(roster, taken)


def test_a_number_leads_to_one_place(tmp_path: Path) -> None:
    agents, gateway = tmp_path / "agents.yaml", tmp_path / "gateway.yaml"
    agents.write_text("agents: {anna: {password: x}, '1001': {password: x}}\n")
    gateway.write_text("pickup: '1001'\n")
    roster, config = load_agents(agents), load_config(gateway)
    trunks = loaded(tmp_path, "trunks: {a: {server: h, dids: {1001: bank}}}")
    for numbers, found in (([], trunks), (["1001"], Trunks())):
        with pytest.raises(Findings, match=r"agents.yaml:1:31: an agent has the name of a number"):
            check_agents(roster, found, numbers)
        with pytest.raises(ConfigError, match=r"gateway.yaml:1:9: pickup is the number of a flow"):
            check_pickup(config, Roster(()), found, numbers)
    check_agents(roster, Trunks(), ["1000"])
    check_pickup(config, Roster(()), Trunks(), ["1000"])


@pytest.mark.parametrize(
    ("agent", "said_of_it"),
    [
        ("phone: 030 1234", "phone of agent anna can't be used"),
        ("phone: +4930123456, password: x", "agent anna has two phones"),
        ("phone: '+²'", "phone of agent anna can't be used"),
        ("password: x, skills: {en: '²'}", "level of skill en can't be used"),
        ("pasword: x", "unknown key in agent anna: pasword"),
        ("name: Anna", "agent anna has no password"),
        ("password: ''", "agent anna has an empty password"),
    ],
)
def test_an_agent_has_one_phone(tmp_path: Path, agent: str, said_of_it: str) -> None:
    path = tmp_path / "agents.yaml"
    path.write_text(f"agents: {{anna: {{{agent}}}}}\n")
    with pytest.raises(Findings) as caught:
        load_agents(path)
    assert said_of_it in str(caught.value)
    assert str(caught.value).endswith("1 error")
