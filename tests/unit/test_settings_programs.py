from __future__ import annotations

import json
import re
from datetime import date, time, timedelta
from importlib import import_module
from pathlib import Path

import pytest

from connector.location import PlaybookError
from connector.program.codes import EXITS
from connector.program.model import Driver
from connector.program.profiles import CUSTOM, PROFILES
from connector.settings import load_playbook
from connector.settings.program_blocks import ConsentBlock
from tests.fakes.tiny_adapters import ADAPTERS

HEAD = """\
version: 1
account: acme
timezone: Europe/Amsterdam
sources:
  crm: {adapter: crm, auth: {token: "${CRM_TOKEN}"}}
segments:
  - {name: high_value_dormant, where: "inactive_days >= 30 and monetary_quintile >= 4"}
  - {name: dormant_30, group: dormancy, where: "inactive_days between 30 and 59"}
  - {name: dormant_60, group: dormancy, where: "inactive_days between 60 and 89"}
"""
GOOD = (
    HEAD
    + """\
program:
  name: win-back
  enroll: [high_value_dormant, dormant_60]
  steps:
    - name: reminder
      day: 1
      branches: {lead: "role = 'team_lead'", dev: "role = 'developer'"}
    - name: offer
      day: 7
      when: "engaged.replies = 0"
      adjust:
        - {when: "engaged.clicks >= 1", day: 4}
        - {when: "inactive_days > 80", day: 10}
      offer: ladder
    - {name: feedback, day: 21, when: "feedback.at is null", variants: {a: 50%, b: 0.5}}
  variants:
    offer: {soft: 30%, hard: 70%}
  exit: [reactivated, converted, snoozed]
  reactivated: "active_days_since_enrollment >= 2"
  converted: "transactions_since_enrollment >= 1 and value_365d > 10"
  ends_after: 10d
  outcome_window: 60d
  holdout: {share: 25%, by: [segment, accounts.plan_tier], unit: contact, salt: s1}
  caps: {per_contact: 4 in 30d, gap: 2d 12h, per_day: 500, quiet_after: 45d}
  send:
    window: "09:00-17:30"
    days: business
    blackout: ["2026-12-24..2027-01-01", 2026-12-06]
    best_hour: true
    hold: winback
  consent:
    profile: casl
    countries: {de: gdpr_strict, US: can_spam}
    assume_country: FR
    max_age: 12h
    retention: 700d
    hygiene: false
  offers:
    items:
      trial: {expires: 14d}
      cut: {cost: 12.5, discount: true, codes: generate, redeemed_by: "transactions_since_enrollment > 0"}
    ladder: [none, trial, cut]
    ladders: {dormant_60: [trial]}
    budget: 500 in 7d
    per_contact: 12.50 in 365d
    skip_above: 40%
    minimum_value: 99.5
  sunset: {after_episodes: 2, segment: at_rest, lasts: 100d}
  health: {sample: 50, spam: 0.2%, bounce_warn: 1%, bounce: 2%, unsubscribe: 3%}
  personalize:
    whats_new: new.yaml
    next_steps: {reports: "Try dashboards", "*": "Start here"}
    links: true
links:
  public_base_url: https://links.example.com
  destinations: {app: "https://app.example.com/", docs: "https://docs.example.com"}
  default: docs
  expires: 60d
  snooze: [14d, 30d]
keys:
  links: ["${LINK_KEY}", "${OLD_LINK_KEY}"]
  suppression: "${PEPPER}"
destinations:
  crm: {lists: {segments: true, steps: true}, enroll: list}
"""
)
MINIMAL = HEAD + "program: {name: p, enroll: [dormant_30], steps: [{name: hello, day: 1}]}\n"
SEVERAL = (
    HEAD
    + """\
programs:
  - name: first
    enroll: [high_value_dormant]
    steps: [{name: hello, day: 1}]
  - name: second
    enroll: [dormant_30]
    steps: [{name: hello, day: 1}]
    caps: {gap: 5d, quiet_after: 10d}
    consent: {profile: casl}
  - name: third
    enroll: [dormant_60]
    steps: [{name: hello, day: 1}]
    caps: {per_day: 7}
"""
)
NEWS = """\
- {date: 2026-03-01, text: "Dark mode"}
- {date: 2026-09-14, text: "Reports in half the time", features: [reports]}
"""
CANARY = "canary-4b1f-" + "x" * 32
ENVIRON = {"CRM_TOKEN": "token", "LINK_KEY": CANARY, "OLD_LINK_KEY": CANARY + "-old", "PEPPER": CANARY + "-pepper"}


def loaded(folder, text=GOOD, *, environ=None, overrides=()):
    (folder / "new.yaml").write_text(NEWS)
    file = folder / "winback.yaml"
    file.write_text(text)
    return load_playbook(file, environ=ENVIRON | (environ or {}), adapters=ADAPTERS, overrides=overrides)


