from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from connector.errors import SettingError
from connector.location import PlaybookError
from connector.registry import installed_adapters
from connector.settings import load_playbook
from tests.fakes.tiny_adapters import ADAPTERS, CrmOptions, TableOptions

GOOD = """\
version: 1
account: acme
timezone: Europe/Amsterdam
sources:
  crm: {adapter: crm, auth: {token: "${CRM_TOKEN}"}, base_url: "${CRM_URL:-https://crm.example}", rate: {share: 50%}}
  product: {adapter: table, path: data.csv}
activity: {counts: "feature <> 'status_page'"}
segments:
  - {name: dormant_30, group: dormancy, where: "inactive_days between 30 and 59"}
  - name: decision_maker
    where: >
      inactive_days >= 30
      and role = 'cto'
guards: {max_change: 10%, stale_source: 36h}
destinations:
  crm: {lists: {segments: false}, page_size: 50}
"""
CANARY = "canary-7f3a-secret"
ENVIRON = {"CRM_TOKEN": CANARY}


def write(folder, text):
    file = folder / "winback.yaml"
    file.write_text(text)
    return file


def loaded(folder, text=GOOD, *, environ=None, overrides=()):
    return load_playbook(write(folder, text), environ=environ or ENVIRON, adapters=ADAPTERS, overrides=overrides)


def refusal(folder, text, *, environ=None, overrides=()):
    with pytest.raises(PlaybookError) as caught:
        loaded(folder, text, environ=environ, overrides=overrides)
    assert CANARY not in str(caught.value)
    return str(caught.value).replace(f"{folder}/", "")


def changed(old, new):
    assert old in GOOD
    return GOOD.replace(old, new)


# --- what comes out -----------------------------------------------------------------------------------------------


def test_a_playbook_says_what_the_file_says(tmp_path):
    playbook = loaded(tmp_path)
    assert (playbook.version, playbook.account, playbook.timezone) == (1, "acme", "Europe/Amsterdam")
    assert playbook.guards.max_change == pytest.approx(0.1)
    assert playbook.guards.stale_source == timedelta(hours=36)
    assert playbook.activity.counts == "feature <> 'status_page'"
    assert [(segment.name, segment.group_name, segment.line) for segment in playbook.segments] == [
        ("dormant_30", "dormancy", 9),
        ("decision_maker", "decision_maker", 11),
    ]
    assert playbook.base_dir == tmp_path


def test_each_block_becomes_its_adapters_own_options(tmp_path):
    playbook = loaded(tmp_path)
    crm, product = playbook.sources["crm"], playbook.sources["product"]
    assert isinstance(crm, CrmOptions)
    assert isinstance(product, TableOptions)
    assert crm.auth["token"].get_secret_value() == CANARY
    assert crm.rate.share == pytest.approx(0.5)
    assert product.path == "data.csv"


def test_defaults_fill_what_is_absent(tmp_path):
    playbook = loaded(tmp_path, changed("guards: {max_change: 10%, stale_source: 36h}\n", ""))
    assert playbook.warehouse == "duckdb:///state/warehouse.duckdb"
    assert playbook.journal == "sqlite:///state/journal.db"
    assert playbook.identity.match == ("external_id", "email")
    assert playbook.guards.max_change == pytest.approx(0.2)
    assert playbook.guards.empty_source == "refuse"


def test_a_destination_shares_the_connection_of_the_source_of_its_name(tmp_path):
    playbook = loaded(tmp_path)
    crm = playbook.destinations["crm"]
    assert isinstance(crm.options, CrmOptions)
    assert crm.options.auth["token"].get_secret_value() == CANARY
    assert crm.options.base_url == "https://crm.example"
    assert crm.options.rate.share == pytest.approx(0.5)
    assert crm.options.page_size == 50
    assert (crm.lists.segments, crm.properties, crm.enroll) == (False, True, "list")
    assert playbook.origin("destinations.crm.auth.token").endswith("winback.yaml:5, environment variable CRM_TOKEN")


