-- The lake: Delta tables, one partition a day, so that a day can be replaced as a whole.
CREATE TABLE raw.departures (
  scheduled TIMESTAMP(3) NOT NULL, carrier VARCHAR, flight INT, tailnum VARCHAR, origin VARCHAR, dest VARCHAR,
  dep_time INT, dep_delay DOUBLE, arr_delay DOUBLE, air_time DOUBLE, distance DOUBLE,
  day DATE
) PARTITIONED BY (day) WITH ('connector' = 'delta');

CREATE TABLE mart.daily_delays (
  origin VARCHAR, carrier VARCHAR, flights BIGINT, cancelled BIGINT, mean_delay DOUBLE, p90_delay DOUBLE,
  day DATE
) PARTITIONED BY (day) WITH ('connector' = 'delta');
