-- The landing zone: one CSV file a day, as the airlines deliver it. Times are wall clock in New York, NA is null.
CREATE TABLE landing.departures (
  dep_time INT, dep_delay DOUBLE, arr_delay DOUBLE, carrier VARCHAR NOT NULL, flight INT, tailnum VARCHAR,
  origin VARCHAR NOT NULL, dest VARCHAR, air_time DOUBLE, distance DOUBLE, hour INT NOT NULL, minute INT NOT NULL,
  flight_date DATE,
  day AS flight_date,
  scheduled AS to_timestamp_millis(CAST(CAST(flight_date AS INT) AS BIGINT) * 86400000 + hour * 3600000 + minute * 60000)
) PARTITIONED BY (flight_date) WITH (
  'connector' = 'filesystem', 'path' = 'data/landing/departures', 'format' = 'csv', 'csv.null-literal' = 'NA'
);
