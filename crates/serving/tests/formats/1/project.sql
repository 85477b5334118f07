CREATE TABLE events (k VARCHAR, id INT, n INT, d DOUBLE, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'log', 'topic' = 'events', 'format' = 'json');
CREATE TABLE rates (k VARCHAR, rate INT, at TIMESTAMP(3), WATERMARK FOR at AS at - INTERVAL '5' SECOND, PRIMARY KEY (k) NOT ENFORCED)
WITH ('connector' = 'log', 'topic' = 'rates', 'format' = 'json');
CREATE MATERIALIZED TABLE rolling REFRESH_MODE = CONTINUOUS AS
SELECT k, count(*) AS c, sum(n) AS s, avg(d) AS a, min(n) AS low, max(n) AS high, median(n) AS m, bool_or(n > 5) AS b FROM events GROUP BY k;
CREATE MATERIALIZED TABLE distinct_values REFRESH_MODE = CONTINUOUS AS
SELECT k, count(DISTINCT n) AS c, sum(DISTINCT n) AS s, count(DISTINCT d) FILTER (WHERE n > 3) AS f FROM events GROUP BY k;
CREATE MATERIALIZED TABLE of_changes REFRESH_MODE = CONTINUOUS AS
SELECT k, c, count(*) AS times, sum(s) AS total, max(s) AS most, avg(s) AS mean FROM
(SELECT k, n, count(*) AS c, sum(d) AS s FROM events GROUP BY k, n) GROUP BY k, c;
CREATE MATERIALIZED TABLE keys REFRESH_MODE = CONTINUOUS AS SELECT DISTINCT k, n % 3 AS part FROM events;
CREATE MATERIALIZED TABLE kept_for_a_while WITH ('state-ttl' = '10000 d') REFRESH_MODE = CONTINUOUS AS
SELECT k, count(*) AS c, sum(d) AS s FROM events GROUP BY k;
CREATE MATERIALIZED TABLE tumbling REFRESH_MODE = CONTINUOUS AS
SELECT k, window_start, count(*) AS c, sum(n) AS s, avg(d) AS a, count(DISTINCT n) AS v
FROM TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '10' SECOND) GROUP BY k, window_start, window_end;
CREATE MATERIALIZED TABLE tumbling_early WITH ('early-fire' = '1 s', 'allowed-lateness' = '10000 d') REFRESH_MODE = CONTINUOUS AS
SELECT k, window_start, count(*) AS c, sum(n) AS s FROM TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '10' SECOND)
GROUP BY k, window_start, window_end;
CREATE MATERIALIZED TABLE hopping REFRESH_MODE = CONTINUOUS AS
SELECT k, window_start, count(*) AS c, max(n) AS s FROM HOP(TABLE events, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '20' SECOND)
GROUP BY k, window_start, window_end;
CREATE MATERIALIZED TABLE cumulating REFRESH_MODE = CONTINUOUS AS
SELECT k, window_start, window_end, count(*) AS c, sum(d) AS s
FROM CUMULATE(TABLE events, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '60' SECOND) GROUP BY k, window_start, window_end;
CREATE MATERIALIZED TABLE sessions REFRESH_MODE = CONTINUOUS AS
SELECT k, window_start, window_end, count(*) AS c, sum(n) AS s
FROM SESSION(TABLE events PARTITION BY k, DESCRIPTOR(ts), INTERVAL '3' SECOND) GROUP BY k, window_start, window_end;
CREATE MATERIALIZED TABLE session_rows REFRESH_MODE = CONTINUOUS AS
SELECT k, id, window_start, window_end FROM SESSION(TABLE events PARTITION BY k, DESCRIPTOR(ts), INTERVAL '3' SECOND);
CREATE MATERIALIZED TABLE counted REFRESH_MODE = CONTINUOUS AS
SELECT k, window_number, count(*) AS c, sum(n) AS s FROM COUNT_TUMBLE(TABLE events PARTITION BY k, DESCRIPTOR(ts), 3) GROUP BY k, window_number HAVING count(*) = 3;
CREATE MATERIALIZED TABLE windows_of_changes REFRESH_MODE = CONTINUOUS AS
SELECT k, window_start, count(*) AS c, sum(n) AS s FROM TUMBLE(
  (SELECT k, id, n, ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k, id % 10 ORDER BY id) AS place FROM events) WHERE place <= 3),
  DESCRIPTOR(ts), INTERVAL '10' SECOND) GROUP BY k, window_start, window_end;
