-- A share of the people a plan may have to do with, by id, with what programs look at. What any system has marked of the same
-- person is marked here; opted_out_here is what this contact's own system says. What a system merely says it saw last (attributes
-- such as email_last_click_at) counts once, and only where no such event is stored.
-- {people}: the features relation with `combination`, the member's segments, and `seen`, what attributes say. {entered}:
-- contact_key, entered_at. {signals}, {said_no}, {second}: as they are called. {days}: days, of activity, by
-- contact. {paid}: last_paid_at by contact.
-- {teammates}: active people by account_id. {confirmed}: confirmed_at by system. {hours}: best_hour by contact; {best}:
-- that of everybody else. {columns}: of the relation. {sorted}: by id, where that is wanted.
SELECT
    {columns},
    combination,
    coalesce(n.opted_out, false) OR f.opted_out AS opted_out,
    f.opted_out AS opted_out_here,
    coalesce(n.bounced, false) OR f.bounced AS bounced,
    coalesce(s.active_days, 0) AS active_days_since_enrollment,
    s.active_since_at,
    s.spell_broken_on,
    greatest(s.clicks, (seen.clicked_at > entered_at)::BIGINT, 0) AS engaged_clicks,
    greatest(s.replies, (seen.replied_at > entered_at)::BIGINT, 0) AS engaged_replies,
    greatest(s.visits, (seen.visited_at > entered_at)::BIGINT, 0) AS engaged_visits,
    greatest(
        s.last_at,
        CASE WHEN seen.clicked_at > entered_at THEN seen.clicked_at END,
        CASE WHEN seen.replied_at > entered_at THEN seen.replied_at END,
        CASE WHEN seen.visited_at > entered_at THEN seen.visited_at END
    ) AS engaged_last_at,
    least(s.replied_at, CASE WHEN seen.replied_at > entered_at THEN seen.replied_at END) AS engaged_replied_at,
    n.complained_at AS engaged_complained_at,
    n.unsubscribed_at AS engaged_unsubscribed_at,
    least(s.bounced_at, CASE WHEN seen.bounced_at > entered_at THEN seen.bounced_at END) AS engaged_bounced_at,
    coalesce(s.payments, 0) AS transactions_since_enrollment,
    CASE WHEN seen.owner_contacted_at > entered_at THEN seen.owner_contacted_at END AS owner_contacted_at,
    seen.legal_hold,
    seen.consent_basis,
    seen.consent_at,
    coalesce(seen.consent_source, CASE WHEN seen.consent_basis IS NOT NULL THEN c.system END) AS consent_source,
    seen.snoozed_until,
    seen.erased,
    seen.lead_converted_at,
    greatest(paid.last_paid_at, seen.paid_at) AS last_paid_at,
    coalesce(h.best_hour, {best})::BIGINT AS best_hour,
    CASE WHEN f.account_id IS NOT NULL
        THEN coalesce(t.active, 0) - (coalesce(f.active_days_28, 0) > 0)::BIGINT
    END AS active_teammates,
    coalesce(a.days, 0) AS milestone_days,
    c.confirmed_at,
    second.contact_key IS NULL AS first_with_address
FROM {people} AS f
LEFT JOIN {entered} AS e USING (contact_key)
LEFT JOIN {signals} AS s USING (contact_key)
LEFT JOIN {said_no} AS n USING (contact_key)
LEFT JOIN {second} AS second USING (contact_key)
LEFT JOIN {days} AS a USING (contact_key)
LEFT JOIN {paid} AS paid USING (contact_key)
LEFT JOIN {hours} AS h USING (contact_key)
LEFT JOIN {teammates} AS t ON t.account_id = f.account_id
LEFT JOIN {confirmed} AS c ON c.system = left(f.contact_id, strpos(f.contact_id, ':') - 1)
{sorted}
