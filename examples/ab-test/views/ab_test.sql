-- The test, per variant and quarter of an hour. A user's variant is told by the number in the ID, whatever letter stands before it
-- (u: the web site, m: the mobile app): even numbers see variant A, odd ones B.
CREATE MATERIALIZED TABLE ab_test
  WITH ('speed-retention' = '1 d')
  REFRESH_MODE = LAMBDA
AS SELECT variant, window_start, window_end,
          count(*) AS requests,
          count(DISTINCT user_id) AS users,
          count(*) FILTER (WHERE itembox = 1) AS opened,
          avg(min_price) AS mean_min_price
   FROM (
     SELECT *, CASE WHEN CAST(REGEXP_EXTRACT(user_id, '^[um](\d+)$', 1) AS BIGINT) % 2 = 0 THEN 'A' ELSE 'B' END AS variant
     FROM TUMBLE(TABLE access, DESCRIPTOR(at), INTERVAL '15' MINUTE)
   )
   GROUP BY variant, window_start, window_end;
