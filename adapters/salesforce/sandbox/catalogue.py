"""The kinds of records and the standard fields of the org, as far as a win-back meets them."""

from __future__ import annotations

from collections.abc import Iterable

from adapters.salesforce.ids import PREFIXES
from adapters.salesforce.sandbox import derived
from adapters.salesforce.sandbox.catalogue_setup import administration
from adapters.salesforce.sandbox.fields import Field, SObject, sobject
from adapters.salesforce.sandbox.making import (
    address,
    day,
    fixed,
    link,
    long_text,
    moment,
    money,
    number,
    once,
    phone,
    pick,
    text,
    web,
    whole,
    yes_no,
)

SOURCES = ("Web", "Phone Inquiry", "Partner Referral", "Purchased List", "Other")
PEOPLE = ("Contact", "Lead")
CHANNELS = ("Email", "Mailing Address", "Phone", "Social", "Web")
PRIVACY = ("OptIn", "OptOut", "Seen", "NotSeen")


def _owner() -> Field:
    return link("OwnerId", "User")


def _places(prefix: str) -> Iterable[Field]:
    return (
        long_text(f"{prefix}Street", 255),
        text(f"{prefix}City", 40),
        text(f"{prefix}State", 80),
        text(f"{prefix}PostalCode", 20),
        text(f"{prefix}Country", 80),
    )


def _person() -> Iterable[Field]:
    return (
        text("Name", 121, derived=derived.full_name, **fixed()),
        text("FirstName", 40),
        text("LastName", 80, required=True),
        pick("Salutation", "Mr.", "Ms.", "Mrs.", "Dr.", "Prof.", "Mx."),
        address("Email"),
        phone("Phone"),
        phone("MobilePhone"),
        text("Title", 128),
        pick("LeadSource", *SOURCES),
        long_text("Description"),
        yes_no("HasOptedOutOfEmail", label="Email Opt Out"),
        yes_no("HasOptedOutOfFax", label="Fax Opt Out"),
        yes_no("DoNotCall"),
        moment("EmailBouncedDate"),
        text("EmailBouncedReason"),
        link("IndividualId", "Individual", feature="individuals"),
        day("LastActivityDate", **fixed()),
        link("MasterRecordId", *PEOPLE, **fixed()),
        _owner(),
    )


def _individual() -> Iterable[Field]:
    return (
        text("Name", 121, derived=derived.full_name, **fixed()),
        text("FirstName", 40),
        text("LastName", 80, required=True),
        yes_no("HasOptedOutProcessing"),
        yes_no("HasOptedOutProfiling"),
        yes_no("HasOptedOutSolicit"),
        yes_no("HasOptedOutTracking"),
        yes_no("HasOptedOutGeoTracking"),
        yes_no("ShouldForget"),
        yes_no("SendIndividualData"),
        yes_no("CanStorePiiElsewhere"),
        _owner(),
    )


def _campaign() -> Iterable[Field]:
    return (
        text("Name", 80, required=True),
        link("ParentId", "Campaign"),
        pick("Type", "Conference", "Webinar", "Email", "Advertisement", "Partners", "Other"),
        pick("Status", "Planned", "In Progress", "Completed", "Aborted", default="Planned"),
        yes_no("IsActive"),
        day("StartDate"),
        day("EndDate"),
        long_text("Description"),
        whole("NumberOfContacts", derived=derived.members("ContactId"), **fixed()),
        whole("NumberOfLeads", derived=derived.members("LeadId"), **fixed()),
        whole("NumberOfResponses", derived=derived.members(None, responded=True), **fixed()),
        _owner(),
    )


def _campaign_member() -> Iterable[Field]:
    return (
        link("CampaignId", "Campaign", required=True, **once()),
        link("ContactId", "Contact", **once()),
        link("LeadId", "Lead", **once()),
        link("LeadOrContactId", *PEOPLE, relationship="LeadOrContact", derived=derived.person_of, **fixed()),
        pick("Status", "Sent", "Responded"),
        yes_no("HasResponded", derived=derived.has_responded, **fixed()),
        day("FirstRespondedDate", **fixed()),
        pick("Type", *PEOPLE, derived=derived.kind_of_member, **fixed()),
        address("Email", derived=derived.of_person("Email"), **fixed()),
        text("FirstName", 40, derived=derived.of_person("FirstName"), **fixed()),
        text("LastName", 80, derived=derived.of_person("LastName"), **fixed()),
        text("Name", 121, derived=derived.of_person("Name"), **fixed()),
        yes_no("HasOptedOutOfEmail", derived=derived.of_person("HasOptedOutOfEmail"), **fixed()),
        yes_no("DoNotCall", derived=derived.of_person("DoNotCall"), **fixed()),
    )