@pytest.mark.parametrize(
    ("adapter", "also", "key", "value"),
    [
        ("salesforce", "domain: acme.my.salesforce.com", "domain", "acme.my.salesforce.com"),
        ("hubspot", "api_version: 2026-03", "api_version", "2026-03"),
    ],
)
def test_where_a_system_is_and_how_it_is_spoken_to_is_shared_too(tmp_path, adapter, also, key, value):
    segments = "segments: [{name: cold, where: inactive_days > 90}]"
    both = f"sources: {{crm: {{adapter: {adapter}, {also}}}}}\ndestinations: {{crm: {{}}}}"
    text = f"version: 1\naccount: a\n{both}\n{segments}\n"
    playbook = load_playbook(write(tmp_path, text), environ={}, adapters=installed_adapters())
    assert getattr(playbook.destinations["crm"].options, key) == value


def test_what_a_destination_says_itself_wins_over_its_source(tmp_path):
    text = changed("page_size: 50", "page_size: 50, base_url: 'https://other.example'")
    playbook = loaded(tmp_path, text)
    assert playbook.destinations["crm"].options.base_url == "https://other.example"
    assert playbook.sources["crm"].base_url == "https://crm.example"


def test_the_segments_come_with_parsed_conditions(tmp_path):
    checked = loaded(tmp_path).checked_segments
    assert [item.segment.name for item in checked] == ["dormant_30", "decision_maker"]
    assert checked[0].condition.sql == '("inactive_days" BETWEEN 30 AND 59)'


def test_nothing_of_a_playbook_can_be_changed(tmp_path):
    playbook = loaded(tmp_path)
    with pytest.raises(ValidationError):
        playbook.account = "other"
    with pytest.raises(ValidationError):
        playbook.guards.max_change = 1.0


def test_a_segment_for_everybody_is_written_true(tmp_path):
    playbook = loaded(tmp_path, changed('"inactive_days between 30 and 59"', "true"))
    assert playbook.segments[0].where == "true"


def test_findings_that_are_no_errors_are_kept(tmp_path):
    text = changed("where: >\n", "group: dormancy\n    where: >\n")
    (finding,) = loaded(tmp_path, text).findings
    assert "overlaps 'dormant_30'" in finding.message
    assert "winback.yaml:12:12" in finding.message


# --- what is wrong, all at once -----------------------------------------------------------------------------------


def test_every_error_is_told_at_once_in_reading_order(tmp_path):
    text = (
        changed("account: acme", "acount: acme")
        .replace("Europe/Amsterdam", "Europe/Amsterdm")
        .replace("adapter: table", "adapter: tabel")
        .replace("inactive_days between", "inactive_day between")
        .replace("and role =", "and rol =")
        .replace("10%", "10")
        .replace("segments: false", "setps: true")
        .replace("feature <>", "feture <>")
    )
    heads = [line for line in refusal(tmp_path, text).splitlines() if not line.startswith("    ")]
    assert heads == [
        "winback.yaml:1:1: the key 'account' is missing",
        "winback.yaml:2:1: unknown key 'acount'; did you mean account?",
        "winback.yaml:3:11: timezone: 'Europe/Amsterdm' is not a time zone; did you mean Europe/Amsterdam?",
        "winback.yaml:6:22: sources.product.adapter: no adapter 'tabel'; did you mean table?",
        "winback.yaml:7:21: activity.counts: no column 'feture'; did you mean feature?",
        "winback.yaml:9:49: segments[0].where: no column 'inactive_day'; did you mean inactive_days?",
        "winback.yaml:13:11: segments[1].where: no column 'rol'; did you mean role?",
        "winback.yaml:14:22: guards.max_change: '10' is not a share; write it like 20% or 0.2",
        "winback.yaml:16:17: destinations.crm.lists: unknown key 'setps'; did you mean steps?",
    ]


