"""The `webhooks:` block, a program's `reasons:`, and `reasons_file`."""

from __future__ import annotations

import json
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated

import jsonschema
import pytest
from pydantic import BeforeValidator, Field, SecretStr

from connector.location import PlaybookError
from connector.model import Severity
from connector.program.model import ReasonRule
from connector.reasons import classify
from connector.receivers import Incoming, Parsed, Receiver, ReceiverOptions, Secrets, Verdict, secrets
from connector.registry import installed_receivers
from connector.settings import json_schema, load_playbook
from connector.yaml_loader import load, plain
from tests.fakes.tiny_adapters import ADAPTERS


class EarOptions(ReceiverOptions):
    secret: Annotated[Secrets, BeforeValidator(secrets)] = ()
    account: int = Field(default=1, ge=1)
    token: SecretStr | None = None


def _no(_options: object, _incoming: Incoming) -> Verdict:
    return Verdict(ok=False)


EAR = Receiver(
    name="ear",
    title="An ear",
    options=EarOptions,
    verify=_no,
    parse=lambda _options, _incoming: Parsed(()),
    understand=lambda _options, _event: [],
    sign=lambda *_: {},
    sample=lambda *_: b"",
)
RECEIVERS = {"ear": EAR}

HASH = "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$aGFzaGhhc2g"
CANARY = "canary-5d1c-and-long-enough"
ENVIRON = {
    "CRM_TOKEN": "token-token-token",
    "EAR": CANARY,
    "OLD_EAR": f"{CANARY}-old",
    "SLACK_URL": f"https://hooks.slack.example/services/{CANARY}",
    "ADA": HASH,
}
HEAD = """\
version: 1
account: acme
sources:
  crm: {adapter: crm, auth: {token: "${CRM_TOKEN}"}}
segments:
  - {name: dormant_30, where: "inactive_days between 30 and 59"}
"""
GOOD = (
    HEAD
    + """\
program:
  name: p
  enroll: [dormant_30]
  steps:
    - {name: hello, day: 1}
    - {name: offer, day: 7, offer: ladder}
    - {name: last, day: 14}
  offers: {items: {longer: {}, cut: {discount: true, cost: 5}}, ladder: [longer, cut]}
  reasons:
    price: {step: offer, offer: cut}
    not_now: {snooze: 60d}
    changed_job: {exit: true}
    missing_feature: {route: [task, slack]}
webhooks:
  public_base_url: https://winback.acme.example
  trusted_proxies: [127.0.0.1/32, "fd00::/8"]
  sources:
    ear: {secret: ["${EAR}", "${OLD_EAR}"], questions: {why: reason, nps: score}, choices: {c1: price}}
  inbox: {keep: 14d, most_waiting: 500}
  feedback: {text: drop, keep: 100d, property: why_left}
  alerts: {slack: "${SLACK_URL}"}
  operators:
    ada: {password: "${ADA}", role: operator}
"""
)


def loaded(folder: Path, text: str = GOOD, *, environ=None, overrides=(), receivers=RECEIVERS):
    file = folder / "winback.yaml"
    file.write_text(text)
    return load_playbook(
        file, environ=ENVIRON | (environ or {}), adapters=ADAPTERS, receivers=receivers, overrides=overrides
    )


def refusal(folder: Path, text: str, **more) -> str:
    with pytest.raises(PlaybookError) as caught:
        loaded(folder, text, **more)
    assert CANARY not in str(caught.value)
    return str(caught.value).replace(f"{folder}/", "")


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


# --- what comes out ---------------------------------------------------------------------------------------------


def test_the_block_comes_out_as_one_frozen_object(tmp_path):
    settings = loaded(tmp_path).webhooks
    assert settings.public_base_url == "https://winback.acme.example"
    ear = settings.sources["ear"]
    assert isinstance(ear, EarOptions)
    assert [secret.get_secret_value() for secret in ear.secret] == [CANARY, f"{CANARY}-old"]
    assert ear.questions == {"why": "reason", "nps": "score"}
    assert (settings.inbox.keep, settings.inbox.most_waiting) == (timedelta(days=14), 500)
    assert (settings.feedback.text, settings.feedback.keep, settings.feedback.property) == (
        "drop",
        timedelta(days=100),
        "why_left",
    )
    assert settings.alerts.slack.get_secret_value() == ENVIRON["SLACK_URL"]
    assert settings.alerts.teams is None
    assert settings.operators["ada"].role == "operator"
    assert settings.trusted_proxies == (ip_network("127.0.0.1"), ip_network("fd00::/8"))
    with pytest.raises(ValueError, match="frozen"):
        settings.public_base_url = "https://elsewhere.example"


