"""The winback.yaml of the demo's folder: the made-up company's CRM, its usage and payments, its program."""

from __future__ import annotations

import json
from collections.abc import Mapping

from connector.demo.crms import demo_crm
from connector.demo.events import MAPPING, PAYMENT_MAPPING, FileFormat
from connector.demo.product import NOT_USAGE

SMALL = 1_000
"""Below so many contacts there are days on which nobody does anything: the guard on stale sources gives more time."""

TOUCHES_A_DAY = 50
"""One touch a day for so many contacts: everybody is reached within some days, and the cap is seen at work."""

FEWEST_TOUCHES = 10
BUDGET_A_CONTACT = 5
"""What offers may cost in a month, for each contact of the company."""

_TEXT = """\
# The playbook of a made-up software company. Everything it reads is local; every address is a reserved example.
# Change a number, then run `winback segments` or `winback plan` here to see what that would do.
version: 1
account: {account}
timezone: {timezone}
warehouse: duckdb:///state/warehouse.duckdb
journal: sqlite:///state/journal.db

sources:
  crm:                                        # the people: contacts and companies
    adapter: {crm}
    base_url: {base_url}
    auth: {auth}
    streams: {streams}
{own}  product:                                    # what they did and what they paid: one more file now and then
    adapter: files
    streams:
      usage:
        path: {path}
        mapping:                              # our column: column of the file
{mapping}
      transactions:
        path: {payments}
        mapping:
{payment_mapping}

identity: {{match: [external_id, email]}}
activity: {{counts: "feature <> '{not_usage}'"}}   # looking whether we are down is not using the product

segments:                                     # first match wins inside a group; groups are independent
  - {{name: dormant_30, group: dormancy, where: "inactive_days between 30 and 59"}}
  - {{name: dormant_60, group: dormancy, where: "inactive_days between 60 and 89"}}
  - {{name: dormant_90, group: dormancy, where: "inactive_days between 90 and 179"}}
  - {{name: cold,       group: dormancy, where: "inactive_days >= 180"}}
  - name: high_value_dormant                  # who decides, in a company that pays
    where: "inactive_days between 30 and 179 and accounts.mrr >= 400 and role in ('cto', 'team_lead')"
  - name: off_rhythm                          # silent for much longer than usual for this very person
    where: "inactive_days > 3 * gap_p90_days and active_days_365 >= 10"

program:
  name: win-back
  enroll: [high_value_dormant, dormant_90, dormant_60, dormant_30]   # priority: a contact is in one at a time
  steps:                                      # days since entry, in the contact's own time zone
    - {{name: reminder, day: 1}}
    - name: offer                             # the next rung of the ladder; sooner for who has just been looking
      day: 7
      offer: ladder
      adjust: [{{when: "engaged.clicks >= 1 or engaged.visits >= 1", day: 5}}]
    - {{name: last_chance, day: 14, offer: ladder, when: "step.answered is not true"}}
    - {{name: feedback, day: 21}}
  exit: [reactivated, converted, replied, unsubscribed, bounced, complained, snoozed, owner_took_over, deleted]
  reactivated: "active_days_since_enrollment >= 1"
  ends_after: 7d                              # after the last step, if nothing happens
  holdout: {{share: 30%, by: [segment]}}        # left alone, to know what the rest was worth
  variants: {{reminder: {{short: 50%, whats_new: 50%}}}}
  caps: {{per_contact: 4 in 30d, gap: 3d, per_day: {per_day}, quiet_after: 90d}}
  send: {{window: "09:00-17:00", days: business, best_hour: true}}   # the CRM waits for it: winback_send_at
  consent:                                    # unknown means no; other countries, other rules. Not legal advice.
    profile: gdpr_strict
    countries: {{US: can_spam, CA: casl}}
    max_age: 48h                              # what the CRM said longer ago does not count
  offers:
    items:
      trial_extension: {{cost: 0, expires: 14d}}
      discount: {{cost: 40, discount: true, codes: generate, expires: 14d}}
    ladder: [trial_extension, discount]       # never a discount first
    budget: {budget} in 30d
    per_contact: 80 in 365d
  sunset: {{after_episodes: 1, segment: sunset}}  # one sequence without any answer, and we leave them alone
  personalize: {{whats_new: whats_new.yaml}}
  reasons:                                    # what follows when they say why they left
    price: {{step: offer, offer: discount}}
    not_now: {{snooze: 60d}}
    missing_feature: {{route: [task]}}          # a task for the owner in the CRM
    changed_job: {{exit: true}}
{live}
guards: {{max_change: 20%, empty_source: refuse, stale_source: {stale}}}

destinations:
  crm:                                        # the same connection as the source of this name
    adapter: {crm}
    lists: {{segments: true, steps: true}}      # {waits_on}
    properties: true
    enroll: list
"""