WRONG = [
    ("version: 1", "version: 2", "winback.yaml:1:10: version: '2' is not allowed here\n    allowed: 1"),
    ("account: acme", "account: 7", "winback.yaml:2:10: account: '7' is not text\n    put it in quotes"),
    (
        "guards:",
        "progam: {name: x}\nguards:",
        "winback.yaml:14:1: unknown key 'progam'; did you mean program?\n    allowed: version, account",
    ),
    ("guards:", "webhooks: {}\nguards:", "winback.yaml:14:11: webhooks: the key 'public_base_url' is missing"),
    ("guards:", "webhook: {}\nguards:", "unknown key 'webhook'; did you mean webhooks?\n    allowed: version, account"),
    ("36h", "36", "guards.stale_source: '36' is not a duration; write a number and a unit"),
    ("10%", "120%", "'120%' is not a share"),
    (
        "guards: {",
        "guards: {empty_source: refuze, ",
        "'refuze' is not allowed here; did you mean refuse?\n    allowed: refuse, allow",
    ),
    (
        "page_size: 50",
        "page_size: 5000",
        "winback.yaml:16:46: destinations.crm.page_size: '5000': input should be less than",
    ),
    (
        "page_size: 50",
        "pagesize: 50",
        "unknown key 'pagesize'; did you mean page_size?\n    allowed: adapter, base_url",
    ),
    (
        "page_size: 50",
        "enroll: workflw",
        "'workflw' is not allowed here; did you mean workflow?\n    allowed: list, workflow, none",
    ),
    ("share: 50%", "share: 50", "sources.crm.rate.share: '50' is not a share; write it like 20% or 0.2"),
    ("share: 50%", "per_second: 5", "sources.crm.rate: unknown key 'per_second'\n    allowed: per_10s, per_day, share"),
    ("path: data.csv", "pth: data.csv", "sources.product: the key 'path' is missing"),
    ("path: data.csv", "path: data.csv, header: maybe", "sources.product.header: 'maybe'"),
    ("adapter: table, ", "", "sources.product: the key 'adapter' is missing\n    allowed: crm, table"),
    ("name: dormant_30", "name: Dormant 30", "segments[0].name: 'Dormant 30' is not a name\n    small letters"),
    ("name: decision_maker", "name: dormant_30", "segments[1].name: the name 'dormant_30' is already taken in line 9"),
    ("inactive_days between 30 and 59", "inactive_days < 0", "segment 'dormant_30': this can never hold"),
    ("inactive_days between 30 and 59", "", "segments[0].where: the condition is empty"),
    ("destinations:\n  crm:", "destinations:\n  product:", "the adapter 'table' cannot be written to"),
    ("destinations:\n  crm:", "destinations:\n  other:", "destinations.other: the key 'adapter' is missing"),
    ("  product: {adapter: table, path: data.csv}", "  product: 7", "sources.product: must be a table of keys"),
    ("  product: {adapter", "  Product-2: {adapter", "'Product-2' is not a name"),
    (
        "account: acme",
        "account: acme\nwarehouse: postgresql://x/y",
        "warehouse: 'postgresql://x/y' must begin with duckdb:///",
    ),
    ("account: acme", "account: acme\njournal: mysql://x/y", "must begin with sqlite:/// or postgresql://"),
    ("account: acme", "account: acme\naccount: b", "the key 'account' is already set in line 2"),
    (
        "account: acme",
        "account: acme\nidentity: {match: [emial]}",
        "identity.match[0]: 'emial' is not allowed here; did you mean email?",
    ),
]


@pytest.mark.parametrize(
    ("old", "new", "part"), WRONG, ids=[new.split("\n")[-1][:30] or "absent" for _, new, _ in WRONG]
)
def test_a_wrong_value_says_where_what_and_what_instead(tmp_path, old, new, part):
    assert part in refusal(tmp_path, changed(old, new))


def test_sections_that_must_not_be_empty_say_so(tmp_path):
    start, _, _ = GOOD.partition("segments:")
    assert "segments: at least one is needed here" in refusal(tmp_path, start + "segments: []\n")
    assert "the key 'sources' is missing" in refusal(tmp_path, "version: 1\naccount: a\nsegments: []\n")


@pytest.mark.parametrize("text", ["- a\n- b", "just words", "7"])
def test_a_file_that_is_no_table_lists_the_keys(tmp_path, text):
    assert "must be a table of keys\n    allowed: version, account" in refusal(tmp_path, text)