def refusal(folder, text, **rest):
    with pytest.raises(PlaybookError) as caught:
        loaded(folder, text, **rest)
    assert CANARY not in str(caught.value)
    return str(caught.value).replace(f"{folder}/", "")


def changed(old, new, text=GOOD):
    assert text.count(old) == 1, old
    return text.replace(old, new)


def line_of(part, text=GOOD):
    return next(number for number, line in enumerate(text.splitlines(), start=1) if part in line)


# --- what comes out -----------------------------------------------------------------------------------------------


def test_without_a_program_there_is_none(tmp_path):
    assert loaded(tmp_path, HEAD).programs == ()


def test_a_program_says_what_the_file_says(tmp_path):
    (program,) = loaded(tmp_path).programs
    assert (program.name, program.enroll) == ("win-back", ("high_value_dormant", "dormant_60"))
    assert program.exit == {"reactivated", "converted", "snoozed"}
    assert program.reactivated.text == "active_days_since_enrollment >= 2"
    assert program.converted.text == "transactions_since_enrollment >= 1 and value_365d > 10"
    assert (program.ends_after, program.outcome_window) == (timedelta(days=10), timedelta(days=60))
    assert (program.driver, program.workflow) == (Driver.WINBACK, None)


def test_the_steps_have_their_conditions_adjustments_branches_and_variants(tmp_path):
    reminder, offer, feedback = loaded(tmp_path).programs[0].steps
    assert [(step.name, step.day) for step in (reminder, offer, feedback)] == [
        ("reminder", 1),
        ("offer", 7),
        ("feedback", 21),
    ]
    assert {name: condition.text for name, condition in reminder.branches.items()} == {
        "lead": "role = 'team_lead'",
        "dev": "role = 'developer'",
    }
    assert offer.when.holds({"engaged_replies": 0}) is True
    assert [(item.when.text, item.day) for item in offer.adjust] == [
        ("engaged.clicks >= 1", 4),
        ("inactive_days > 80", 10),
    ]
    assert (offer.offer, reminder.offer) == ("ladder", None)
    assert offer.variants == {"soft": pytest.approx(0.3), "hard": pytest.approx(0.7)}
    assert feedback.variants == {"a": 0.5, "b": 0.5}
    assert reminder.variants == {}


def test_holdout_caps_and_send_say_what_the_file_says(tmp_path):
    (program,) = loaded(tmp_path).programs
    holdout, caps, send = program.holdout, program.caps, program.send
    assert (holdout.share, holdout.by, holdout.unit, holdout.salt) == (
        0.25,
        ("segment", "accounts.plan_tier"),
        "contact",
        "s1",
    )
    assert (caps.per_contact, caps.gap, caps.per_day, caps.quiet_after) == (
        (4, timedelta(days=30)),
        timedelta(days=2, hours=12),
        500,
        timedelta(days=45),
    )
    assert (send.window, send.days) == ((time(9), time(17, 30)), frozenset({0, 1, 2, 3, 4}))
    assert send.blackout == ((date(2026, 12, 24), date(2027, 1, 1)), (date(2026, 12, 6), date(2026, 12, 6)))
    assert (send.best_hour, send.hold) == (True, "winback")


def test_consent_offers_sunset_and_health_say_what_the_file_says(tmp_path):
    (program,) = loaded(tmp_path).programs
    consent, offers, sunset, health = program.consent, program.offers, program.sunset, program.health
    assert (consent.profile, consent.countries) == ("casl", {"DE": "gdpr_strict", "US": "can_spam"})
    assert (consent.assume_country, consent.max_age) == ("FR", timedelta(hours=12))
    assert (consent.retention, consent.hygiene) == (timedelta(days=700), False)
    trial, cut = offers.offers["trial"], offers.offers["cut"]
    assert (trial.name, trial.cost, trial.discount, trial.codes) == ("trial", 0, False, None)
    assert trial.expires == timedelta(days=14)
    assert (cut.cost, cut.discount, cut.codes) == (12.5, True, "generate")
    assert cut.redeemed_by.text == "transactions_since_enrollment > 0"
    assert (offers.ladder, offers.ladders) == (("none", "trial", "cut"), {"dormant_60": ("trial",)})
    assert offers.budget == (500.0, timedelta(days=7))
    assert offers.per_contact == (12.5, timedelta(days=365))
    assert (offers.skip_above, offers.minimum_value) == (0.4, 99.5)
    assert (sunset.after_episodes, sunset.segment, sunset.lasts) == (2, "at_rest", timedelta(days=100))
    assert (health.sample, health.spam, health.bounce_warn) == (50, 0.002, 0.01)


