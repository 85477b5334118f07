-- Not of Nexmark: bids per ten seconds, which batch engines are compared on.
SELECT window_start, COUNT(*) AS bids
FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(date_time), INTERVAL '10' SECOND))
GROUP BY window_start, window_end
