//! The SQL port of the real program, asked what Grafana's PostgreSQL data source asks.

use crate::program::Folder;
use crate::sql_house::{House, python};

const READINGS: &str =
    "CREATE TABLE readings (t TIMESTAMP, moment TIMESTAMP_LTZ, epoch BIGINT, metric VARCHAR, value DOUBLE)
WITH ('connector' = 'filesystem', 'path' = 'data/readings.csv', 'format' = 'csv');
";
const ROWS: &str = "t,moment,epoch,metric,value
2013-01-01 00:00:30,2013-01-01T00:00:30Z,1356998430,a,1.5
2013-01-01 00:01:10,2013-01-01T00:01:10Z,1356998470,a,2.5
2013-01-01 00:01:20,2013-01-01T00:01:20Z,1356998480,b,4
2013-01-01 00:05:00,2013-01-01T00:05:00Z,1356998700,b,8
";

#[test]
fn the_questions_of_grafanas_data_source_are_answered() {
    let folder = Folder::new();
    folder.write("sources/readings.sql", READINGS);
    folder.write("data/readings.csv", ROWS);
    let house = House::with(folder, "", &[]);
    python("grafana_client.py", &["127.0.0.1", &house.port()]);
}