def test_what_is_new_is_read_and_newest_first(tmp_path):
    personal = loaded(tmp_path).programs[0].personal
    assert [entry["text"] for entry in personal.whats_new] == ["Reports in half the time", "Dark mode"]
    assert personal.next_steps == {"reports": "Try dashboards", "*": "Start here"}
    assert personal.links is True


def test_links_and_keys_are_there_and_keys_are_not_shown(tmp_path):
    playbook = loaded(tmp_path)
    assert playbook.links.public_base_url == "https://links.example.com"
    assert playbook.links.default_destination == "docs"
    assert (playbook.links.expires, playbook.links.snooze) == (
        timedelta(days=60),
        (timedelta(days=14), timedelta(days=30)),
    )
    assert [key.get_secret_value() for key in playbook.keys.links] == [CANARY, CANARY + "-old"]
    assert playbook.keys.suppression.get_secret_value() == CANARY + "-pepper"
    assert CANARY not in repr(playbook)


def test_one_key_need_not_be_a_list(tmp_path):
    text = changed('["${LINK_KEY}", "${OLD_LINK_KEY}"]', '"${LINK_KEY}"')
    assert [key.get_secret_value() for key in loaded(tmp_path, text).keys.links] == [CANARY]


def test_a_program_needs_only_a_name_segments_and_steps(tmp_path):
    (program,) = loaded(tmp_path, MINIMAL).programs
    assert program.reactivated.text == "active_days_since_enrollment >= 1"
    assert program.reactivated.holds({"active_days_since_enrollment": 1}) is True
    assert (program.exit, program.converted) == (None, None)
    assert (program.holdout.share, program.holdout.by) == (None, ("segment",))
    assert program.caps.per_contact == (4, timedelta(days=30))
    assert program.sunset.after_episodes is None


def test_a_sunset_without_a_number_means_after_the_first(tmp_path):
    text = changed("{name: p,", "{name: p, sunset: {},", MINIMAL)
    assert loaded(tmp_path, text).programs[0].sunset.after_episodes == 1


def test_a_list_whose_only_item_is_wrong_is_not_called_empty(tmp_path):
    said = refusal(tmp_path, changed("day: 1}", "day: x}", MINIMAL))
    assert said == "winback.yaml:10:69: program.steps[0].day: 'x' is not a whole number"


@pytest.mark.parametrize("share", ["auto", "null"])
def test_an_automatic_holdout_has_no_share_of_its_own(tmp_path, share):
    assert loaded(tmp_path, changed("share: 25%", f"share: {share}")).programs[0].holdout.share is None


def test_days_of_the_week_may_be_listed(tmp_path):
    text = changed("days: business", "days: [mon, Wed, fri]")
    assert loaded(tmp_path, text).programs[0].send.days == {0, 2, 4}


def test_a_workflow_may_be_written_as_the_number_it_is(tmp_path):
    text = changed("{name: p,", "{name: p, driver: crm, workflow: 123456789,", MINIMAL)
    (program,) = loaded(tmp_path, text).programs
    assert (program.driver, program.workflow) == (Driver.CRM, "123456789")


def test_dates_in_a_condition_are_of_the_accounts_time_zone(tmp_path):
    text = changed('"engaged.replies = 0"', "\"created_at >= date '2026-01-01'\"")
    step = loaded(tmp_path, text).programs[0].steps[1]
    assert "2025-12-31 23:00" in step.when.sql


def test_the_consent_profiles_are_those_that_there_are():
    names = set(ConsentBlock.model_fields["profile"].annotation.__args__)
    assert names == {*PROFILES, CUSTOM}


def test_the_example_of_the_design_loads_as_it_is(tmp_path):
    design = Path(__file__).parents[2].parent / "shared" / "design.md"
    if not design.is_file():
        pytest.skip(f"{design} is not here")
    text = re.search(r"## 4\. The playbook.*?```yaml\n(.*?)```", design.read_text(), re.DOTALL)[1]
    adapters = {name: import_module(f"adapters.{name}").ADAPTER for name in ("files", "hubspot")}
    file = tmp_path / "winback.yaml"
    file.write_text(text)
    playbook = load_playbook(file, environ={"HUBSPOT_TOKEN": "x"}, adapters=adapters)
    (program,) = playbook.programs
    assert [(step.name, step.day) for step in program.steps] == [
        ("reminder", 1), ("offer", 7), ("last_chance", 14), ("feedback", 21),
    ]  # fmt: skip
    assert program.enroll == ("high_value_dormant", "dormant_90", "dormant_60", "dormant_30")
    assert program.steps[1].variants == {"trial_extension": 0.5, "discount": 0.5}
    assert program.holdout.share == pytest.approx(0.1)
    assert program.caps.per_day == 5000
    assert program.sunset.after_episodes == 1
    assert playbook.destinations["crm"].lists.steps is True
    assert playbook.findings == ()


