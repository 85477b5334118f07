-- Bounded side input: each bid with a word from a file.
SELECT b.auction, b.bidder, b.price, b.date_time, s.word
FROM bid_now AS b
JOIN side_input FOR SYSTEM_TIME AS OF b.p_time AS s ON MOD(b.auction, 10000) = s.id