def test_only_the_address_is_needed(tmp_path):
    settings = loaded(tmp_path, HEAD + "webhooks: {public_base_url: 'http://127.0.0.1:8080'}\n").webhooks
    assert settings.sources == {}
    assert settings.trusted_proxies == ()
    assert settings.feedback.text == "keep"
    assert settings.feedback.property == "winback_reason"
    assert settings.inbox.keep == timedelta(days=30)


def test_without_the_block_there_is_none_and_nothing_of_it_is_shown(tmp_path):
    playbook = loaded(tmp_path, HEAD)
    assert playbook.webhooks is None
    assert not [value.key for value in playbook.resolved() if "webhooks" in value.key or "reasons" in value.key]


def test_a_program_has_its_reasons(tmp_path):
    (program,) = loaded(tmp_path).programs
    assert program.reasons == {
        "price": ReasonRule(step="offer", offer="cut"),
        "not_now": ReasonRule(snooze=timedelta(days=60)),
        "changed_job": ReasonRule(exit=True),
        "missing_feature": ReasonRule(route=("task", "slack")),
    }


def test_a_good_block_has_nothing_to_complain_about(tmp_path):
    assert [finding for finding in loaded(tmp_path).findings if "holdout" not in finding.message] == []


def test_the_environment_and_flags_reach_into_the_block(tmp_path):
    settings = loaded(
        tmp_path,
        environ={"WINBACK_WEBHOOKS__INBOX__KEEP": "3d", "WINBACK_WEBHOOKS__SOURCES__EAR__ACCOUNT": "1"},
        overrides=("webhooks.public_base_url=https://other.example",),
    ).webhooks
    assert settings.inbox.keep == timedelta(days=3)
    assert settings.public_base_url == "https://other.example"


def test_nothing_that_is_shown_holds_a_secret(tmp_path):
    playbook = loaded(tmp_path, changed("questions:", 'token: "${EAR}", questions:'))
    shown = json.dumps([[value.key, value.value, value.origin] for value in playbook.resolved()])
    assert CANARY not in shown
    assert HASH not in shown
    assert CANARY not in repr(playbook.webhooks)
    values = {value.key: value.value for value in playbook.resolved()}
    assert values["webhooks.sources.ear.secret"] == ["***", "***"]
    assert values["webhooks.sources.ear.token"] == "***"
    assert values["webhooks.alerts.slack"] == "***"
    assert values["webhooks.operators.ada.password"] == "***"


def test_the_digest_follows_the_settings_and_not_the_secrets(tmp_path):
    digest = loaded(tmp_path).digest()
    assert loaded(tmp_path, environ={"EAR": f"{CANARY}-new"}).digest() == digest
    assert loaded(tmp_path, changed('["${EAR}", "${OLD_EAR}"]', '"${EAR}"')).digest() == digest
    assert loaded(tmp_path, changed("keep: 14d", "keep: 15d")).digest() != digest


# --- what is wrong ----------------------------------------------------------------------------------------------