# --- several programs ---------------------------------------------------------------------------------------------


def test_several_programs_keep_their_order(tmp_path):
    assert [program.name for program in loaded(tmp_path, SEVERAL).programs] == ["first", "second", "third"]


def test_caps_and_consent_hold_for_every_program_wherever_they_are_written(tmp_path):
    first, second, third = loaded(tmp_path, SEVERAL).programs
    assert first.caps == second.caps
    assert (first.caps.gap, first.caps.per_day) == (timedelta(days=5), 7)
    assert third.caps == first.caps
    assert {program.consent.profile for program in (first, second, third)} == {"casl"}


def test_each_program_may_have_a_quiet_time_of_its_own(tmp_path):
    text = changed("caps: {per_day: 7}", "caps: {per_day: 7, quiet_after: 200d}", SEVERAL)
    assert [program.caps.quiet_after.days for program in loaded(tmp_path, text).programs] == [10, 10, 200]


def test_what_a_program_takes_from_another_is_shown_with_its_origin(tmp_path):
    shown = {value.key: value for value in loaded(tmp_path, SEVERAL).resolved()}
    gap = shown["programs[0].caps.gap"]
    assert (gap.value, gap.origin) == ("5d", f"{tmp_path}/winback.yaml:{line_of('gap: 5d', SEVERAL)}")
    assert shown["programs[0].send.hold"].origin == "default"


def test_two_programs_that_contradict_each_other_are_refused(tmp_path):
    text = changed("caps: {per_day: 7}", "caps: {gap: 6d}", SEVERAL)
    line = line_of("gap: 6d", text)
    assert refusal(tmp_path, text) == (
        f"winback.yaml:{line}:17: programs[2].caps.gap: the program 'second' says something else in line"
        f" {line_of('gap: 5d', text)}\n    caps.gap holds for all programs: write it once"
    )


def test_two_programs_with_one_name_are_refused(tmp_path):
    text = changed("name: third", "name: first", SEVERAL)
    line = line_of("name: first", text)
    assert f"programs[2].name: the name 'first' is already taken in line {line}" in refusal(tmp_path, text)


def test_an_offer_is_the_same_thing_in_every_program(tmp_path):
    offers = "offers: {items: {trial: {cost: %s}}, ladder: [trial]}"
    text = changed("name: first\n", f"name: first\n    {offers % 5}\n", SEVERAL)
    text = text.replace("name: second\n", f"name: second\n    {offers % 6}\n")
    line = line_of("cost: 5", text)
    assert f"programs[1].offers.items.trial: 'trial' is something else in line {line}" in refusal(tmp_path, text)
    assert len(loaded(tmp_path, text.replace("cost: 6", "cost: 5")).programs) == 3


def test_program_and_programs_do_not_go_together(tmp_path):
    text = SEVERAL + "program: {name: p, enroll: [dormant_30], steps: [{name: hello, day: 1}]}\n"
    assert "winback.yaml:10:1: programs: there is `program` and there is `programs`" in refusal(tmp_path, text)


def test_a_list_of_no_programs_is_refused(tmp_path):
    assert "programs: at least one is needed here" in refusal(tmp_path, HEAD + "programs: []\n")


# --- what is wrong ------------------------------------------------------------------------------------------------

