-- What becomes of everybody a plan may have to do with: whether all is said of them, whether they may enter, whether they are
-- in a program and silent, or must be looked at.
-- {facts}: shortlist, with plain. {episodes}: contact_id of whoever has one, ended or not. {kinds}: every kind with its
-- answer, code: -1 none, 0 eligible. {same_kind}: a join of f and k.
-- {ways}: where each combination of segments leads: place, rank. {queues}: places of programs whose candidates
-- need not all be looked at. {suppressed}: contact_id of whoever is on the suppression list.
-- {told}, {candidate}, {inside}, {judged}: the answers.
SELECT
    f.contact_key,
    f.contact_id,
    f.account_id,
    f.timezone,
    f.inactive_days,
    f.last_active_at,
    f.last_active_on,
    f.last_feature,
    f.opted_out_here,
    f.email,
    f.own,
    f.combination,
    w.place,
    w.rank,
    k.code,
    CASE
        WHEN NOT f.own THEN CASE WHEN f.inside THEN {judged} ELSE {told} END
        WHEN f.apart OR k.code < 0 OR f.contact_id IN (FROM {suppressed}) THEN {judged}
        WHEN f.inside THEN CASE WHEN k.code = 0 AND f.silent THEN {inside} ELSE {judged} END
        WHEN k.code > 0 OR w.place IS NULL THEN {told}
        WHEN f.last_active_on IS NULL OR w.place NOT IN (FROM {queues}) THEN {judged}
        ELSE {candidate}
    END::TINYINT AS what
FROM (SELECT *, contact_id IN (SELECT contact_id FROM {episodes}) AS inside FROM {facts}) AS f
JOIN {kinds} AS k ON {same_kind}
JOIN {ways} AS w USING (combination)
