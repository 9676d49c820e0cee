"""The properties an account starts with: the vendor's own that winback reads, and a SaaS company's few custom ones."""

from __future__ import annotations

from adapters.hubspot.sandbox.definitions import Definition, Option
from adapters.hubspot.sandbox.preferences import SUBSCRIPTIONS

EMAIL = "emailinformation"

CONTACT_GROUPS = {
    "contactinformation": "Contact information",
    "emailinformation": "Email information",
    "contact_activity": "Contact activity",
    "product": "Product",
}
COMPANY_GROUPS = {"companyinformation": "Company information", "product": "Product"}

YES_NO = (Option("true", "Yes"), Option("false", "No"))
LIFECYCLE = tuple(
    Option(value, label)
    for value, label in (
        ("subscriber", "Subscriber"),
        ("lead", "Lead"),
        ("marketingqualifiedlead", "Marketing Qualified Lead"),
        ("salesqualifiedlead", "Sales Qualified Lead"),
        ("opportunity", "Opportunity"),
        ("customer", "Customer"),
        ("evangelist", "Evangelist"),
        ("other", "Other"),
    )
)
LEGAL_BASES = tuple(
    Option(label, label)
    for label in (
        "Freely given consent from contact",
        "Legitimate interest – prospect/lead",
        "Legitimate interest – existing customer",
        "Legitimate interest - other",
        "Performance of a contract",
        "Not applicable",
    )
)
"""The choices as public property catalogues show them; several may hold at once."""
BOUNCES = tuple(
    Option(value, value.replace("_", " ").capitalize())
    for value in ("UNKNOWN_USER", "MAILBOX_FULL", "CONTENT", "POLICY", "SPAM", "DNS_FAILURE", "OTHER")
)


def _text(name: str, label: str, group: str = "contactinformation", *, custom: bool = False) -> Definition:
    return Definition(name, label, "string", "text", group, hubspot_defined=not custom)


def _own(name: str, label: str, kind: str, group: str, *, options: tuple[Option, ...] = ()) -> Definition:
    """A property only the vendor writes: reading is all an app may do."""
    field = {"bool": "booleancheckbox", "enumeration": "select", "number": "number", "datetime": "date"}
    return Definition(name, label, kind, field.get(kind, "text"), group, options=options, read_only=True)