WRONG = [
    # names that are not there
    ("enroll: [high_value_dormant, dormant_60]", "enroll: [high_value_dormnt, dormant_60]",
     ("winback.yaml:12:12: program.enroll[0]: no segment 'high_value_dormnt'; did you mean high_value_dormant?\n"
      "    allowed: high_value_dormant, dormant_30, dormant_60")),
    ("enroll: [high_value_dormant, dormant_60]", "enroll: [dormant_60, dormant_60]", "'dormant_60' stands here twice"),
    ("exit: [reactivated, converted, snoozed]", "exit: [reactivated, convertd]",
     "program.exit[1]: no exit 'convertd'; did you mean converted?\n    allowed: deleted, erased"),
    ("    offer: {soft: 30%, hard: 70%}", "    ofer: {soft: 30%, hard: 70%}",
     "program.variants.ofer: no step 'ofer'; did you mean offer?\n    allowed: reminder, offer, feedback"),
    ("by: [segment, accounts.plan_tier]", "by: [segmnt]", "program.holdout.by[0]: no stratum 'segmnt'; did you mean segment?"),
    ("by: [segment, accounts.plan_tier]", "by: [email]", "no stratum 'email'"),
    ("ladder: [none, trial, cut]", "ladder: [none, trail, cut]",
     "program.offers.ladder[1]: no offer 'trail'; did you mean trial?\n    allowed: none, trial, cut"),
    ("ladders: {dormant_60: [trial]}", "ladders: {dormant_30: [trial]}",
     "program.offers.ladders.dormant_30: no segment in `enroll` 'dormant_30'; did you mean dormant_60?"),
    ("ladders: {dormant_60: [trial]}", "ladders: {dormant_60: [tral]}", "ladders.dormant_60[0]: no offer 'tral'; did you mean trial?"),
    ("offer: ladder", "offer: lader", "program.steps[1].offer: no offer 'lader'; did you mean ladder?"),
    ("default: docs", "default: dcos", "links.default: no destination 'dcos'; did you mean docs?\n    allowed: app, docs"),
    # conditions
    ("engaged.replies = 0", "engaged.reply = 0",
     "winback.yaml:19:14: program.steps[1].when: no column 'engaged.reply'; did you mean engaged.replies?"),
    ("engaged.clicks >= 1", "engagd.clicks >= 1", "program.steps[1].adjust[0].when: no column 'engagd.clicks'; did you mean engaged.clicks?"),
    ("role = 'developer'", "rle = 'developer'", "program.steps[0].branches.dev: no column 'rle'; did you mean role?"),
    ("active_days_since_enrollment >= 2", "active_day_since_enrollment >= 2",
     "program.reactivated: no column 'active_day_since_enrollment'; did you mean active_days_since_enrollment?"),
    ("transactions_since_enrollment >= 1 and", "transactions_since_enrollment and",
     "program.converted: 'transactions_since_enrollment' is a number, but a condition is needed here"),
    ("transactions_since_enrollment > 0", "feedback.score > 0", "program.offers.items.cut.redeemed_by: no column 'feedback.score'"),
    ("feedback.at is null", "step.days > '5'", "they cannot be compared\n    write the number without quotes: 5"),
    ("engaged.replies = 0", "engaged.opens = 0",
     "no column 'engaged.opens'; did you mean engaged.clicks?\n    an open proves nothing, mail programs open by themselves"),
    ("engaged.replies = 0", "engaged.replies < 0", "program.steps[1].when: `when` of the step 'offer' can never hold"),
    ("inactive_days > 80", "inactive_days > 80 and inactive_days < 70", "adjustment 2 of the step 'offer' can never hold"),
    ("role = 'developer'", "role = 'a' and role = 'b'", "the branch 'dev' of the step 'reminder' can never hold"),
    # shape
    ("name: win-back", "name: Win back", "program.name: 'Win back' is not a name\n    small letters, digits, _ and -"),
    ("name: offer\n", "name: of-fer\n", "program.steps[1].name: 'of-fer' is not a name\n    small letters, digits and _"),
    ("name: offer\n", "name: reminder\n", "program.steps[1].name: the name 'reminder' is already taken in line 14"),
    ("day: 7\n", "day: 1\n", "program.steps[1].day: day 1 is not after day 1 of the step before, 'reminder'\n    steps stand"),
    ("day: 7\n", "day: -1\n", "program.steps[1].day: '-1': input should be greater than or equal to 0"),
    ("day: 7\n", "day: true\n", "program.steps[1].day: 'true' is not a whole number"),
    ("https://links.example.com", "https://links.example.com/?x=", "links.public_base_url: 'https://links.example.com/?x=' must end"),
    ("active_days_since_enrollment >= 2", "active_days_since_enrollment >= 0",
     "program.reactivated: `reactivated` holds for everybody: nobody would stay in the program"),
    ("transactions_since_enrollment >= 1 and value_365d > 10", "1 = 1", "`converted` holds for everybody"),
    ("transactions_since_enrollment >= 1 and value_365d > 10", "false", "`converted` can never hold\n    write a condition"),
    ("day: 7\n", "day: seven\n", "program.steps[1].day: 'seven' is not a whole number"),
    ("day: 7\n", "dya: 7\n", "program.steps[1]: unknown key 'dya'; did you mean day?\n    allowed: name, day, when"),
    ("soft: 30%", "soft: 20%", "program.variants.offer: the shares add up to 90%, not to 100%"),
    ("variants: {a: 50%, b: 0.5}", "variants: {a: 50%, b: 0.6}", "program.steps[2].variants: the shares add up to 110%"),
    ("variants:\n    offer: {soft: 30%, hard: 70%}", "variants:\n    feedback: {soft: 30%, hard: 70%}", "the step 'feedback' has variants of its own"),
    ("{a: 50%, b: 0.5}", "{A b: 50%, b: 0.5}", "'A b' is not a name\n    small letters"),
    ("per_contact: 4 in 30d", "per_contact: 4", "program.caps.per_contact: '4' is not so much in a time; write it like 4 in 30d"),
    ("per_contact: 4 in 30d", "per_contact: 0 in 30d", "is not a number of touches in a time"),
    ("per_contact: 4 in 30d", "per_contact: 4 in 30", "program.caps.per_contact: '4 in 30' is not a duration"),
    ("per_contact: 4 in 30d", "per_contact: 4 in 0d", "needs a time; write it like 4 in 30d"),
    ("budget: 500 in 7d", "budget: lots", "program.offers.budget: 'lots' is not so much in a time; write it like 5000 in 30d"),
    ("per_day: 500", "per_day: -1", "program.caps.per_day: '-1': input should be greater than or equal to 0"),
    ("share: 25%", "share: 25", "program.holdout.share: '25' is not a share; write it like 20% or 0.2, or auto"),
    ("share: 25%", "share: 100%", "with a holdout of everybody nobody is in the program"),
    ("unit: contact", "unit: contcat", "program.holdout.unit: 'contcat' is not allowed here; did you mean contact?"),
    ('"09:00-17:30"', '"9-17"', "program.send.window: '9-17' is not a part of a day; write it like 09:00-17:00"),
    ('"09:00-17:30"', '"17:00-09:00"', "ends before it begins; a window lies within one day"),
    ('"09:00-17:30"', '"09:00-29:00"', "is not a part of a day"),
    ("days: business", "days: busines", "program.send.days: 'busines' is not a day of the week; did you mean business?"),
    ("days: business", "days: [mon, tusday]", "program.send.days[1]: 'tusday' is not a day of the week; did you mean tue?"),
    ("days: business", "days: []", "program.send.days: at least one is needed here"),
    ("2026-12-24..2027-01-01", "2026-12-24..2026-12-01", "program.send.blackout[0]: '2026-12-24..2026-12-01' ends before it begins"),
    ("2026-12-24..2027-01-01", "Christmas", "'Christmas' is not a pause; write it like 2026-12-24..2027-01-01"),
    ("hold: winback", "hold: wnback", "program.send.hold: 'wnback' is not allowed here; did you mean winback?"),
    ("profile: casl", "profile: gdpr", "program.consent.profile: 'gdpr' is not allowed here"),
    ("US: can_spam", "US: canspam", "program.consent.countries.US: 'canspam' is not allowed here; did you mean can_spam?"),
    ("US: can_spam", "UK: can_spam", "'UK' is not a country's code; did you mean GB?"),
    ("assume_country: FR", "assume_country: France", "program.consent.assume_country: 'France' is not a country's code; did you mean FR?"),
    ("assume_country: FR", "assume_country: ZZ", "'ZZ' is not a country's code; write its two letters"),
    ("profile: casl", "profile: custom", "program.consent: the profile custom is used and `custom` says nothing"),
    ("hygiene: false", "custom: {contract: 30d}", "program.consent.custom: only the profile custom looks at this"),
    ("hygiene: false", "custom: {contrct: 30d}", "'contrct' is not allowed here; did you mean contract?"),
    ("max_age: 12h", "max_age: 12", "program.consent.max_age: '12' is not a duration"),
    ("trial: {expires: 14d}", "none: {expires: 14d}", "program.offers.items.none: 'none' has a meaning of its own"),
    ("cost: 12.5", "cost: -1", "program.offers.items.cut.cost: '-1': input should be greater than or equal to 0"),
    ("ladder: [none, trial, cut]", "ladder: [cut, trial]",
     "program.offers.ladder[0]: 'cut' is a discount, which nobody is offered first\n    put something"),
    ("ladder: [none, trial, cut]\n    ladders: {dormant_60: [trial]}", "ladder: [none]",
     "program.steps[1].offer: there is no ladder with an offer on it"),
    ("segment: at_rest", "segment: dormant_30", "program.sunset.segment: 'dormant_30' is the name of a segment"),
    ("after_episodes: 2", "after_episodes: 0", "program.sunset.after_episodes: '0': input should be greater"),
    ("bounce_warn: 1%", "bounce_warn: 9%", "program.health: it would pause before it warns"),
    ("links: true\n", "links: true\n  dirver: crm\n", "program: unknown key 'dirver'; did you mean driver?\n    allowed: name, enroll"),
    ("reminder\n      day: 1", "reminder", "program.steps[0]: the key 'day' is missing"),
    # files, links and keys
    ("whats_new: new.yaml", "whats_new: nwe.yaml", "program.personalize.whats_new: there is no file nwe.yaml\n    a list of entries"),
    ("https://links.example.com", "http://links.example.com", "links.public_base_url: 'http://links.example.com' must begin with https://"),
    ("https://links.example.com", "links.example.com", "'links.example.com' is not a web address; write it like https://"),
    ("https://docs.example.com", "javascript:alert(1)", "links.destinations.docs: 'javascript:alert(1)' is not a web address"),
    ("https://docs.example.com", "https://docs.example.com@evil.example", "is not a web address"),
    ('suppression: "${PEPPER}"', "suppression: pepper", "keys.suppression: a secret is written here; the file must only refer to it"),
    ('"${LINK_KEY}", ', '"a key", ', "keys.links[0]: a secret is written here; the file must only refer to it"),
    ('suppression: "${PEPPER}"', 'supression: "${PEPPER}"', "keys: unknown key 'supression'; did you mean suppression?"),
    ('suppression: "${PEPPER}"', 'suppression: "${PEPER}"',
     "keys.suppression: the environment variable PEPER is not set; did you mean PEPPER?"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "part"), WRONG, ids=[part[:70] for _, _, part in WRONG])