def test_the_errors_are_setting_errors_with_their_parts(tmp_path):
    with pytest.raises(SettingError) as caught:
        loaded(tmp_path, changed("account: acme", "acount: acme"))
    assert caught.value.exit_code == 2
    (missing, unknown) = caught.value.problems
    assert (missing.location.line, unknown.location.line, unknown.near) == (1, 2, "account")


INJECTED_NAMES = [
    "x'; DROP TABLE segments; --",
    'x"',
    "x y",
    "../x",
    "x;y",
    "${HOME",
    "x\\ny",
    "X",
    "1x",
    "_x",
    "é",
    "x" * 51,
    "x\u202ey",
    "%s",
    "{x}",
    "null",
    "true",
    "x--",
    "' OR 1=1",
    "<script>",
]


@pytest.mark.parametrize("name", INJECTED_NAMES)
@pytest.mark.parametrize("key", ["name", "group"])
def test_names_and_groups_are_words_and_nothing_else(tmp_path, name, key):
    old = "name: dormant_30" if key == "name" else "group: dormancy"
    text = changed(old, f"{key}: {json.dumps(name)}")
    if name in ("null", "true"):
        assert loaded(tmp_path, text).segments[0].name in (name, "dormant_30")
    else:
        assert refusal(tmp_path, text).startswith("winback.yaml:9")


# --- references ---------------------------------------------------------------------------------------------------


def test_an_undefined_variable_names_itself_the_place_and_the_key(tmp_path):
    said = refusal(tmp_path, GOOD, environ={"CRM_TOKN": CANARY})
    assert "winback.yaml:5:38: sources.crm.auth.token: the environment variable CRM_TOKEN is not set" in said
    assert "did you mean CRM_TOKN?" in said
    assert said.count("CRM_TOKEN is not set") == 1


def test_references_are_filled_in_with_defaults_and_dollar_signs(tmp_path):
    text = changed("path: data.csv", 'path: "$${A:-x}/${A:-dflt}/${B}-${C:-}$"')
    assert loaded(tmp_path, text, environ={**ENVIRON, "B": "b", "A": ""}).sources["product"].path == "${A:-x}/dflt/b-$"


def test_secrets_come_from_files(tmp_path):
    (tmp_path / "token").write_text(CANARY + "\n")
    text = changed("${CRM_TOKEN}", "${file:token}")
    assert loaded(tmp_path, text).sources["crm"].auth["token"].get_secret_value() == CANARY
    by_variable = loaded(tmp_path, GOOD, environ={"CRM_TOKEN_FILE": str(tmp_path / "token")})
    assert by_variable.sources["crm"].auth["token"].get_secret_value() == CANARY


def test_a_secret_file_that_cannot_be_read_says_which(tmp_path):
    said = refusal(tmp_path, changed("${CRM_TOKEN}", "${file:/nowhere/token}"))
    assert "winback.yaml:5:38: sources.crm.auth.token: the file /nowhere/token cannot be read: No such file" in said


@pytest.mark.parametrize("wrong", ["${", "${}", "${A B}", "${:-x}", "${file:}", "${1A}"])
def test_a_malformed_reference_shows_how_to_write_one(tmp_path, wrong):
    said = refusal(tmp_path, changed("path: data.csv", f'path: "x{wrong}"'))
    assert "winback.yaml:6:37" in said or "winback.yaml:6:36" in said


def test_a_reference_without_quotes_inside_braces_says_what_is_missing(tmp_path):
    assert 'belongs in quotes: "${NAME}"' in refusal(tmp_path, changed("10%", "${MAX_CHANGE}"))


def test_an_error_behind_a_reference_still_points_to_its_column(tmp_path):
    text = changed('"inactive_days between 30 and 59"', '"inactive_days >= ${DAYS} and rol = 1"')
    said = refusal(tmp_path, text, environ={**ENVIRON, "DAYS": "30000000"})
    assert "winback.yaml:9:78: segments[0].where: no column 'rol'" in said


def test_a_value_from_outside_is_never_repeated_in_a_message(tmp_path):
    said = refusal(tmp_path, changed("timezone: Europe/Amsterdam", "timezone: ${CRM_TOKEN}"))
    assert "winback.yaml:3:11: timezone:" in said


