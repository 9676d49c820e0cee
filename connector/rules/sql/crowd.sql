-- Who a plan may have to do with, in shares small enough to work on one after the other: whoever is in a segment now or was when last recorded, may not be mailed, is in a program, or was asked for.
-- {people}: the features relation with `combination`, the member's segments, and whether that is any (somewhere). {recorded}: members when last recorded.
-- {entered}, {said_no}: as they are called. {also}: a condition for anybody else. {within}: one for everybody.
-- {share}: of the contact, by the order of their ids.
SELECT contact_key, combination, ({share})::INTEGER AS share
FROM {people}
WHERE ({within}) AND (
    somewhere OR deleted_at IS NOT NULL OR opted_out OR bounced OR {also}
    OR contact_key IN (SELECT contact_key FROM {recorded})
    OR contact_key IN (SELECT contact_key FROM {said_no})
    OR contact_key IN (SELECT contact_key FROM {entered} WHERE contact_key IS NOT NULL)
)
