//! The bundled project's view over the whole year: batch and stream give the same rows.

use std::path::Path;

use mulgil_serving::run::{Mode, RunOptions};

use crate::fixture::{Project, sorted};

const VIEW: &str = "SELECT origin, window_start, flights, mean_delay FROM delays_per_hour";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_year_is_the_same_in_batch_and_stream() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/flights");
    let project = Project::over(Some(&example));
    let read = |file: &str| std::fs::read_to_string(example.join(file)).unwrap();
    let catalog = project.catalog(&format!("{};{}", read("sources/departures.sql"), read("views/delays_per_hour.sql")));
    let replay = read("sql/replay.sql");
    let events = format!(
        "INSERT INTO departures SELECT carrier, flight, origin, dest, dep_delay, scheduled FROM ({}) ORDER BY departed, \
         carrier, flight, origin",
        replay.trim().trim_end_matches(';')
    );
    project.batch(&catalog, &events).await;
    let batch = sorted(project.batch(&catalog, VIEW).await);
    let stream = sorted(project.stream(&catalog, VIEW, 2).await);
    assert!(batch.len() > 15_000, "{} rows", batch.len());
    assert_eq!(batch.len(), stream.len());
    assert_eq!(batch, stream);

    // The test can fail: without allowed lateness, late aircraft are missing.
    let query = "SELECT origin, window_start, count(*) AS flights, avg(dep_delay) AS mean_delay
        FROM TUMBLE(TABLE departures, DESCRIPTOR(scheduled), INTERVAL '1' HOUR) GROUP BY origin, window_start, window_end";
    let options = RunOptions { mode: Mode::Stream, ..RunOptions::default() };
    let punctual = sorted(project.run(&catalog, query, &options).await.unwrap());
    assert_ne!(punctual, batch);
}
