-- Everybody a plan may have to do with, in no order, as far as that says who needs no verdict of their own: columns that few
-- people differ in, and of others whether they are filled.
-- {people}: the rows of people. {same}: columns as they are. {marks}: a number that many yes or no go into: a table of a
-- million people is written twice as fast for it. {silent}: nothing happened since entry. {local}: what a
-- plain local part looks like, as a regular expression. {local_longest}, {longest}: of an address. {desks}: local parts
-- that are no person's. {own}: whether it is a contact of the CRM. {apart}: contact_id of whoever is judged by more
-- than their row.
SELECT
    contact_key,
    contact_id,
    account_id,
    combination,
    timezone,
    inactive_days,
    last_active_at,
    last_active_on,
    last_feature,
    opted_out_here,
    email,
    {same},
    ({marks})::INTEGER AS marks,
    {silent} AS silent,
    CASE
        WHEN regexp_full_match(email, '{local}@[a-z0-9-]+(?:\.[a-z0-9-]+)+')
            AND strlen(email) < {longest} AND strpos(email, '@') <= {local_longest}
            AND left(
                email,
                CASE WHEN contains(email, '+') THEN strpos(email, '+') ELSE strpos(email, '@') END - 1
            ) NOT IN ({desks})
        THEN substr(email, strpos(email, '@') + 1)
    END AS domain,
    {own} AS own,
    contact_id IN (FROM {apart}) AS apart
FROM ({people})