WRONG = [
    (
        "    ear:",
        "    eer:",
        "winback.yaml:24:5: webhooks.sources: no receiver 'eer'; did you mean ear?\n    allowed: ear",
    ),
    ("questions: {", "question: {", "unknown key 'question'; did you mean questions?"),
    (
        "why: reason",
        "why: reasn",
        "webhooks.sources.ear.questions.why: 'reasn' is no meaning of a question; did you mean",
    ),
    ("c1: price", "c1: prize", "webhooks.sources.ear.choices.c1: 'prize' is no reason; did you mean price?"),
    ("ear: {secret", "ear: {account: 0, secret", "webhooks.sources.ear.account: '0'"),
    ('["${EAR}", "${OLD_EAR}"]', '"plain-text-secret"', "24:19: webhooks.sources.ear.secret: a secret is written here"),
    ('"${OLD_EAR}"]', '"old-plain-secret"]', "webhooks.sources.ear.secret[1]: a secret is written here"),
    ('"${SLACK_URL}"', "https://hooks.slack.example/x", "webhooks.alerts.slack: a secret is written here"),
    ('"${ADA}"', HASH.replace("$", "$$"), "webhooks.operators.ada.password: a secret is written here"),
    ('"${EAR}", "${OLD_EAR}"', '"${EER}"', "the environment variable EER is not set; did you mean EAR?"),
    (
        "https://winback.acme",
        "http://winback.acme",
        "webhooks.public_base_url: 'http://winback.acme.example' must begin",
    ),
    ("acme.example\n", "acme.example/?x\n", "must end before any ? or #"),
    ("[127.0.0.1/32,", "[127.0.0.1/40,", "webhooks.trusted_proxies[0]: '127.0.0.1/40' is not a network"),
    ("[127.0.0.1/32,", "[10.0.0.1/8,", "webhooks.trusted_proxies[0]: '10.0.0.1/8' is not a network"),
    ("[127.0.0.1/32,", "[proxy.example,", "webhooks.trusted_proxies[0]: 'proxy.example' is not a network"),
    ('"fd00::/8"', '"::/0"', "webhooks.trusted_proxies[1]: '::/0' is everybody"),
    ('"fd00::/8"', "42", "webhooks.trusted_proxies[1]"),
    ("most_waiting: 500", "most_waiting: 0", "webhooks.inbox.most_waiting"),
    ("keep: 14d", "keep: 14", "webhooks.inbox.keep: '14' is not a duration"),
    ("text: drop", "text: hash", "webhooks.feedback.text: 'hash' is not allowed here"),
    ("property: why_left", "property: Why left", "webhooks.feedback.property"),
    ("role: operator", "role: root", "webhooks.operators.ada.role: 'root' is not allowed here"),
    ("ada:", "Ada L:", "is not a name"),
    ("sources:\n    ear", "sorces:\n    ear", "unknown key 'sorces'; did you mean sources?"),
    ("    price: {step", "    prise: {step", "program.reasons.prise: no reason 'prise'; did you mean price?"),
    ("step: offer,", "step: ofer,", "program.reasons.price.step: no step 'ofer'; did you mean offer?"),
    ("offer: cut}", "offer: cuts}", "program.reasons.price.offer: no offer 'cuts'; did you mean cut?"),
    ("snooze: 60d", "snooze: 60", "program.reasons.not_now.snooze: '60' is not a duration"),
    ("snooze: 60d", "snooze: 0d", "program.reasons.not_now.snooze: a snooze of no time"),
    ("[task, slack]", "[task, slak]", "'slak' is not allowed here; did you mean slack?"),
    ("exit: true", "exits: true", "unknown key 'exits'; did you mean exit?"),
]


@pytest.mark.parametrize(("old", "new", "said"), WRONG, ids=[new for _, new, _ in WRONG])
def test_what_is_wrong_is_told_with_its_place_and_what_would_be_right(tmp_path, old, new, said):
    assert said in refusal(tmp_path, changed(old, new))


def test_an_empty_secret_is_refused_at_once(tmp_path):
    said = refusal(tmp_path, changed('["${EAR}", "${OLD_EAR}"]', '"${EAR}"'), environ={"EAR": ""})
    assert "webhooks.sources.ear.secret: this secret is empty" in said


def test_an_alert_address_that_is_none_is_refused_without_being_shown(tmp_path):
    said = refusal(tmp_path, GOOD, environ={"SLACK_URL": f"ftp://{CANARY}"})
    assert "webhooks.alerts.slack: the value is not a web address" in said


def test_a_password_that_is_no_hash_is_refused_without_being_shown(tmp_path):
    said = refusal(tmp_path, GOOD, environ={"ADA": CANARY})
    assert "webhooks.operators.ada.password: the value is not the hash of a password" in said


def test_receivers_that_are_not_installed_are_told(tmp_path):
    assert "no receiver 'ear'" in refusal(tmp_path, GOOD, receivers={})


def test_mistakes_in_the_block_are_told_with_those_elsewhere(tmp_path):
    said = refusal(tmp_path, changed("    ear:", "    eer:").replace("between 30 and 59", "betwen 30 and 59"))
    assert "no receiver 'eer'" in said
    assert "segments[0].where" in said