# --- secrets ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "literal", [CANARY, "${CRM_TOKEN:-canary-7f3a-secret}", "Bearer ${CRM_TOKEN}", "$CRM_TOKEN", "7"]
)
def test_a_credential_must_be_one_reference_and_nothing_else(tmp_path, literal):
    said = refusal(tmp_path, changed("${CRM_TOKEN}", literal))
    assert "winback.yaml:5:37: sources.crm.auth.token: a secret is written here" in said
    assert "allowed: ${CRM_TOKEN}, ${file:/run/secrets/crm_token}" in said


LOOKS_SECRET = [
    "pat-na1-0a1b2c3d-1111-2222-3333-444455556666",
    "xoxb-123456789012-abcdef",
    "sk_live_0123456789abcdef",
    "AKIAIOSFODNN7EXAMPLE",
    "ghp_0123456789abcdef0123",
    "eyJhbGciOiJI.eyJzdWIiOiIx.c2ln",
]


@pytest.mark.parametrize("secret", LOOKS_SECRET)
def test_what_looks_like_a_token_is_refused_anywhere_and_not_repeated(tmp_path, secret):
    said = refusal(tmp_path, changed("path: data.csv", f"path: '{secret}'"))
    assert "winback.yaml:6:35: sources.product.path: this looks like" in said
    assert secret not in said


def test_a_password_in_an_address_is_refused_and_a_reference_to_one_is_not(tmp_path):
    said = refusal(tmp_path, changed("account: acme", "account: acme\njournal: postgresql://user:hunter2@host/db"))
    assert "this looks like a password" in said
    assert "hunter2" not in said
    text = changed("account: acme", 'account: acme\njournal: "postgresql://user:${PG_PASSWORD}@host/db"')
    playbook = loaded(tmp_path, text, environ={**ENVIRON, "PG_PASSWORD": "hunter2"})
    assert playbook.journal == "postgresql://user:hunter2@host/db"
    assert "hunter2" not in str(playbook.resolved())


def test_an_empty_secret_is_refused_at_once(tmp_path):
    assert "sources.crm.auth.token: this secret is empty" in refusal(tmp_path, GOOD, environ={"CRM_TOKEN": ""})


def test_no_representation_shows_a_secret(tmp_path):
    playbook = loaded(tmp_path)
    shown = [
        repr(playbook),
        str(playbook),
        str(playbook.resolved()),
        playbook.model_dump_json(),
        repr(playbook.sources),
    ]
    assert not any(CANARY in text for text in shown)


# --- layers -------------------------------------------------------------------------------------------------------


def test_a_flag_wins_over_the_environment_and_that_over_the_file(tmp_path):
    environ = {**ENVIRON, "WINBACK_GUARDS__MAX_CHANGE": "30%", "WINBACK_ACCOUNT": "from-env"}
    assert loaded(tmp_path).guards.max_change == pytest.approx(0.1)
    assert loaded(tmp_path, environ=environ).guards.max_change == pytest.approx(0.3)
    playbook = loaded(tmp_path, environ=environ, overrides=["guards.max_change=40%"])
    assert playbook.guards.max_change == pytest.approx(0.4)
    assert playbook.account == "from-env"
    assert playbook.origin("account") == "environment variable WINBACK_ACCOUNT"
    assert playbook.origin("guards.max_change") == "flag guards.max_change"
    assert playbook.origin("guards.stale_source").endswith("winback.yaml:14")
    assert playbook.origin("journal") == "default"


def test_the_environment_reaches_nested_keys_lists_and_secrets(tmp_path):
    environ = {
        "CRM_TOKEN": "old",
        "WINBACK_SOURCES__CRM__AUTH__TOKEN": "[" + CANARY,
        "WINBACK_SOURCES__CRM__PAGE_SIZE": "7",
        "WINBACK_SOURCES__CRM__STREAMS": "[contacts, companies]",
        "WINBACK_IDENTITY__MATCH": "[email]",
        "WINBACK_SEGMENTS__0__WHERE": "inactive_days >= 14",
        "WINBACK_GUARDS__STALE_SOURCE": "null",
        "WINBACK_DESTINATIONS__CRM__PROPERTIES": "no",
    }
    playbook = loaded(tmp_path, environ=environ)
    crm = playbook.sources["crm"]
    assert isinstance(crm, CrmOptions)
    assert crm.auth["token"].get_secret_value() == "[" + CANARY
    assert playbook.destinations["crm"].options.auth["token"].get_secret_value() == "[" + CANARY
    assert (crm.page_size, crm.streams) == (7, ("contacts", "companies"))
    assert playbook.identity.match == ("email",)
    assert playbook.segments[0].where == "inactive_days >= 14"
    assert playbook.guards.stale_source is None
    assert playbook.destinations["crm"].properties is False


