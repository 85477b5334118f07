-- The access log, a line a record, as the web servers write it:
--   GET 10.3.7.41 /purchase/m1042/list?itembox=1&minprice=20&since=20220830-123542 HTTP/1.1
-- The event time is what stands behind since=. Lines come out of order; ten minutes of patience cover most of them. A line of
-- another form has no event time: it is counted (mulgil view show) and belongs to no window.
CREATE TABLE access (
  line STRING,
  at AS TRY_CAST(regexp_replace(line, '^.*[?&]since=(\d{4})(\d\d)(\d\d)-(\d\d)(\d\d)(\d\d) .*$', '\1-\2-\3T\4:\5:\6') AS TIMESTAMP(3)),
  source_ip AS REGEXP_EXTRACT(line, '^GET (\S+) ', 1),
  user_id AS REGEXP_EXTRACT(line, ' /purchase/([^/]+)/list', 1),
  itembox AS TRY_CAST(REGEXP_EXTRACT(line, '[?&]itembox=(\d+)', 1) AS INT),
  min_price AS TRY_CAST(REGEXP_EXTRACT(line, '[?&]minprice=(\d+)', 1) AS INT),
  WATERMARK FOR at AS at - INTERVAL '10' MINUTE
) WITH ('connector' = 'log', 'topic' = 'access', 'format' = 'raw');