# --- what is odd ------------------------------------------------------------------------------------------------

ODD = [
    ("{exit: true}", "{}", "nothing follows from 'changed_job'"),
    ("{exit: true}", "{exit: true, step: last}", "'changed_job' ends the program, so its step never come"),
    ("snooze: 60d", "snooze: 400d", "'not_now' leaves people alone for more than a year"),
    ("snooze: 60d", "snooze: 60d, step: last", "the step 'last' never comes"),
    ("ladder: [longer, cut]", "ladder: [longer]", "'cut' is on no ladder of this program: nobody is offered it"),
    ("  name: p\n", "  name: p\n  driver: crm\n", "the CRM's own workflow goes from step to step"),
    ("alerts: {slack:", "alerts: {teams:", "routed to slack, and there is no webhooks.alerts.slack"),
    ("ear: {secret", "ear: {insecure_dev: true, secret", "whatever arrives is believed"),
]


@pytest.mark.parametrize(("old", "new", "said"), ODD, ids=[said for _, _, said in ODD])
def test_what_cannot_be_meant_is_a_finding(tmp_path, old, new, said):
    findings = loaded(tmp_path, changed(old, new)).findings
    assert [finding.severity for finding in findings if said in finding.message] == [Severity.WARNING]


def test_a_secret_that_could_be_guessed_is_a_finding_that_does_not_show_it(tmp_path):
    findings = loaded(tmp_path, environ={"OLD_EAR": "hunter2"}).findings
    (finding,) = [finding for finding in findings if "shorter than" in finding.message]
    assert finding.subject == "webhooks ear"
    assert "winback.yaml:24" in finding.message
    assert "hunter2" not in str(finding)


# --- the team's own words ---------------------------------------------------------------------------------------


def test_the_teams_own_words_are_read_over_ours(tmp_path):
    (tmp_path / "words.yaml").write_text("en: {reasons: {competitor: {0.9: [globex]}}}\n")
    playbook = loaded(tmp_path, HEAD + "reasons_file: words.yaml\n")
    assert classify("Globex", rules=playbook.reasons).reason == "competitor"
    assert classify("too expensive", rules=playbook.reasons).reason == "price"
    assert classify("Globex", rules=loaded(tmp_path, HEAD).reasons).reason is None


def test_what_is_wrong_in_the_teams_words_is_told_with_their_line(tmp_path):
    (tmp_path / "words.yaml").write_text("en:\n  reasons: {competitors: {0.9: [globex]}}\n")
    said = refusal(tmp_path, HEAD + "reasons_file: words.yaml\n")
    assert "words.yaml:2:13: en.reasons: no reason 'competitors'; did you mean competitor?" in said
    said = refusal(tmp_path, HEAD + "reasons_file: other.yaml\n")
    assert "winback.yaml:7:15: reasons_file: there is no file other.yaml" in said


# --- for the editor ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def validator():
    schema = json_schema(ADAPTERS, RECEIVERS)
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


def test_a_good_block_is_good_for_the_editor_too(validator):
    assert list(validator.iter_errors(plain(load(GOOD, file="w")))) == []


@pytest.mark.parametrize(
    ("old", "new"), [(old, new) for old, new, _ in WRONG if new.strip() not in ('"${EER}"', "step: ofer,", "offer: cuts}")
                     and "http://winback" not in new and "/?x" not in new and "0d" not in new and "10.0.0.1/8" not in new]
)  # fmt: skip
def test_the_editor_refuses_in_the_block_what_loading_refuses(validator, old, new):
    assert list(validator.iter_errors(plain(load(changed(old, new), file="w"))))


def test_every_key_of_every_installed_receiver_has_words_for_the_editor():
    receivers = installed_receivers()
    schema = json_schema(ADAPTERS, receivers)
    jsonschema.Draft7Validator.check_schema(schema)
    block = next(part for part in schema["properties"]["webhooks"]["anyOf"] if "properties" in part)
    sources = block["properties"]["sources"]["properties"]
    assert set(sources) == set(receivers)
    for name, source in sources.items():
        for key, part in source["properties"].items():
            assert part.get("description"), f"{name}.{key}"
            assert "format" not in part, f"{name}.{key}: a secret is written by reference"
