SELECT origin, carrier,
       count(*) AS flights,
       count(*) FILTER (WHERE dep_time IS NULL) AS cancelled,
       avg(dep_delay) AS mean_delay,
       percentile_cont(0.9) WITHIN GROUP (ORDER BY dep_delay) AS p90_delay,
       DATE '{{ ds }}' AS day
FROM raw.departures
WHERE day = DATE '{{ ds }}'
GROUP BY origin, carrier
