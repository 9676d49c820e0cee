"""Every reason a program can give: why somebody is left out, why something waits, why an episode ended."""

from __future__ import annotations

from collections.abc import Mapping

EXCLUSIONS: Mapping[str, str] = {
    "merged": "was merged into another contact",
    "deleted": "was deleted in the CRM",
    "erased": "asked for their data to be erased",
    "opted_out": "has unsubscribed",
    "complained": "reported a mail as spam",
    "bounced": "mail to the address fails for good",
    "suppressed": "is on the suppression list",
    "legal_hold": "is on legal hold",
    "no_email": "has no mail address",
    "invalid_email": "has an address that is not valid",
    "role_address": "has the address of a role, not of a person",
    "disposable_address": "has a throw-away address",
    "duplicate_address": "shares the address with a contact that comes first",
    "no_consent": "nobody knows of a permission to mail",
    "consent_expired": "the permission to mail has lapsed",
    "consent_stale": "what the CRM says about consent is too old to rely on",
    "unknown_country": "the country is unknown, and the consent rules depend on it",
    "snoozed": "asked to be left alone until a date",
}
"""Must not be on any list or in any property we write; the first that applies, in this order, is the one given.

`not_in_crm` and `quarantined` are the destination's own reasons and are added by the plan.
"""

DEFERRALS: Mapping[str, str] = {
    "other_program": "is in another program, which comes first",
    "quiet_period": "had a sequence not long ago",
    "same_spell": "was enrolled for this silence before",
    "sunset": "did not answer before and is left alone",
    "held_out_before": "is still being measured as part of a holdout",
    "per_contact_cap": "has had as many touches as one may have in the period",
    "gap": "was touched too short a time ago",
    "daily_cap": "today's touches are used up",
    "not_written_yet": "the step before has not reached the CRM yet",
    "send_window": "waits for a day and hour at which mail may be sent",
    "blackout": "waits for the end of a blackout",
    "paused": "the program is paused: too many complaints, bounces or unsubscribes",
    "offer_budget": "the offer budget is used up",
    "no_code_left": "there is no coupon code left",
}
"""Waits, or is not entered now; may be in segment lists all the same."""

ENTERED, IN_PROGRAM, NOT_NOW, NO_PROGRAM = "entered", "in_program", "not_now", "no_program"
NOT_IN_CRM = "not_in_crm"

ANSWERS: Mapping[str, str] = {
    ENTERED: "entered",
    IN_PROGRAM: "is in the program already",
    NOT_NOW: "cannot enter now",
    NO_PROGRAM: "there is no such program",
    NOT_IN_CRM: "is no contact of the CRM",
}
"""What a workflow that asked for somebody to be entered is told, besides EXCLUSIONS and TOLD_TO_WHO_ASKS.

A holdout is told `not_now`, as is whoever waits for a reason of the day: nobody can act on who is measured.
"""

TOLD_TO_WHO_ASKS = frozenset({"other_program", "quiet_period", "same_spell", "sunset"})
"""Deferrals that say nothing about the arm; every other is told as `not_now`."""

EXITS: Mapping[str, str] = {
    "deleted": "was deleted in the CRM",
    "erased": "asked for their data to be erased",
    "merged": "was merged into a contact that has an episode of its own",
    "unsubscribed": "unsubscribed",
    "complained": "reported a mail as spam",
    "bounced": "mail to the address fails for good",
    "lost_consent": "may not be mailed any more",
    "reactivated": "uses the product again",
    "never_dormant": "late facts show there was no such silence",
    "converted": "bought or upgraded",
    "replied": "replied",
    "lead_converted": "became an opportunity or customer in the CRM",
    "owner_took_over": "somebody in sales or success took over",
    "snoozed": "asked to be left alone until a date",
    "left_segment": "is in no segment that enrolls",
    "manual": "was taken out by hand",
    "undone": "the run that entered them was undone",
    "completed": "went through every step",
}
"""Why an episode ended. Where several apply, the first in this order is recorded."""

ALWAYS_EXIT = frozenset(
    {"deleted", "erased", "merged", "unsubscribed", "complained", "bounced", "lost_consent", "reactivated",
     "never_dormant", "manual", "undone", "completed"}
)  # fmt: skip
"""Exits that hold whatever the playbook's `exit:` lists; the others only when listed (or when `exit` is absent)."""
