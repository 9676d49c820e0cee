-- What each contact paid up to a date, in the currency that most transactions are in (the alphabetically first of equals;
-- one currency cannot be added to another). value_365d counts the 365 days that end with {as_of}.
-- {transactions} has one row per payment: contact_key, day, amount, currency.
WITH main AS (
    SELECT currency FROM {transactions} WHERE day <= {as_of}
    GROUP BY currency ORDER BY count(*) DESC, currency LIMIT 1
)
SELECT
    contact_key,
    sum(amount)::DOUBLE AS lifetime_value,
    coalesce(sum(amount) FILTER (day > {as_of} - 365), 0)::DOUBLE AS value_365d
FROM {transactions}
WHERE day <= {as_of} AND currency IS NOT DISTINCT FROM (SELECT currency FROM main)
GROUP BY contact_key