def test_a_wrong_value_says_where_what_and_what_instead(tmp_path, old, new, part):
    said = refusal(tmp_path, changed(old, new))
    assert part in said
    assert said.startswith("winback.yaml:")


def test_links_in_mails_need_an_address(tmp_path):
    start, _, rest = GOOD.partition("links:\n  public")
    text = start + rest.partition("keys:")[2].join(["keys:", ""])
    assert "program.personalize.links: links need an address to lead to\n    links: {public_base_url" in refusal(
        tmp_path, text
    )


def test_direct_enrollment_needs_a_workflow_for_each_step(tmp_path):
    said = refusal(tmp_path, changed("enroll: list", "enroll: workflow"))
    assert (
        "winback.yaml:17:7: program.steps[1]: destinations.crm says enroll: workflow, so the step 'offer' needs a"
        " `workflow`\n    workflow: its id in the CRM; or driver: crm" in said
    )
    assert said.count("needs a `workflow`") == 3


def test_direct_enrollment_by_the_crm_needs_the_workflow_of_the_program(tmp_path):
    text = changed("enroll: list", "enroll: workflow").replace("name: win-back", "name: win-back\n  driver: crm")
    assert "program: destinations.crm says enroll: workflow, so the program needs a `workflow`" in refusal(
        tmp_path, text
    )
    (program,) = loaded(tmp_path, text.replace("driver: crm", "driver: crm\n  workflow: '77'")).programs
    assert (program.driver, program.workflow) == (Driver.CRM, "77")