def test_other_variables_of_ours_are_left_alone_and_slips_are_not(tmp_path):
    loaded(tmp_path, environ={**ENVIRON, "WINBACK_CONFIG": "x", "WINBACK_FAILPOINT": "y", "WINBACK_": "z"})
    text = changed("${CRM_TOKEN}", "${WINBACK_ACCOUNTS}")
    loaded(tmp_path, text, environ={"WINBACK_ACCOUNTS": CANARY})
    said = refusal(tmp_path, GOOD, environ={**ENVIRON, "WINBACK_TIMEZON": "UTC", "WINBACK_GARDS__MAX_CHANGE": "1%"})
    assert (
        "environment variable WINBACK_TIMEZON: 'timezon' is not a key of winback.yaml; did you mean WINBACK_TIMEZONE?"
        in said
    )
    assert "environment variable WINBACK_GARDS__MAX_CHANGE" in said


def test_a_wrong_value_from_the_environment_names_the_variable_and_not_the_value(tmp_path):
    said = refusal(tmp_path, GOOD, environ={**ENVIRON, "WINBACK_GUARDS__MAX_CHANGE": CANARY})
    assert "environment variable WINBACK_GUARDS__MAX_CHANGE: guards.max_change: the value is not a share" in said
    said = refusal(tmp_path, GOOD, environ={**ENVIRON, "WINBACK_GUARDS__MAX_CHNGE": "1%"})
    assert "guards: unknown key 'max_chnge'; did you mean max_change?" in said


def test_a_flag_without_a_value_is_refused(tmp_path):
    assert "must have the form key=value" in refusal(tmp_path, GOOD, overrides=["guards.max_change"])


# --- config show --------------------------------------------------------------------------------------------------


def test_resolved_has_every_value_once_with_its_origin(tmp_path):
    playbook = loaded(tmp_path)
    values = {value.key: value for value in playbook.resolved()}
    assert len(values) == len(playbook.resolved())
    assert (values["sources.crm.auth.token"].value, values["guards.max_change"].value) == ("***", 0.1)
    assert values["sources.crm.auth.token"].origin.endswith("winback.yaml:5, environment variable CRM_TOKEN")
    assert values["sources.crm.base_url"].origin.endswith("winback.yaml:5, default")
    assert values["sources.crm.page_size"].origin == "default"
    assert values["guards.stale_source"].value == "36h"
    assert values["segments[1].where"].value == "inactive_days >= 30 and role = 'cto'"
    assert json.dumps([value.value for value in playbook.resolved()])


def test_resolved_shows_secrets_only_when_asked(tmp_path):
    values = {value.key: value.value for value in loaded(tmp_path).resolved(mask=False)}
    assert values["sources.crm.auth.token"] == CANARY


def test_the_digest_follows_the_rules_not_the_credentials_the_place_or_the_comments(tmp_path):
    one = loaded(tmp_path).digest()
    (tmp_path / "other").mkdir()
    assert loaded(tmp_path / "other", "# hello\n" + GOOD, environ={"CRM_TOKEN": "rotated"}).digest() == one
    assert loaded(tmp_path, changed("and 59", "and 60")).digest() != one
    assert loaded(tmp_path, changed("10%", "11%")).digest() != one


def test_a_relative_path_names_the_file_as_it_was_given(tmp_path, monkeypatch):
    write(tmp_path, changed("account: acme", "acount: acme"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PlaybookError, match=r"^winback\.yaml:1:1: the key 'account' is missing"):
        load_playbook(Path("winback.yaml"), environ=ENVIRON, adapters=ADAPTERS)
