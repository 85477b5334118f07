-- The stream: every aircraft that left, in the order in which it left. The event time is the scheduled departure, so a
-- late aircraft is a late row. Two hours of patience cover most of them; the view decides what happens to the rest.
CREATE TABLE departures (
  carrier VARCHAR, flight INT, origin VARCHAR, dest VARCHAR, dep_delay DOUBLE, scheduled TIMESTAMP(3),
  WATERMARK FOR scheduled AS scheduled - INTERVAL '2' HOUR
) WITH ('connector' = 'log', 'topic' = 'departures', 'format' = 'json');

-- The year as one file: what `mulgil log replay` reads to fill the topic.
CREATE TABLE archive.departures (
  year INT, month INT, day INT, dep_time INT, dep_delay DOUBLE, carrier VARCHAR, flight INT, origin VARCHAR,
  dest VARCHAR, hour INT, minute INT,
  scheduled AS to_timestamp_millis(
    CAST(CAST(make_date(year, month, day) AS INT) AS BIGINT) * 86400000 + hour * 3600000 + minute * 60000)
) WITH ('connector' = 'filesystem', 'path' = 'data/flights.csv.gz', 'format' = 'csv', 'csv.null-literal' = 'NA');
