//! All flights of 2013, as the airlines wrote them.

use std::path::Path;

use super::project::{Project, table};

#[tokio::test]
async fn the_whole_year_is_read() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = repository.join("examples/flights/data/flights.csv.gz");
    let columns = "year INT, month INT, day INT, dep_time INT, sched_dep_time INT, dep_delay DOUBLE, arr_time INT, \
                   sched_arr_time INT, arr_delay DOUBLE, carrier STRING, flight INT, tailnum STRING, origin STRING, \
                   dest STRING, air_time DOUBLE, distance DOUBLE, hour INT, minute INT, time_hour TIMESTAMP";
    let path = path.to_string_lossy();
    let options = [("connector", "filesystem"), ("path", &*path), ("format", "csv"), ("csv.null-literal", "NA")];
    let flights = table("flights", columns, &options);
    let started = std::time::Instant::now();
    let sql = "SELECT count(*) AS n, count(dep_delay) AS departed, sum(dep_delay) AS delay, \
               count(DISTINCT tailnum) AS planes, min(time_hour) AS first, max(time_hour) AS last FROM t";
    let result = Project::new().query(&flights, sql).await.unwrap();
    // As R's nycflights13 says it.
    insta::assert_snapshot!(result, @r"
    +--------+----------+-----------+--------+---------------------+---------------------+
    | n      | departed | delay     | planes | first               | last                |
    +--------+----------+-----------+--------+---------------------+---------------------+
    | 336776 | 328521   | 4152200.0 | 4043   | 2013-01-01T10:00:00 | 2014-01-01T04:00:00 |
    +--------+----------+-----------+--------+---------------------+---------------------+
    ");
    assert!(started.elapsed().as_secs() < 120, "reading took {:?}", started.elapsed());
}
