//! The whole year of flights in the four modes: one definition, and at the end the same rows.

use std::path::Path;
use std::time::Duration;

use mulgil_connect::definition::TableName;
use mulgil_serving::run::collect;
use mulgil_serving::status::ViewStatus;
use mulgil_serving::views::{ReplayOptions, Views, ViewsOptions};

use crate::fixture::{Project, sorted, text_rows};

const PATIENCE: Duration = Duration::from_secs(120);

/// The latest aircraft left 22 hours after its time.
const DEPARTURES: &str = "CREATE TABLE departures (
      carrier VARCHAR, flight INT, origin VARCHAR, dest VARCHAR, dep_delay DOUBLE, scheduled TIMESTAMP(3),
      WATERMARK FOR scheduled AS scheduled - INTERVAL '1' DAY
    ) WITH ('connector' = 'log', 'topic' = 'departures', 'format' = 'json')";

/// A flight of the next year, after which every window of this one has ended.
const CLOSING: &str =
    "INSERT INTO departures VALUES ('-', 0, '-', '-', CAST(0 AS DOUBLE), TIMESTAMP '2014-01-10 00:00:00')";

/// Queries, options of theirs, how many rows they have at least, and the condition under which the next year's flight is left out.
const QUERIES: [(&str, &str, usize, &str); 3] = [
    (
        "SELECT origin, window_end, count(*) AS flights, sum(dep_delay) AS delay, max(dep_delay) AS worst
         FROM TUMBLE(TABLE departures, DESCRIPTOR(scheduled), INTERVAL '1' HOUR) GROUP BY origin, window_start, window_end",
        "",
        15_000,
        "window_end < TIMESTAMP '2014-01-09 00:00:00'",
    ),
    (
        "SELECT origin, carrier, window_start, window_end, count(*) AS flights, avg(dep_delay) AS delay
         FROM SESSION(TABLE departures PARTITION BY origin, carrier, DESCRIPTOR(scheduled), INTERVAL '3' HOUR)
         GROUP BY origin, carrier, window_start, window_end",
        ", 'session-max' = '1 d'",
        10_000,
        "window_end < TIMESTAMP '2014-01-09 00:00:00'",
    ),
    (
        "SELECT origin, carrier, count(*) AS flights, avg(dep_delay) AS delay, min(dep_delay) AS best, max(dep_delay) AS worst
         FROM departures GROUP BY origin, carrier",
        ", 'pane' = '1 d'",
        30,
        "carrier <> '-'",
    ),
];

const MODES: [&str; 4] = ["FULL", "CONTINUOUS", "LAMBDA", "KAPPA"];

fn view_of(query: usize, mode: &str) -> TableName {
    TableName::parse(&format!("q{query}_{}", mode.to_lowercase()))
}

fn declared() -> String {
    let mut text = String::new();
    for (number, (query, options, ..)) in QUERIES.iter().enumerate() {
        for mode in MODES {
            let name = view_of(number, mode);
            text += &format!(
                ";\nCREATE MATERIALIZED TABLE {name} WITH ('checkpoint-interval' = '1 s'{options}) REFRESH_MODE = {mode} AS {query}"
            );
        }
    }
    text
}

async fn until(views: &Views, view: &TableName, what: &str, wanted: impl Fn(&ViewStatus) -> bool) {
    let mut news = views.subscribe();
    let waiting = async {
        while !wanted(&views.status(view).unwrap()) {
            // Archives make no news.
            let _ = tokio::time::timeout(Duration::from_millis(100), news.recv()).await;
        }
    };
    if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
        panic!("{view} is not {what}: {:#?}", views.status(view));
    }
}

/// Milliseconds of 2014-01-09.
const END_MS: i64 = 1_389_225_600_000;

fn has_ended(status: &ViewStatus) -> bool {
    let archives = status.layers.iter().flat_map(|layers| &layers.archives).map(|archive| archive.watermark_ms);
    archives.chain([status.watermark_ms]).all(|watermark| watermark.is_some_and(|ms| ms >= END_MS))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_year_is_the_same_in_all_four_modes() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/flights");
    let project = Project::over(Some(&example));
    let read = |file: &str| std::fs::read_to_string(example.join(file)).unwrap();
    // The year as one file is declared after the topic.
    let sources = read("sources/departures.sql");
    let file = &sources[sources.find("CREATE TABLE archive.departures").unwrap()..];
    let file = file.trim().trim_end_matches(';').replace("archive.departures", "year_of_flights");
    let catalog = project.catalog(&format!("{DEPARTURES};\n{file}{}", declared()));
    let left = read("sql/replay.sql").replace("archive.departures", "year_of_flights");
    let events = format!(
        "INSERT INTO departures SELECT carrier, flight, origin, dest, dep_delay, scheduled FROM ({}) ORDER BY departed, \
         carrier, flight, origin",
        left.trim().trim_end_matches(';')
    );
    project.batch(&catalog, &events).await;

    let options = ViewsOptions {
        parallelism: 1,
        results_dir: Some(project.dir.path().join("views")),
        checkpoints_dir: Some(project.dir.path().join("checkpoints")),
        ..ViewsOptions::default()
    };
    let views = Views::new(catalog.clone(), project.connectors.clone(), options);
    views.start_all().await;
    project.batch(&catalog, CLOSING).await;
    for (number, (query, _, rows_min, this_year)) in QUERIES.iter().enumerate() {
        let mut truth = Vec::new();
        for mode in MODES {
            let view = view_of(number, mode);
            match mode {
                "FULL" => drop(views.refresh(&view).await.unwrap()),
                _ => until(&views, &view, "at the end", has_ended).await,
            }
            match mode {
                "LAMBDA" => drop(views.refresh(&view).await.unwrap()),
                "KAPPA" => {
                    views.replay(&view, &ReplayOptions::default()).await.unwrap();
                    until(&views, &view, "replayed", |status| status.generation == 2 && has_ended(status)).await;
                }
                _ => {}
            }
            let sql = format!("SELECT * FROM {view} WHERE {this_year}");
            let rows = async || sorted(text_rows(&collect(views.query(&sql).await.unwrap()).await.unwrap().1));
            if mode == "FULL" {
                truth = rows().await;
                assert!(truth.len() > *rows_min, "{} rows of {query}", truth.len());
                continue;
            }
            let same = async {
                while rows().await != truth {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            };
            if tokio::time::timeout(PATIENCE, same).await.is_err() {
                panic!("{mode}: {} rows, not the same {}, of {query}", rows().await.len(), truth.len());
            }
        }
    }
    views.shutdown().await;
}
