"""What people in Salesforce look at: a list view of the people winback watches, and a report on its campaigns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from deploy.salesforce.making.documents import Tree, document, tidy

VIEW: Final = "Winback"
FOLDER: Final = "Winback"
REPORT_TYPE: Final = "Winback_Campaign_Members"
REPORT: Final = "Winback_Members_by_Status"

_MEMBERS: Final = "Campaign.CampaignMembers"
_SEGMENT: Final = "Winback_Segment__c"
_OURS: Final = (
    _SEGMENT,
    "Winback_Step__c",
    "Winback_Last_Active_At__c",
    "Winback_Dormant_Since__c",
    "Winback_Reason__c",
)
_COLUMNS: Final[Mapping[str, Sequence[str]]] = {
    "Contact": ("FULL_NAME", "ACCOUNT.NAME", "CONTACT.EMAIL", *_OURS),
    "Lead": ("FULL_NAME", "LEAD.COMPANY", "LEAD.EMAIL", *_OURS),
}
"""List views call standard fields by names of their own, custom ones by their API names."""


def list_view(person: str) -> Tree:
    """Everybody of a kind who is in a segment."""
    return tidy(
        fullName=VIEW,
        label="Win-back",
        columns=_COLUMNS[person],
        filterScope="Everything",
        filters=tidy(field=_SEGMENT, operation="notEqual"),
    )


def report_type() -> Tree:
    """Campaigns with their members, as far as the report shows them."""
    return tidy(
        label="Win-back campaigns with members",
        description="Campaigns and their members, with what winback knows of them.",
        baseObject="Campaign",
        category="campaigns",
        deployed=True,
        join=tidy(outerJoin=False, relationship="CampaignMembers"),
        sections=[
            _section("Campaigns", "Campaign", {"Name": True, "Parent": False, "Status": False, "IsActive": False}),
            _section(
                "Campaign members",
                _MEMBERS,
                {"Name": True, "Status": True, "Email": False, "CreatedDate": True, "Winback_Send_At__c": True},
            ),
        ],
    )


def report() -> Tree:
    """Members of winback's campaigns by campaign and status: who is in which step, and who has left."""
    return tidy(
        name="Win-back: members by status",
        description="Who is on which step of a win-back, and who has left it.",
        reportType=f"{REPORT_TYPE}__c",
        format="Summary",
        columns=[tidy(field=f"{_MEMBERS}${name}") for name in ("Name", "CreatedDate", "Winback_Send_At__c")],
        filter=tidy(
            criteriaItems=[
                tidy(
                    column="Campaign$Name",
                    columnToColumn=False,
                    isUnlocked=True,
                    operator="startsWith",
                    value="winback",
                )
            ]
        ),
        groupingsDown=[
            tidy(dateGranularity="Day", field=field, sortOrder="Asc")
            for field in ("Campaign$Name", f"{_MEMBERS}$Status")
        ],
        scope="organization",
        showDetails=False,
        showGrandTotal=True,
        showSubTotals=True,
        timeFrameFilter=tidy(dateColumn=f"{_MEMBERS}$CreatedDate", interval="INTERVAL_CUSTOM"),
    )


def folder() -> Tree:
    """The folder of the report."""
    return tidy(
        name="Win-back",
        folderShares=[tidy(accessLevel="View", sharedTo="AllInternalUsers", sharedToType="Organization")],
    )


def files() -> Iterator[tuple[str, str]]:
    """The views, the report type, the folder and the report."""
    for person in _COLUMNS:
        yield f"objects/{person}/listViews/{VIEW}.listView-meta.xml", document("ListView", list_view(person))
    yield f"reportTypes/{REPORT_TYPE}.reportType-meta.xml", document("ReportType", report_type())
    yield f"reports/{FOLDER}.reportFolder-meta.xml", document("ReportFolder", folder())
    yield f"reports/{FOLDER}/{REPORT}.report-meta.xml", document("Report", report())


def _section(title: str, table: str, columns: Mapping[str, bool]) -> Tree:
    return tidy(
        columns=[tidy(checkedByDefault=shown, field=name, table=table) for name, shown in columns.items()],
        masterLabel=title,
    )
