"""Mapping files and the playbook's own lines: what they may say, and how a mistake is named."""

from __future__ import annotations

from importlib.resources import files

import pytest

from connector.errors import MappingError
from connector.model import NEUTRAL_TABLES, neutral_columns
from mappings.schema import (
    default_transform,
    fillable_columns,
    from_user,
    load_shipped,
    parse_mapping,
    required_columns,
    with_overrides,
)
from mappings.transforms import TRANSFORMS

CONTACTS = """
version: 1
system: crm
stream: people
into: contacts
fields:
  contact_id: {from: id, required: true}
  email: mail
  role: [role, jobtitle]
  country: {value: NL}
attributes:
  size: {from: employees, transform: number}
"""


def test_a_mapping_file_is_read_with_its_short_forms():
    mapping = parse_mapping(CONTACTS, place="x.yaml")
    assert mapping.provider_fields() == ("id", "mail", "role", "jobtitle", "employees")
    assert mapping.fields["email"].from_ == ("mail",)
    assert mapping.is_required("contact_id")
    assert not mapping.is_required("email")


def test_every_shipped_mapping_loads_and_fills_known_columns():
    shipped = [
        (folder.name, entry.name.removesuffix(".yaml"))
        for folder in files("mappings").iterdir()
        if folder.is_dir() and folder.name != "__pycache__"
        for entry in folder.iterdir()
        if entry.name.endswith(".yaml")
    ]
    assert ("git", "usage") in shipped
    for system, stream in shipped:
        mapping = load_shipped(system, stream)
        assert mapping is not None
        assert (mapping.system, mapping.stream) == (system, stream)
        assert set(mapping.fields) <= set(fillable_columns(mapping.into))


@pytest.mark.parametrize(("system", "stream"), [("git", "nothing"), ("../etc", "passwd"), ("git", "../git/usage")])
def test_no_shipped_mapping_is_none_whatever_the_name(system, stream):
    assert load_shipped(system, stream) is None


def test_the_users_lines_win_and_keep_the_transform():
    mapping = with_overrides(
        parse_mapping(CONTACTS, place="x.yaml"), {"country": "land", "attributes.size": "staff", "attributes.tier": "t"}
    )
    assert mapping.fields["country"].from_ == ("land",)
    assert mapping.fields["country"].by_user
    assert not mapping.fields["email"].by_user
    assert mapping.attributes["size"].transform == "number"
    assert mapping.attributes["tier"].from_ == ("t",)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("email: mail", "emial: mail"), r"x\.yaml: no column 'emial' in contacts; did you mean email\?"),
        (("into: contacts", "into: contact"), r"no table 'contact'; did you mean contacts\?"),
        (("transform: number", "transform: numbr"), r"no transform 'numbr'; did you mean number\?"),
        (("contact_id: {from: id, required: true}", "last_name: id"), "contacts needs contact_id"),
        (("{value: NL}", "{value: NL, from: x}"), "give either `from` or `value`"),
        (("email: mail", "email: {form: mail}"), "fields.email.form"),
        (("email: mail", "email: ''"), "empty field name"),
        (("version: 1", "version: 2"), "version"),
        (("fields:", "fields: ["), "not readable as YAML"),
    ],
)
def test_a_mistake_in_a_mapping_file_names_the_file_and_the_key(change, problem):
    with pytest.raises(MappingError, match=problem):
        parse_mapping(CONTACTS.replace(*change), place="x.yaml")


def test_a_mistake_in_the_playbook_names_the_near_column():
    with pytest.raises(MappingError, match=r"no column 'ocurred_at' in usage; did you mean occurred_at\?") as caught:
        from_user("product", "usage", "usage", {"contact_id": "u", "ocurred_at": "ts"})
    assert "feature" in str(caught.value.hint)
    with pytest.raises(MappingError, match="usage needs occurred_at"):
        from_user("product", "usage", "usage", {"contact_id": "u"})
    with pytest.raises(MappingError, match="contact_id names no field"):
        from_user("product", "usage", "usage", {"contact_id": " ", "occurred_at": "ts"})
    with pytest.raises(MappingError, match="usage has no attributes"):
        from_user("product", "usage", "usage", {"contact_id": "u", "occurred_at": "ts", "attributes.x": "y"})


def test_contacts_may_fill_the_two_columns_that_become_identities():
    mapping = from_user("crm", "contacts", "contacts", {"contact_id": "id", "merged_ids": "m", "secondary_emails": "e"})
    assert set(mapping.fields) == {"contact_id", "merged_ids", "secondary_emails"}
    with pytest.raises(MappingError, match="no column 'merged_ids'"):
        from_user("crm", "accounts", "accounts", {"account_id": "id", "merged_ids": "m"})


@pytest.mark.parametrize("table", NEUTRAL_TABLES)
def test_every_column_has_a_transform_that_yields_its_type(table):
    expected = {"datetime": "TIMESTAMPTZ", "bool": "BOOLEAN", "int": "BIGINT", "float": "DOUBLE", "str": "VARCHAR"}
    annotations = NEUTRAL_TABLES[table].__annotations__
    for column in neutral_columns(table):
        if column != "attributes":
            kind = annotations[column].split(" ")[0]
            assert TRANSFORMS[default_transform(table, column)].duckdb_type == expected[kind]
    assert set(required_columns(table)) <= set(fillable_columns(table))
