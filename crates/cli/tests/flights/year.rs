//! The year as a stream: the view in stream mode, in batch mode, and computed by hand are the same rows.

use crate::oracle;
use crate::program::Project;

const VIEW: &str = "SELECT origin, window_start, flights, \
     CAST(round(mean_delay * flights) AS BIGINT) AS delay FROM delays_per_hour";

#[test]
fn stream_and_batch_give_the_same_rows_for_the_whole_year() {
    let project = Project::new();
    let replay =
        ["log", "replay", "departures", "--query", "sql/replay.sql", "--pace", "departed", "--speed", "unlimited"];
    let query = project.path().join("sql/replay.sql");
    let query = query.to_str().expect("a path");
    let replay = replay.map(|argument| if argument == "sql/replay.sql" { query } else { argument });
    project.succeed(&replay);

    let departures = oracle::departures();
    let expected = oracle::hourly(&departures);
    let left = departures.iter().filter(|departure| departure.delay.is_some()).count();
    let topics = project.succeed(&["log", "topics", "--format", "csv"]);
    assert!(topics.contains(&format!("departures,0,0,{left},")), "{topics}");

    // A second replay finds everything there.
    project.succeed(&replay);
    assert_eq!(project.succeed(&["log", "topics", "--format", "csv"]), topics);

    let batch = project.rows(VIEW);
    assert_eq!(batch.len(), expected.len());
    assert_eq!(batch, expected, "batch mode is what the data says");

    let whole = "SELECT origin, window_start, count(*) AS flights, CAST(sum(dep_delay) AS BIGINT) AS delay \
         FROM TUMBLE(TABLE departures, DESCRIPTOR(scheduled), INTERVAL '1' HOUR) \
         GROUP BY origin, window_start, window_end";
    let patient = project.path().join("patient.sql");
    // Twenty-two hours of patience: the longest delay of the year is 21 hours and 41 minutes.
    let definition = std::fs::read_to_string(project.path().join("sources/departures.sql")).expect("the source");
    let table = definition.split("CREATE TABLE ").nth(1).expect("the first statement");
    let table = table.replace("departures (", "patient (").replace("INTERVAL '2' HOUR", "INTERVAL '22' HOUR");
    let table = table.split(");").next().expect("its end");
    let text = format!("CREATE TABLE {table});\n{};", whole.replace("departures", "patient"));
    std::fs::write(&patient, text).expect("a query file");
    let patient = patient.to_str().expect("a path");
    let stream =
        crate::program::sorted_rows(&project.succeed(&["sql", patient, "--mode", "stream", "--format", "csv"]));
    assert_eq!(stream, expected, "stream mode with enough patience");

    let view = project.succeed(&["sql", "--mode", "stream", "--format", "csv", "-c", VIEW]);
    assert_eq!(crate::program::sorted_rows(&view), expected, "the view in stream mode: late rows have corrected it");
}
