-- The columns a condition may use, one row per contact that exists at the end of a day: the person and the company as
-- they were known then, and contact_features. A contact exists from the day it was created or first active, whichever is
-- earlier (unknown: always); people merged into another exist in that other. {people}: contacts_as_of.
-- {measured}: contact_features at that date. {ends_at}: the moment the day ends. {columns}, {joins}: what is wanted of it.
SELECT {columns}
FROM {people} AS person
LEFT JOIN {measured} AS measured ON measured.contact_key = person.contact_key
{joins}
WHERE person.created_at IS NULL OR person.created_at < {ends_at} OR measured.first_date IS NOT NULL
