"""Properties as fields: their names, their types, their values there and back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.salesforce.fields import Held, definition, field_name, field_type, property_name, readable, sendable
from connector.model import PropertySpec
from connector.program.personal import SPECS

TEXT = Held("Winback_Last_Feature__c", "string", 255)
NUMBER = Held("Winback_Score__c", "double")
MOMENT = Held("Winback_Last_Active_At__c", "datetime")
BOX = Held("Winback_Holdout__c", "boolean")
DAY = Held("Winback_Dormant_Since__c", "date")


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("winback_last_active_at", "Winback_Last_Active_At__c"),
        ("winback_segment", "Winback_Segment__c"),
        ("winback_link_return", "Winback_Link_Return__c"),
        ("churn2_reason", "Churn2_Reason__c"),
    ],
)
def test_each_part_of_a_name_is_capitalised_and_back(name, field):
    assert field_name(name) == field
    assert property_name(field) == name


def test_an_api_name_stays_as_it_is():
    assert field_name("Churn_reason__c") == "Churn_reason__c"


def test_every_property_of_a_program_comes_back_from_its_field_and_fits_the_platforms_names():
    for name in SPECS:
        assert property_name(field_name(name)) == name
        assert len(field_name(name).removesuffix("__c")) <= 40


@pytest.mark.parametrize(
    ("name", "kind", "wanted"),
    [
        ("winback_step", "text", "Text"),
        ("winback_segment", "choices", "Text"),
        ("winback_link_snooze", "text", "LongTextArea"),
        ("winback_whats_new", "text", "LongTextArea"),
        ("winback_next_step", "text", "LongTextArea"),
        ("winback_score", "number", "Number"),
        ("winback_offer_until", "date", "Date"),
        ("winback_send_at", "datetime", "DateTime"),
        ("winback_holdout", "yes_no", "Checkbox"),
    ],
)
def test_a_kind_has_one_type(name, kind, wanted):
    assert field_type(PropertySpec(name, "x", kind)) == wanted


def test_a_kind_nobody_knows_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"'colour'.*yes_no"):
        field_type(PropertySpec("winback_x", "x", "colour"))


def test_no_choice_is_a_picklist_that_could_be_restricted():
    made = definition(PropertySpec("winback_segment", "Winback segment", "choices", "Which.", (("a", "A"),)))
    assert made == {
        "label": "Winback segment",
        "type": "Text",
        "description": "Which.",
        "length": 255,
        "required": False,
    }


def test_numbers_have_room_for_scores_and_boxes_a_default():
    assert definition(PropertySpec("winback_score", "s", "number")).items() >= {"precision": 18, "scale": 4}.items()
    assert definition(PropertySpec("winback_holdout", "h", "yes_no"))["defaultValue"] == "false"
    assert definition(PropertySpec("winback_link_x", "l", "text")).items() >= {"length": 4000}.items()


@pytest.mark.parametrize(
    ("field", "name", "value", "sent", "back"),
    [
        (TEXT, "winback_last_feature", "billing; ünï", "billing; ünï", "billing; ünï"),
        (TEXT, "winback_last_feature", None, None, None),
        (TEXT, "winback_last_feature", "", None, None),
        (NUMBER, "winback_score", "0.25", 0.25, "0.25"),
        (NUMBER, "winback_score", "12", 12, "12"),
        (NUMBER, "winback_score", None, None, None),
        (MOMENT, "x", "2026-10-31T08:15:00Z", "2026-10-31T08:15:00Z", "2026-10-31T08:15:00Z"),
        (MOMENT, "x", "2026-10-31T10:15:00.750+02:00", "2026-10-31T08:15:00Z", "2026-10-31T08:15:00Z"),
        (DAY, "x", "2026-10-31", "2026-10-31", "2026-10-31"),
        (BOX, "x", "true", True, "true"),
        (BOX, "x", "false", False, "false"),
        (BOX, "x", None, False, "false"),
    ],
)
def test_values_are_typed_on_the_way_out_and_text_on_the_way_back(field, name, value, sent, back):
    assert sendable(field, name, value) == sent
    assert type(sendable(field, name, value)) is type(sent)
    assert readable(field, sent) == back


def test_moments_come_back_in_our_words_from_both_of_the_vendors_forms():
    assert readable(MOMENT, "2026-10-31T08:15:00.000+0000") == "2026-10-31T08:15:00Z"
    assert readable(MOMENT, "2026-10-31T08:15:00.000Z") == "2026-10-31T08:15:00Z"


@pytest.mark.parametrize(
    ("field", "value"),
    [(NUMBER, "many"), (NUMBER, "nan"), (NUMBER, "inf"), (DAY, "soon"), (MOMENT, "2026-13-01T00:00:00Z"), (BOX, "yes")],
)
def test_what_a_field_cannot_hold_is_refused_without_repeating_it(field, value):
    with pytest.raises(ValueError, match=f"{field.name}: the value is no {field.type}") as caught:
        sendable(field, "winback_x", value)
    assert value not in str(caught.value).replace(field.name, "")


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=40), st.integers(1, 20))
def test_our_own_text_is_cut_where_the_platform_counts_and_stays_a_beginning(value, length):
    cut = sendable(Held("Winback_X__c", "string", length), "winback_x", value)
    if cut is None:
        assert value == ""
        return
    assert value.startswith(cut)
    assert len(cut.encode("utf-16-le")) <= 2 * length
    assert cut == value or len(value[: len(cut) + 1].encode("utf-16-le")) > 2 * length


def test_a_field_that_is_not_ours_is_never_cut():
    assert sendable(Held("Churn__c", "string", 3), "churn_reason", "price") == "price"


@pytest.mark.parametrize(
    ("held", "kind", "words"),
    [
        (Held("A__c", "picklist", 255), "choices", "it is of type picklist, winback needs Text"),
        (Held("A__c", "string", 255), "number", "it is of type string, winback needs Number"),
        (Held("A__c", "double", updateable=False), "number", "permission set Winback_Integration"),
        (Held("A__c", "textarea", 4000), "text", None),
        (Held("A__c", "currency"), "number", None),
    ],
)
def test_a_field_says_why_it_cannot_hold_a_property(held, kind, words):
    said = held.lacks(PropertySpec("winback_a", "A", kind))
    assert said is None if words is None else words in (said or "")
