-- Departures and mean delay per airport and scheduled hour, as they happen. A window's first result comes when the
-- watermark passes its end; aircraft that leave up to a day late still correct it.
CREATE MATERIALIZED TABLE delays_per_hour
  WITH ('allowed-lateness' = '1 d')
  FRESHNESS = INTERVAL '10' SECOND
  REFRESH_MODE = CONTINUOUS
AS SELECT origin, window_start, count(*) AS flights, avg(dep_delay) AS mean_delay
   FROM TUMBLE(TABLE departures, DESCRIPTOR(scheduled), INTERVAL '1' HOUR)
   GROUP BY origin, window_start, window_end;
