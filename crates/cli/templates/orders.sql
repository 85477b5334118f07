-- A table over a folder of CSV files, with event time.
CREATE TABLE orders (
  id INT NOT NULL, customer VARCHAR, amount DOUBLE, ordered TIMESTAMP(3),
  WATERMARK FOR ordered AS ordered - INTERVAL '1' MINUTE
) WITH ('connector' = 'filesystem', 'path' = 'data/orders.csv', 'format' = 'csv');

-- A table in the lake: a Delta table with one partition a day.
CREATE TABLE mart.customers (
  customer VARCHAR, orders BIGINT, amount DOUBLE, day DATE
) PARTITIONED BY (day) WITH ('connector' = 'delta');
