-- Everybody as last known at the moment a day ends, without those merged into somebody else or taken for the profile of a
-- contact in another system. {ends_at}: that moment. {history}: contacts_history. {folded}: who is now part of another.
SELECT *
FROM {history}
WHERE valid_from < {ends_at} AND {ends_at} <= valid_to
  AND contact_key NOT IN (SELECT contact_key FROM {folded})