def _task() -> Iterable[Field]:
    return (
        link("WhoId", *PEOPLE),
        link("WhatId", "Account", "Campaign", "Opportunity"),
        link("AccountId", "Account", derived=derived.account_of_person, **fixed()),
        pick("Subject", "Call", "Send Letter", "Send Quote", "Other"),
        long_text("Description"),
        pick("Status", "Not Started", "In Progress", "Completed", "Deferred", default="Not Started"),
        pick("Priority", "High", "Normal", "Low", default="Normal"),
        day("ActivityDate"),
        pick("TaskSubtype", "Task", "Email", "Call", "ListEmail", default="Task", **once()),
        pick("Type", "Call", "Meeting", "Other", "Email"),
        yes_no("IsClosed", derived=derived.task_is_closed, **fixed()),
        moment("CompletedDateTime", **fixed()),
        _owner(),
    )


def _opportunity() -> Iterable[Field]:
    return (
        text("Name", 120, required=True),
        link("AccountId", "Account"),
        link("ContactId", "Contact", **once()),
        link("CampaignId", "Campaign"),
        pick(
            "StageName",
            "Prospecting",
            "Qualification",
            "Negotiation/Review",
            "Closed Won",
            "Closed Lost",
            required=True,
        ),
        money("Amount"),
        pick("CurrencyIsoCode", "EUR", "GBP", "USD", feature="multi_currency"),
        day("CloseDate", required=True),
        pick("Type", "Existing Business", "New Business"),
        number("Probability", 3, 0),
        yes_no("IsClosed", derived=derived.is_closed, **fixed()),
        yes_no("IsWon", derived=derived.is_won, **fixed()),
        _owner(),
    )


def _email_message() -> Iterable[Field]:
    return (
        link("ParentId", "Account", **once()),
        link("ActivityId", "Task", **once()),
        link("RelatedToId", "Account", "Campaign", "Opportunity"),
        text("Subject", 3000),
        long_text("TextBody", 131_072),
        address("FromAddress"),
        text("FromName", 1000),
        long_text("ToAddress", 4000),
        yes_no("Incoming"),
        yes_no("IsBounced", **fixed()),
        yes_no("IsOpened", **fixed()),
        yes_no("IsTracked"),
        moment("FirstOpenedDate", **fixed()),
        moment("LastOpenedDate", **fixed()),
        moment("MessageDate"),
        pick("Status", "0", "1", "2", "3", "4", "5", default="3"),
    )


def _consent() -> Iterable[Field]:
    return (
        text("Name", 255, required=True),
        link("DataUsePurposeId", "DataUsePurpose"),
        pick("PrivacyConsentStatus", *PRIVACY, required=True, restricted=True),
        moment("EffectiveFrom"),
        moment("EffectiveTo"),
        moment("CaptureDate"),
        text("CaptureSource"),
        _owner(),
    )