def test_everything_that_is_wrong_is_told_at_once_also_when_other_parts_are_wrong(tmp_path):
    text = (
        changed("account: acme", "acount: acme")
        .replace("dormant_60]\n  steps", "dormant_61, dormant_60]\n  steps")
        .replace("engaged.replies = 0", "engaged.replis = 0")
        .replace("monetary_quintile", "monetary_quintle")
        .replace("soft: 30%", "soft: 31%")
    )
    heads = [line for line in refusal(tmp_path, text).splitlines() if not line.startswith("    ")]
    assert heads == [
        "winback.yaml:1:1: the key 'account' is missing",
        "winback.yaml:2:1: unknown key 'acount'; did you mean account?",
        "winback.yaml:7:64: segments[0].where: no column 'monetary_quintle'; did you mean monetary_quintile?",
        "winback.yaml:12:32: program.enroll[1]: no segment 'dormant_61'; did you mean dormant_60?",
        "winback.yaml:19:14: program.steps[1].when: no column 'engaged.replis'; did you mean engaged.replies?",
        "winback.yaml:26:5: program.variants.offer: the shares add up to 101%, not to 100%",
    ]


def test_a_condition_in_a_program_with_a_wrong_shape_is_checked_all_the_same(tmp_path):
    text = changed("day: 7\n", "dya: 7\n").replace("engaged.replies = 0", "engaged.replis = 0")
    said = refusal(tmp_path, text)
    assert "unknown key 'dya'" in said
    assert "no column 'engaged.replis'" in said


def test_what_is_wrong_in_the_file_of_news_is_told_with_its_line(tmp_path):
    file = tmp_path / "winback.yaml"
    file.write_text(GOOD)
    (tmp_path / "new.yaml").write_text(NEWS + "- {date: soon, txt: New}\n")
    with pytest.raises(PlaybookError) as caught:
        load_playbook(file, environ=ENVIRON, adapters=ADAPTERS)
    assert "new.yaml:3:" in str(caught.value)
    assert "unknown key 'txt'; did you mean text?" in str(caught.value)


def test_a_name_from_outside_is_not_repeated(tmp_path):
    text = changed("enroll: [high_value_dormant, dormant_60]", 'enroll: ["${SEGMENT}", dormant_60]')
    said = refusal(tmp_path, text, environ={"SEGMENT": CANARY})
    assert "program.enroll[0]: the value is no segment\n    allowed: high_value_dormant" in said


@pytest.mark.parametrize("key", ["", "short", "x" * 31])
def test_a_key_that_could_be_guessed_is_refused(tmp_path, key):
    said = refusal(tmp_path, GOOD, environ={"PEPPER": key})
    assert "keys.suppression: the value is shorter than 32 characters; make one with: openssl rand -base64 32" in said