CREATE MATERIALIZED TABLE over_rows REFRESH_MODE = CONTINUOUS AS
SELECT k, id, sum(n) OVER (PARTITION BY k ORDER BY ts ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS s,
lag(n) OVER (PARTITION BY k ORDER BY ts) AS before FROM events;
CREATE MATERIALIZED TABLE over_time REFRESH_MODE = CONTINUOUS AS
SELECT k, id, count(*) OVER (PARTITION BY k ORDER BY ts RANGE BETWEEN INTERVAL '10' SECOND PRECEDING AND CURRENT ROW) AS c FROM events;
CREATE MATERIALIZED TABLE over_all REFRESH_MODE = CONTINUOUS AS
SELECT k, id, sum(n) OVER (PARTITION BY k ORDER BY ts) AS s FROM events;
CREATE MATERIALIZED TABLE over_changes REFRESH_MODE = CONTINUOUS AS
SELECT k, n, c, sum(c) OVER (PARTITION BY k ORDER BY n) AS s FROM (SELECT k, n, count(*) AS c FROM events GROUP BY k, n);
CREATE MATERIALIZED TABLE best REFRESH_MODE = CONTINUOUS AS
SELECT k, id, n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY n DESC, id) AS place FROM events) WHERE place <= 3;
CREATE MATERIALIZED TABLE best_of_changes REFRESH_MODE = CONTINUOUS AS
SELECT k, n, c, place FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY c DESC, n) AS place FROM
(SELECT k, n, count(*) AS c FROM events GROUP BY k, n)) WHERE place <= 2;
CREATE MATERIALIZED TABLE best_of_window REFRESH_MODE = CONTINUOUS AS
SELECT k, window_start, c, place FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY c DESC, k) AS place FROM
(SELECT k, window_start, window_end, count(*) AS c FROM TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '10' SECOND)
GROUP BY k, window_start, window_end)) WHERE place <= 2;
CREATE MATERIALIZED TABLE last REFRESH_MODE = CONTINUOUS AS
SELECT k, part, id FROM (SELECT k, n % 3 AS part, id, ROW_NUMBER() OVER (PARTITION BY k, n % 3 ORDER BY ts DESC) AS place FROM events) WHERE place = 1;
CREATE MATERIALIZED TABLE inner_joined REFRESH_MODE = CONTINUOUS AS
SELECT e.k, e.id, r.rate FROM events AS e JOIN rates AS r ON e.k = r.k AND r.rate > e.n;
CREATE MATERIALIZED TABLE full_joined REFRESH_MODE = CONTINUOUS AS
SELECT coalesce(a.k, b.k) AS k, a.c, b.c AS d FROM (SELECT k, count(*) AS c FROM events WHERE n > 8 GROUP BY k) AS a
FULL JOIN (SELECT k, count(*) AS c FROM rates GROUP BY k) AS b ON a.k = b.k;
CREATE MATERIALIZED TABLE joined_in_time REFRESH_MODE = CONTINUOUS AS
SELECT e.k, e.id, r.rate FROM events AS e LEFT JOIN rates AS r ON e.k = r.k AND e.ts BETWEEN r.at AND r.at + INTERVAL '4' SECOND;
CREATE MATERIALIZED TABLE at_its_time REFRESH_MODE = CONTINUOUS AS
SELECT e.k, e.id, r.rate FROM events AS e LEFT JOIN rates FOR SYSTEM_TIME AS OF e.ts AS r ON e.k = r.k;
CREATE MATERIALIZED TABLE with_a_rate REFRESH_MODE = CONTINUOUS AS
SELECT k, id FROM events WHERE EXISTS (SELECT 1 FROM rates WHERE rates.k = events.k AND rates.rate > events.n);
CREATE MATERIALIZED TABLE without_a_rate REFRESH_MODE = CONTINUOUS AS
SELECT k, id FROM events WHERE k NOT IN (SELECT k FROM rates WHERE rate > 12);
CREATE MATERIALIZED TABLE beside_the_most REFRESH_MODE = CONTINUOUS AS
SELECT k, id, n, (SELECT max(rate) FROM rates) AS most FROM events WHERE n < 3;
CREATE MATERIALIZED TABLE passed_on REFRESH_MODE = CONTINUOUS AS SELECT k, id, n * 2 AS twice FROM events WHERE n > 2
UNION ALL SELECT k, rate, 0 FROM rates;
