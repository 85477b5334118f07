-- Hot items: the auctions with the most bids in the last ten seconds, every two seconds.
SELECT bids.auction, bids.num
FROM (
  SELECT auction, COUNT(*) AS num, window_start, window_end
  FROM TABLE(HOP(TABLE bid, DESCRIPTOR(date_time), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
  GROUP BY auction, window_start, window_end
) AS bids
JOIN (
  SELECT MAX(num) AS num_max, window_start, window_end
  FROM (
    SELECT auction, COUNT(*) AS num, window_start, window_end
    FROM TABLE(HOP(TABLE bid, DESCRIPTOR(date_time), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
    GROUP BY auction, window_start, window_end
  ) AS counted
  GROUP BY window_start, window_end
) AS most
ON bids.window_start = most.window_start AND bids.window_end = most.window_end AND bids.num >= most.num_max