def test_no_enrolling_segment_is_called_as_those_who_are_asked_for(tmp_path):
    text = MINIMAL.replace("enroll: [dormant_30]", "enroll: [requested]").replace("name: dormant_30", "name: requested")
    assert "program.enroll[0]: 'requested' is what those are called whom a workflow asks for" in refusal(tmp_path, text)


def test_a_condition_may_ask_who_was_asked_for(tmp_path):
    text = MINIMAL.replace("day: 1}", "day: 1, when: \"step.entered_as = 'requested'\"}")
    assert not [one for one in loaded(tmp_path, text).findings if "step.entered_as" in one.message]


# --- from outside, and shown --------------------------------------------------------------------------------------


def test_the_environment_and_flags_reach_into_a_program(tmp_path):
    environ = {
        "WINBACK_PROGRAM__CAPS__GAP": "1d",
        "WINBACK_PROGRAM__STEPS__1__DAY": "8",
        "WINBACK_PROGRAM__SEND__WINDOW": "null",
        "WINBACK_KEYS__SUPPRESSION": CANARY + "-new",
    }
    playbook = loaded(tmp_path, environ=environ, overrides=["program.caps.per_day=9"])
    (program,) = playbook.programs
    assert (program.caps.gap, program.caps.per_day, program.steps[1].day) == (timedelta(days=1), 9, 8)
    assert program.send.window is None
    assert playbook.keys.suppression.get_secret_value() == CANARY + "-new"
    assert playbook.origin("program.caps.gap") == "environment variable WINBACK_PROGRAM__CAPS__GAP"


def test_every_value_of_a_program_is_shown_as_a_person_writes_it(tmp_path):
    values = {value.key: value for value in loaded(tmp_path).resolved()}
    assert len(values) == len(loaded(tmp_path).resolved())
    expected = {
        "program.steps[1].when": "engaged.replies = 0",
        "program.caps.per_contact": "4 in 30d",
        "program.caps.gap": "60h",
        "program.send.window": "09:00-17:30",
        "program.send.days": "business",
        "program.send.blackout": ["2026-12-24..2027-01-01", "2026-12-06..2026-12-06"],
        "program.offers.per_contact": "12.5 in 365d",
        "program.holdout.share": 0.25,
        "links.destinations.app": "https://app.example.com/",
        "links.expires": "60d",
    }
    assert {key: values[key].value for key in expected} == expected
    assert values["program.caps.gap"].origin == f"{tmp_path}/winback.yaml:{line_of('gap: 2d 12h')}"
    assert values["program.workflow"].origin == "default"
    assert json.dumps([value.value for value in values.values()])


def test_keys_are_masked_and_shown_only_when_asked(tmp_path):
    playbook = loaded(tmp_path)
    values = {value.key: value for value in playbook.resolved()}
    assert values["keys.links"].value == ["***", "***"]
    assert values["keys.suppression"].value == "***"
    assert values["keys.suppression"].origin.endswith("environment variable PEPPER")
    assert CANARY not in json.dumps([[value.value, value.origin] for value in playbook.resolved()])
    open_values = {value.key: value.value for value in playbook.resolved(mask=False)}
    assert open_values["keys.suppression"] == CANARY + "-pepper"


def test_parts_that_are_not_there_are_not_shown(tmp_path):
    keys = {value.key for value in loaded(tmp_path, HEAD).resolved()}
    assert not keys & {"program", "programs", "links", "keys"}


def test_the_digest_follows_the_program_and_what_is_new_but_not_keys(tmp_path):
    one = loaded(tmp_path).digest()
    assert loaded(tmp_path, environ={"PEPPER": "y" * 40, "LINK_KEY": "z" * 40}).digest() == one
    assert loaded(tmp_path, "# a comment\n" + GOOD).digest() == one
    for old, new in [
        ("day: 7\n", "day: 8\n"),
        ("engaged.clicks >= 1", "engaged.clicks >= 2"),
        ("share: 25%", "share: 26%"),
        ("gap: 2d 12h", "gap: 2d"),
        ("ends_after: 10d", "ends_after: 11d"),
        ("cost: 12.5", "cost: 13"),
        ("https://docs.example.com", "https://help.example.com"),
        ("enroll: [high_value_dormant, dormant_60]", "enroll: [dormant_60, high_value_dormant]"),
    ]:
        assert loaded(tmp_path, changed(old, new)).digest() != one, new
    (tmp_path / "new.yaml").write_text(NEWS.replace("Dark", "Light"))
    assert load_playbook(tmp_path / "winback.yaml", environ=ENVIRON, adapters=ADAPTERS).digest() != one


def test_every_exit_may_be_listed(tmp_path):
    text = changed("exit: [reactivated, converted, snoozed]", f"exit: [{', '.join(EXITS)}]")
    assert loaded(tmp_path, text).programs[0].exit == set(EXITS)
