-- Average selling price for a seller: over the last ten auctions that were won. Apache Flink cannot run it.
SELECT seller, AVG(final) OVER (
  PARTITION BY seller ORDER BY date_time ROWS BETWEEN 10 PRECEDING AND CURRENT ROW
) AS average
FROM (
  SELECT seller, final, date_time
  FROM (
    SELECT a.seller, b.price AS final, b.date_time,
      ROW_NUMBER() OVER (PARTITION BY a.id, a.seller ORDER BY b.price DESC, b.date_time ASC) AS row_num
    FROM auction AS a
    JOIN bid AS b ON a.id = b.auction
    WHERE b.date_time BETWEEN a.date_time AND a.expires
  ) AS offers
  WHERE row_num <= 1
) AS won
