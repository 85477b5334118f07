//! A view that is exported to PostgreSQL by the real program, which is killed while it writes: the mart holds the old rows or
//! the new ones, and in the end the new ones, since the run is tried again.

use std::time::{Duration, Instant};

use mulgil_engine::crash::EXPORT_POINTS;

use crate::cluster::Cluster;
use crate::crash::Server;
use crate::program::Folder;

/// Longer than anything here takes, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the mart holds: the count of rows of each generation.
fn mart(project: &Folder) -> Vec<String> {
    let sql = "SELECT g, count(*) AS c FROM mart.daily GROUP BY g ORDER BY g";
    project.succeed(&["sql", "--format", "csv", "-c", sql]).lines().skip(1).map(str::to_owned).collect()
}

fn until_mart(project: &Folder, wanted: &str) {
    let began = Instant::now();
    while mart(project) != [wanted] {
        assert!(began.elapsed() < PATIENCE, "{:?}, not {wanted}", mart(project));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_mart_outlives_kills_at_every_point_of_its_replacement() {
    let cluster = Cluster::shared();
    cluster.run("CREATE DATABASE marts");
    let url = cluster.url().replace("/postgres", "/marts");
    cluster.run_in(&url, "CREATE TABLE daily (g int8, n int8)");
    let project = Folder::new();
    project.write("mulgil.yaml", "");
    project.write(
        "sources/tables.sql",
        &format!(
            "CREATE TABLE lines (g BIGINT, n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'lines.csv', 'format' = 'csv');
             CREATE TABLE mart.daily (g BIGINT, n BIGINT) WITH ('connector' = 'postgres', 'url' = '{url}', 'table-name' = 'daily');"
        ),
    );
    project.write(
        "views/daily.sql",
        "CREATE MATERIALIZED TABLE daily FRESHNESS = INTERVAL '1' SECOND WITH ('export' = 'mart.daily') REFRESH_MODE = FULL
         AS SELECT g, n FROM lines;",
    );
    let write = |generation: usize| {
        let lines: String = (0..20_000).map(|n| format!("{generation},{n}\n")).collect();
        std::fs::write(project.path("lines.csv.new"), format!("g,n\n{lines}")).expect("a file");
        std::fs::rename(project.path("lines.csv.new"), project.path("lines.csv")).expect("a file");
    };
    let serve = |crash: Option<String>| {
        let mut command = project.command(&["server", "--listen", "127.0.0.1:0"]);
        if let Some(point) = crash {
            command.env("MULGIL_CRASH_AT", point);
        }
        Server::start(&mut command)
    };
    write(0);
    let first = serve(None);
    until_mart(&project, "0,20000");
    drop(first);
    for (point, generation) in EXPORT_POINTS.into_iter().zip(1..) {
        write(generation);
        let mut server = serve(Some(format!("{point}:1")));
        let began = Instant::now();
        while server.0.try_wait().expect("a child").is_none() {
            assert!(began.elapsed() < PATIENCE, "it never came to \"{point}\"");
            std::thread::sleep(Duration::from_millis(20));
        }
        let held = if point == "after a mart is replaced" { generation } else { generation - 1 };
        assert_eq!(mart(&project), [format!("{held},20000")], "after \"{point}\"");
        let next = serve(None);
        until_mart(&project, &format!("{generation},20000"));
        drop(next);
    }
}
