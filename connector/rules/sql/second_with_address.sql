-- Contacts whose address another contact of the same system has too, and comes first with: the one active last, then the
-- one with the lowest id. Deleted and merged people are not in the way of anybody.
-- {people}: contacts_as_of. {shared}: shared_addresses. {measured}: contact_features. {among}: what counts as one system:
-- several CRMs are one. {rank}: of the contact's CRM among them; the first one's contacts come first.
SELECT contact_key
FROM {people} AS p
SEMI JOIN (FROM {shared} WHERE main) AS s USING (contact_key)
LEFT JOIN {measured} AS m USING (contact_key)
WHERE p.deleted_at IS NULL AND p.merged_into IS NULL
QUALIFY row_number() OVER (
    PARTITION BY {among}, p.match_email ORDER BY {rank}, m.last_active_at DESC NULLS LAST, p.contact_id
) > 1