CONTACT_PROPERTIES: tuple[Definition, ...] = (
    _own("hs_object_id", "Record ID", "number", "contactinformation"),
    _own("createdate", "Create Date", "datetime", "contactinformation"),
    _own("lastmodifieddate", "Last Modified Date", "datetime", "contactinformation"),
    _own("hs_lastmodifieddate", "Object last modified date/time", "datetime", "contactinformation"),
    _text("email", "Email"),
    _text("firstname", "First Name"),
    _text("lastname", "Last Name"),
    _text("jobtitle", "Job Title"),
    _text("company", "Company Name"),
    _text("phone", "Phone Number"),
    _text("country", "Country/Region"),
    _text("hs_timezone", "Time Zone"),
    _text("hs_language", "Preferred language"),
    Definition(
        "lifecyclestage", "Lifecycle Stage", "enumeration", "radio", "contactinformation", options=LIFECYCLE, open=True
    ),
    Definition("hs_lead_status", "Lead Status", "enumeration", "radio", "contactinformation", open=True),
    Definition("hubspot_owner_id", "Contact owner", "enumeration", "select", "contactinformation", open=True),
    Definition("associatedcompanyid", "Primary Associated Company ID", "number", "number", "contactinformation"),
    _own("hs_additional_emails", "Additional email addresses", "string", "contactinformation"),
    _own("hs_merged_object_ids", "Merged record IDs", "string", "contactinformation"),
    _own("hs_calculated_merged_vids", "Merged vids with timestamps", "string", "contactinformation"),
    _own("hs_email_optout", "Unsubscribed from all email", "bool", "emailinformation", options=YES_NO),
    _own("hs_email_bad_address", "Invalid email address", "bool", "emailinformation", options=YES_NO),
    _own("hs_email_quarantined", "Email address quarantined", "bool", "emailinformation", options=YES_NO),
    _own(
        "hs_email_hard_bounce_reason_enum",
        "Email hard bounce reason",
        "enumeration",
        "emailinformation",
        options=BOUNCES,
    ),
    *(
        _own(
            f"hs_email_optout_{subscription.id}",
            f"Opted out of: {subscription.name}",
            "enumeration",
            EMAIL,
            options=YES_NO,
        )
        for subscription in SUBSCRIPTIONS
    ),
    _own("hs_email_hard_bounce_reason", "Email hard bounce reason (text)", "string", EMAIL),
    _own("hs_email_bounce", "Marketing emails bounced", "number", EMAIL),
    _own("hs_email_delivered", "Marketing emails delivered", "number", EMAIL),
    _own("hs_email_open", "Marketing emails opened", "number", EMAIL),
    _own("hs_email_click", "Marketing emails clicked", "number", EMAIL),
    _own("hs_email_replied", "Marketing emails replied", "number", EMAIL),
    _own("hs_email_sends_since_last_engagement", "Sends since last engagement", "number", EMAIL),
    _own("hs_email_last_email_name", "Last marketing email name", "string", EMAIL),
    _own("hs_email_first_send_date", "First marketing email send date", "datetime", EMAIL),
    _own("hs_email_first_open_date", "First marketing email open date", "datetime", EMAIL),
    _own("hs_email_first_click_date", "First marketing email click date", "datetime", EMAIL),
    _own("hs_email_first_reply_date", "First marketing email reply date", "datetime", EMAIL),
    _own("hs_email_last_send_date", "Last marketing email send date", "datetime", EMAIL),
    _own("hs_email_last_open_date", "Last marketing email open date", "datetime", EMAIL),
    _own("hs_email_last_click_date", "Last marketing email click date", "datetime", EMAIL),
    _own("hs_email_last_reply_date", "Last marketing email reply date", "datetime", EMAIL),
    Definition(
        "hs_legal_basis",
        "Legal basis for processing contact's data",
        "enumeration",
        "checkbox",
        EMAIL,
        options=LEGAL_BASES,
    ),
    _own("hs_marketable_status", "Marketing contact status", "enumeration", "emailinformation", options=YES_NO),
    _own("notes_last_contacted", "Last Contacted", "datetime", "contact_activity"),
    _own("hs_analytics_last_visit_timestamp", "Time Last Seen", "datetime", "contact_activity"),
    _own("hs_last_sales_activity_timestamp", "Last Engagement Date", "datetime", "contact_activity"),
    _own("hs_sales_email_last_clicked", "Recent Sales Email Clicked Date", "datetime", "contact_activity"),
    _own("hs_sales_email_last_replied", "Recent Sales Email Replied Date", "datetime", "contact_activity"),
    _own("hs_lifecyclestage_opportunity_date", "Became an Opportunity Date", "datetime", "contactinformation"),
    _own("hs_lifecyclestage_customer_date", "Became a Customer Date", "datetime", "contactinformation"),
    _own("recent_conversion_date", "Recent Conversion Date", "datetime", "contact_activity"),
    _own("num_conversion_events", "Number of Form Submissions", "number", "contact_activity"),
    _text("product_user_id", "Product user ID", "product", custom=True),
    _text("plan_tier", "Plan tier", "product", custom=True),
    _text("role", "Role", "product", custom=True),
)

COMPANY_PROPERTIES: tuple[Definition, ...] = (
    _own("hs_object_id", "Record ID", "number", "companyinformation"),
    _own("createdate", "Create Date", "datetime", "companyinformation"),
    _own("hs_lastmodifieddate", "Last Modified Date", "datetime", "companyinformation"),
    _text("name", "Company name", "companyinformation"),
    _text("domain", "Company Domain Name", "companyinformation"),
    Definition("hubspot_owner_id", "Company owner", "enumeration", "select", "companyinformation", open=True),
    Definition("numberofemployees", "Number of Employees", "number", "number", "companyinformation"),
    _text("plan_tier", "Plan tier", "product", custom=True),
    Definition("seats", "Seats", "number", "number", "product", hubspot_defined=False),
    Definition("mrr", "Monthly recurring revenue", "number", "number", "product", hubspot_defined=False),
)
