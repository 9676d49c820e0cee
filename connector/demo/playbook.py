"""The winback.yaml of the demo's folder: the made-up company's CRM and its usage files."""

from __future__ import annotations

import json

from connector.demo.events import MAPPING, FileFormat
from connector.demo.product import NOT_USAGE

_TEXT = """\
# The playbook of a made-up software company. Everything it reads is local; every address is a reserved example.
# Change a number, then run `winback segments` here to see what that would do.
version: 1
account: {account}
timezone: {timezone}
warehouse: duckdb:///state/warehouse.duckdb
journal: sqlite:///state/journal.db

sources:
  crm:                                        # the people: contacts and companies
    adapter: hubspot
    base_url: {base_url}
    auth: {{token: {token}}}
    streams: [contacts, companies]
  product:                                    # what they did: one file per month
    adapter: files
    streams:
      usage:
        path: {path}
        mapping:                              # our column: column of the file
{mapping}

identity: {{match: [external_id, email]}}
activity: {{counts: "feature <> '{not_usage}'"}}   # looking whether we are down is not using the product

segments:                                     # first match wins inside a group; groups are independent
  - {{name: dormant_30, group: dormancy, where: "inactive_days between 30 and 59"}}
  - {{name: dormant_60, group: dormancy, where: "inactive_days between 60 and 89"}}
  - {{name: dormant_90, group: dormancy, where: "inactive_days between 90 and 179"}}
  - {{name: cold,       group: dormancy, where: "inactive_days >= 180"}}
  - name: high_value_dormant                  # who decides, in a company that pays
    where: "inactive_days >= 30 and accounts.mrr >= 400 and role in ('cto', 'team_lead')"
  - name: off_rhythm                          # silent for much longer than usual for this very person
    where: "inactive_days > 3 * gap_p90_days and active_days_365 >= 10"

guards: {{max_change: 20%, empty_source: refuse, stale_source: 36h}}

destinations:
  crm:                                        # the same connection as the source of this name
    adapter: hubspot
    lists: {{segments: true}}
    properties: true
"""


def _scalar(text: str) -> str:
    """The text as a YAML scalar; `${NAME}` in it is a variable."""
    return json.dumps(text, ensure_ascii=False)


def _quoted(text: str) -> str:
    """The text as a YAML scalar that means exactly it, with `$` kept from being read as a variable."""
    return _scalar(text.replace("$", "$$"))


def playbook_text(
    *,
    base_url: str,
    token: str,
    account: str = "demo",
    timezone: str = "UTC",
    usage_folder: str = "data",
    file_format: FileFormat = "parquet",
) -> str:
    """The text of a winback.yaml that reads the CRM at `base_url` and the files of `Company.write_usage`.

    Args:
        base_url: Where the HubSpot look-alike answers.
        token: The reference to the CRM's token (`${HUBSPOT_TOKEN}`); never the token itself.
        account: What the company is called.
        timezone: Whose days count.
        usage_folder: Where the usage files are, seen from the playbook's folder.
        file_format: In which format they were written.
    """
    if not token.startswith("${"):
        raise ValueError("token: a reference such as ${HUBSPOT_TOKEN} belongs here, never the token itself")
    return _TEXT.format(
        account=_quoted(account),
        timezone=_quoted(timezone),
        base_url=_quoted(base_url),
        token=_scalar(token),
        path=_quoted(f"{usage_folder}/events-*.{file_format}"),
        mapping="\n".join(f"          {ours}: {theirs}" for ours, theirs in MAPPING.items()),
        not_usage=NOT_USAGE,
    )
