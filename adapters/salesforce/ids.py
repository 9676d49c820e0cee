"""Record ids: three characters that say what it is, twelve that say which, three that survive a loss of case."""

from __future__ import annotations

import re
from typing import Final

DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
"""Base 62 in the order the vendor sorts by: ids of one kind sort as their numbers do."""

PREFIXES: Final[dict[str, str]] = {
    "Account": "001",
    "Campaign": "701",
    "CampaignMember": "00v",
    "CampaignMemberStatus": "01Y",
    "Contact": "003",
    "ContactPointConsent": "0hX",
    "ContactPointEmail": "0EM",
    "ContactPointTypeConsent": "0ZX",
    "CustomField": "00N",
    "DataUsePurpose": "0ZW",
    "EmailMessage": "02s",
    "EmailMessageRelation": "0EZ",
    "FieldPermissions": "01k",
    "Flow": "301",
    "FlowDefinition": "300",
    "Individual": "0PK",
    "Job": "750",
    "Lead": "00Q",
    "ObjectPermissions": "110",
    "Opportunity": "006",
    "OpportunityContactRole": "00K",
    "Organization": "00D",
    "OutboundMessage": "04k",
    "OutboundNotification": "04l",
    "PermissionSet": "0PS",
    "PermissionSetAssignment": "0Pa",
    "Profile": "00e",
    "QueryLocator": "01g",
    "Task": "00T",
    "User": "005",
    "UserLicense": "100",
}
"""The key prefix of every kind of record we meet."""

KINDS: Final[dict[str, str]] = {prefix: kind for kind, prefix in PREFIXES.items()}

_CHECK: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_LENGTH: Final = 15
_FULL: Final = 18
_GROUP: Final = 5
_BODY: Final = 12
_SHAPE: Final = re.compile(r"[0-9A-Za-z]{15}(?:[0-9A-Za-z]{3})?\Z")
_VALUE: Final = {digit: value for value, digit in enumerate(DIGITS)}
_CAPITALS: Final = bytes(ord("1") if chr(sign).isupper() and sign < ord("a") else ord("0") for sign in range(256))
_MARKS: Final = {
    b"".join(b"1" if number >> place & 1 else b"0" for place in range(_GROUP)): mark
    for number, mark in enumerate(_CHECK)
}
"""The check character for each way five characters can be capitals (1) or not (0), the first one lowest."""

_PAIRS: Final = [high + low for high in DIGITS for low in DIGITS]
_PAIR: Final = len(_PAIRS)


def checksum(short: str) -> str:
    """The three characters that say which of the fifteen are capitals."""
    capitals = short.encode("ascii").translate(_CAPITALS)
    return _MARKS[capitals[:5]] + _MARKS[capitals[5:10]] + _MARKS[capitals[10:]]


def to_18(record_id: str) -> str:
    """The id with its checksum; ValueError when it is no id, or its checksum is another's.

    A full id whose case was lost (a spreadsheet's doing) gets it back from its checksum.
    """
    if not _SHAPE.match(record_id):
        raise ValueError("no Salesforce id: it has 15 or 18 letters and digits")
    short = record_id[:_LENGTH]
    if len(record_id) == _LENGTH:
        return short + checksum(short)
    given = record_id[_LENGTH:].upper()
    if checksum(short) == given:
        return short + given
    restored = _with_case(short, given)
    if checksum(restored) != given:
        raise ValueError("no Salesforce id: its last three characters do not fit the others")
    return restored + given


def record_id(kind: str, number: int) -> str:
    """The 18-character id of a record by its kind (`Contact`) and number; KeyError for an unknown kind."""
    return id_with_prefix(PREFIXES[kind], number)


def id_with_prefix(prefix: str, number: int) -> str:
    """The 18-character id with this key prefix and number."""
    if not 0 <= number < len(DIGITS) ** _BODY:
        raise ValueError(f"no Salesforce id has the number {number}")
    body = ""
    while number:
        number, rest = divmod(number, _PAIR)
        body = _PAIRS[rest] + body
    short = prefix + body.rjust(_BODY, "0")
    return short + checksum(short)


def number_of(record_id: str) -> int:
    """The number in an id of 15 or 18 characters; ValueError when it is no id."""
    number = 0
    for digit in to_18(record_id)[3:_LENGTH].lstrip("0"):
        number = number * 62 + _VALUE[digit]
    return number


def kind_of(record_id: str) -> str | None:
    """The kind of record an id is of (`Contact`); None for a prefix that is not ours to know."""
    return KINDS.get(record_id[:3])


def _with_case(short: str, check: str) -> str:
    signs = []
    for start, mark in zip((0, _GROUP, 2 * _GROUP), check, strict=True):
        capitals = _CHECK.find(mark)
        group = short[start : start + _GROUP]
        signs += [
            sign.upper() if capitals >= 0 and capitals >> place & 1 else sign.lower()
            for place, sign in enumerate(group)
        ]
    return "".join(signs)
