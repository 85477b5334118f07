-- Everything that left, in the order in which it left; `departed` paces the replay and is not part of the event.
SELECT carrier, flight, origin, dest, dep_delay, scheduled,
       to_timestamp_millis(CAST(scheduled AS BIGINT) + CAST(dep_delay AS BIGINT) * 60000) AS departed
FROM archive.departures
WHERE dep_time IS NOT NULL AND dep_delay IS NOT NULL
ORDER BY departed, carrier, flight, origin
