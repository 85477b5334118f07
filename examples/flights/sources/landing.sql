-- The landing zone: one CSV file a day, as the airlines deliver it. Times are wall clock in New York, NA is null.
CREATE TABLE landing.departures (
  year INT, month INT, dep_time INT, sched_dep_time INT, dep_delay DOUBLE, arr_delay DOUBLE,
  carrier VARCHAR, flight INT, tailnum VARCHAR, origin VARCHAR, dest VARCHAR, air_time DOUBLE, distance DOUBLE,
  hour INT NOT NULL, minute INT NOT NULL,
  day DATE,
  scheduled AS to_timestamp_millis(CAST(CAST(day AS INT) AS BIGINT) * 86400000 + hour * 3600000 + minute * 60000),
  WATERMARK FOR scheduled AS scheduled
) PARTITIONED BY (day) WITH (
  'connector' = 'filesystem', 'path' = 'data/landing/departures', 'format' = 'csv', 'csv.null-literal' = 'NA'
);
