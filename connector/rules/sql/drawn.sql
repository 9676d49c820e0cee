-- Whoever could enter a program, with the arm they are drawn into: the first 8 hexadecimal digits of the SHA-256 of salt and
-- unit, over 2^32, below the share. {people}: shortlisted. {unit}: what is drawn. {salt}, {share}: of the split.
SELECT
    *,
    ('0x' || left(sha256({salt} || ':' || {unit}), 8))::BIGINT / 4294967296.0::DOUBLE < {share}::DOUBLE AS held
FROM {people}