_LIVE = """
links:                                        # in the mails: come back, snooze, unsubscribe; nothing personal in them
  public_base_url: {address}
  destinations: {{product: "https://product.example/"}}

webhooks:                                     # what others tell us at once; `winback serve` listens
  public_base_url: {address}
  sources:
    typeform: {{secret: "${{file:typeform.secret}}", questions: {{why: reason}}}}
    segment: {{secret: "${{file:segment.secret}}"}}
"""

WHATS_NEW = """\
# What is new in the product, for mails to merge: newest first, for everybody or for who used a feature.
- {{date: {second}, text: "Deploys roll back by themselves", features: [deploy, automation]}}
- {{date: {first}, text: "The assistant explains a failed build"}}
"""


def whats_new_text(first: str, second: str) -> str:
    """The whats_new.yaml beside the playbook; two dates, the later one second."""
    return WHATS_NEW.format(first=first, second=second)


def _scalar(text: str) -> str:
    """The text as a YAML scalar; `${NAME}` in it is a variable."""
    return json.dumps(text, ensure_ascii=False)


def _quoted(text: str) -> str:
    """The text as a YAML scalar that means exactly it, with `$` kept from being read as a variable."""
    return _scalar(text.replace("$", "$$"))


def auth_text(auth: Mapping[str, str]) -> str:
    """References to credentials as YAML."""
    return f"{{{', '.join(f'{name}: {_scalar(reference)}' for name, reference in auth.items())}}}"


def touches_a_day(contacts: int) -> int:
    """How many touches a day a company of so many contacts allows itself."""
    return max(FEWEST_TOUCHES, contacts // TOUCHES_A_DAY)


def playbook_text(
    *,
    base_url: str,
    auth: Mapping[str, str],
    crm: str = "hubspot",
    account: str = "demo",
    timezone: str = "UTC",
    usage_folder: str = "data",
    file_format: FileFormat = "parquet",
    contacts: int = 5_000,
    address: str | None = None,
) -> str:
    """The text of a winback.yaml that reads the CRM at `base_url` and the files of the company.

    Args:
        base_url: Where the CRM's look-alike answers.
        auth: References to the CRM's credentials (`{"token": "${HUBSPOT_TOKEN}"}`); never the credentials themselves.
        crm: Which CRM it is.
        account: What the company is called.
        timezone: Whose days count.
        usage_folder: Where the usage and payment files are, seen from the playbook's folder.
        file_format: In which format they were written.
        contacts: How many contacts the company has; its caps go with it.
        address: Where `winback serve` will listen; None: nobody is listened to, and mails carry no links.
    """
    for name, reference in auth.items():
        if not reference.startswith("${"):
            raise ValueError(f"{name}: a reference such as ${{HUBSPOT_TOKEN}} belongs here, never the {name} itself")
    words = demo_crm(crm)
    return _TEXT.format(
        crm=crm,
        own=words.own,
        streams=f"[{', '.join(words.streams)}]",
        waits_on=words.waits_on,
        account=_quoted(account),
        timezone=_quoted(timezone),
        base_url=_quoted(base_url),
        auth=auth_text(auth),
        path=_quoted(f"{usage_folder}/events-*.{file_format}"),
        payments=_quoted(f"{usage_folder}/payments-*.{file_format}"),
        mapping=_lines(MAPPING),
        payment_mapping=_lines(PAYMENT_MAPPING),
        not_usage=NOT_USAGE,
        per_day=touches_a_day(contacts),
        budget=BUDGET_A_CONTACT * contacts,
        stale="72h" if contacts >= SMALL else "30d",
        live="" if address is None else _LIVE.format(address=_quoted(address)),
    )


def _lines(mapping: dict[str, str]) -> str:
    return "\n".join(f"          {ours}: {theirs}" for ours, theirs in mapping.items())
