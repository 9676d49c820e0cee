"""The winback.yaml of `winback demo --repo`: a git repository's contributors as the users of a product."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from connector.demo.crms import demo_crm
from connector.demo.playbook import auth_text

_HEAD = """\
# A git repository's contributors as the users: a commit is usage, a top-level folder is the feature.
version: 1
account: {account}
timezone: UTC
warehouse: duckdb:///state/warehouse.duckdb
journal: sqlite:///state/journal.db

sources:
"""

_PRODUCT = """\
  product: {{adapter: git, path: {path}}}
"""

_CRM = """\
  crm: {{adapter: {crm}, base_url: {base_url}, auth: {auth}, streams: [{people}]}}
"""

_TAIL = """\

identity: {match: [email]}                    # an author is whoever has one of their addresses, .mailmap included

segments:                                     # first match wins inside a group
  - {name: dormant_30, group: dormancy, where: "inactive_days between 30 and 89"}
  - {name: dormant_90, group: dormancy, where: "inactive_days between 90 and 364"}
  - {name: cold,       group: dormancy, where: "inactive_days >= 365"}
  - name: maintainers_away                    # used to be here every other week, and is silent for months
    where: "inactive_days >= 60 and frequency_quintile = 5 and gap_median_days <= 14"
  - name: off_rhythm                          # silent for much longer than usual for this very person
    where: "inactive_days > 3 * gap_p90_days and active_days_365 >= 5"

# Nobody here was asked whether they want mail, so for real use this program must not be switched on: the look-alike
# sends nothing anywhere. can_spam is a profile under which silence is no obstacle; with gdpr_strict nobody would enter.
program:
  name: win-back
  enroll: [maintainers_away, dormant_90, dormant_30]
  steps:
    - {name: reminder,    day: 1}
    - {name: offer,       day: 7}
    - {name: last_chance, day: 14}
    - {name: feedback,    day: 21}
  ends_after: 7d
  holdout: {share: 30%, by: [segment]}
  caps: {per_contact: 4 in 30d, gap: 3d, quiet_after: 90d}
  consent: {profile: can_spam, assume_country: US}
  sunset: {after_episodes: 1, segment: sunset}

guards: {stale_source: 3650d}                 # a repository may rest
"""

_DESTINATIONS = """\

destinations:
  crm: {{adapter: {crm}, lists: {{segments: true, steps: true}}, properties: true}}
"""

_SEGMENTS_ONLY = """\

segments:
  - {name: anybody, where: "inactive_days >= 0"}
"""


def people_playbook_text(*, repository: Path) -> str:
    """A playbook that only reads the repository, to learn who its people are."""
    return _HEAD.format(account='"repository"') + _PRODUCT.format(path=_quoted(str(repository))) + _SEGMENTS_ONLY


def repository_playbook_text(*, repository: Path, base_url: str, auth: Mapping[str, str], crm: str) -> str:
    """The demo's playbook for a repository; `auth` holds references such as ${file:sandbox.token}."""
    people = ", ".join(demo_crm(crm).people)
    return (
        _HEAD.format(account=_quoted(repository.name))
        + _CRM.format(crm=crm, base_url=_quoted(base_url), auth=auth_text(auth), people=people)
        + _PRODUCT.format(path=_quoted(str(repository)))
        + _TAIL
        + _DESTINATIONS.format(crm=crm)
    )


def _quoted(text: str) -> str:
    return json.dumps(text.replace("$", "$$"), ensure_ascii=False)
