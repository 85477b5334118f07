-- Define it once; REFRESH_MODE says how it is kept up to date.
CREATE MATERIALIZED TABLE orders_per_day
  FRESHNESS = INTERVAL '10' SECOND
  REFRESH_MODE = CONTINUOUS
AS SELECT window_start, count(*) AS orders, sum(amount) AS amount
   FROM TUMBLE(TABLE orders, DESCRIPTOR(ordered), INTERVAL '1' DAY)
   GROUP BY window_start, window_end;