def standard() -> list[SObject]:
    """Every kind of record of a fresh org."""
    return [
        sobject(
            "Account",
            PREFIXES["Account"],
            "Account",
            (
                text("Name", 255, required=True),
                pick("Type", "Prospect", "Customer - Direct", "Customer - Channel", "Other"),
                pick("Industry", "Banking", "Education", "Technology", "Other"),
                web("Website"),
                phone("Phone"),
                whole("NumberOfEmployees", label="Employees"),
                money("AnnualRevenue"),
                link("ParentId", "Account"),
                link("MasterRecordId", "Account", **fixed()),
                yes_no("IsPersonAccount", feature="person_accounts", **fixed()),
                address("PersonEmail", feature="person_accounts"),
                link("PersonContactId", "Contact", feature="person_accounts", **fixed()),
                long_text("Description"),
                *_places("Billing"),
                _owner(),
            ),
            mergeable=True,
        ),
        sobject(
            "Contact",
            PREFIXES["Contact"],
            "Contact",
            (
                link("AccountId", "Account"),
                *_person(),
                text("Department", 80),
                link("ReportsToId", "Contact"),
                day("Birthdate"),
                yes_no("IsEmailBounced", derived=derived.has_bounced, **fixed()),
                yes_no("IsPersonAccount", feature="person_accounts", **fixed()),
                *_places("Mailing"),
            ),
            mergeable=True,
        ),
        sobject(
            "Lead",
            PREFIXES["Lead"],
            "Lead",
            (
                *_person(),
                text("Company", 255, required=True),
                pick(
                    "Status",
                    "Open - Not Contacted",
                    "Working - Contacted",
                    "Closed - Converted",
                    "Closed - Not Converted",
                    default="Open - Not Contacted",
                ),
                pick("Rating", "Hot", "Warm", "Cold"),
                web("Website"),
                yes_no("IsConverted", **fixed()),
                day("ConvertedDate", **fixed()),
                link("ConvertedContactId", "Contact", **fixed()),
                link("ConvertedAccountId", "Account", **fixed()),
                link("ConvertedOpportunityId", "Opportunity", **fixed()),
                *_places(""),
            ),
            mergeable=True,
        ),
        sobject("Campaign", PREFIXES["Campaign"], "Campaign", _campaign()),
        sobject("CampaignMember", PREFIXES["CampaignMember"], "Campaign Member", _campaign_member()),
        sobject(
            "CampaignMemberStatus",
            PREFIXES["CampaignMemberStatus"],
            "Campaign Member Status",
            (
                link("CampaignId", "Campaign", required=True, relationship=None, **once()),
                text("Label", 765, required=True),
                whole("SortOrder"),
                yes_no("IsDefault"),
                yes_no("HasResponded"),
            ),
            plural="Campaign Member Statuses",
        ),
        sobject("Task", PREFIXES["Task"], "Task", _task()),
        sobject("Opportunity", PREFIXES["Opportunity"], "Opportunity", _opportunity(), plural="Opportunities"),
        sobject(
            "OpportunityContactRole",
            PREFIXES["OpportunityContactRole"],
            "Opportunity Contact Role",
            (
                link("OpportunityId", "Opportunity", required=True, **once()),
                link("ContactId", "Contact", required=True),
                pick("Role", "Decision Maker", "Economic Buyer", "Evaluator", "Other"),
                yes_no("IsPrimary"),
            ),
        ),
        sobject("EmailMessage", PREFIXES["EmailMessage"], "Email Message", _email_message()),
        sobject(
            "EmailMessageRelation",
            PREFIXES["EmailMessageRelation"],
            "Email Message Relation",
            (
                link("EmailMessageId", "EmailMessage", required=True, **once()),
                link("RelationId", "Contact", "Lead", "User", **once()),
                pick("RelationType", "ToAddress", "CcAddress", "BccAddress", "FromAddress", required=True),
                address("RelationAddress"),
            ),
        ),
        sobject("Individual", PREFIXES["Individual"], "Individual", _individual(), feature="individuals"),
        sobject(
            "DataUsePurpose",
            PREFIXES["DataUsePurpose"],
            "Data Use Purpose",
            (text("Name", 255, required=True), yes_no("CanDataSubjectOptOut"), _owner()),
            feature="individuals",
        ),
        sobject(
            "ContactPointTypeConsent",
            PREFIXES["ContactPointTypeConsent"],
            "Contact Point Type Consent",
            (pick("ContactPointType", *CHANNELS, required=True), link("PartyId", "Individual", **once()), *_consent()),
            feature="individuals",
        ),
        sobject(
            "ContactPointConsent",
            PREFIXES["ContactPointConsent"],
            "Contact Point Consent",
            (link("ContactPointId", "ContactPointEmail", required=True, **once()), *_consent()),
            feature="individuals",
        ),
        sobject(
            "ContactPointEmail",
            PREFIXES["ContactPointEmail"],
            "Contact Point Email",
            (
                link("ParentId", "Individual", "Account", required=True),
                address("EmailAddress", required=True),
                yes_no("IsPrimary"),
                moment("ActiveFromDate"),
                moment("ActiveToDate"),
            ),
            feature="individuals",
        ),
        *administration(),
    ]
