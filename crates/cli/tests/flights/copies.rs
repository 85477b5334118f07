//! The matrix of transfers: a day is copied from every kind of source into every kind of target in every way of writing, by one flow;
//! then once more. Each target holds exactly the day.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use crate::cluster::Cluster;
use crate::program::Folder;

/// Where rows come from: a name, and how its table is declared.
const SOURCES: [(&str, &str); 8] = [
    ("csv", "'connector' = 'filesystem', 'path' = 'data/csv', 'format' = 'csv'"),
    ("json", "'connector' = 'filesystem', 'path' = 'data/json', 'format' = 'json'"),
    ("parquet", "'connector' = 'filesystem', 'path' = 'data/parquet', 'format' = 'parquet'"),
    ("lake", "'connector' = 'delta'"),
    ("database", "DATABASE, 'table-name' = 'orders'"),
    ("topic", "'connector' = 'log', 'topic' = 'orders', 'format' = 'json'"),
    ("web_csv", "'connector' = 'http', 'url' = 'WEB/orders.csv?from={{ data_interval_start }}', 'format' = 'csv'"),
    (
        "web_json",
        "'connector' = 'http', 'url' = 'WEB/orders.json?day={{ ds }}', 'format' = 'json', 'records' = 'data.rows', 'header.x-key' = 'k'",
    ),
];

/// Where they go: a name, how its table is declared, and the ways in which it can be written.
const TARGETS: [(&str, &str, &[&str]); 4] = [
    ("lake", "'connector' = 'delta'", &["replace_table", "replace_partition", "merge", "append"]),
    ("database", "DATABASE, 'table-name' = 'TABLE'", &["replace_table", "replace_partition", "merge", "append"]),
    (
        "files",
        "'connector' = 'filesystem', 'path' = 'out/TABLE', 'format' = 'json'",
        &["replace_table", "replace_partition", "append"],
    ),
    ("topic", "'connector' = 'log', 'topic' = 'TABLE', 'format' = 'json'", &["append"]),
];

/// The id and the time of each row: four a day, on the first three days of the year.
fn orders() -> impl Iterator<Item = (u64, String)> {
    (1..=3).flat_map(|day| (0..4).map(move |n| (day * 10 + n, format!("2024-01-0{day} {:02}:00:00", n * 7))))
}

/// Serves the orders: all of them as CSV, and those of a day as JSON, in pages of three.
fn serve_web() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            answer(connection.unwrap());
        }
    });
    address
}

fn answer(mut connection: TcpStream) {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    let (mut line, mut header, mut has_key) = (String::new(), String::new(), false);
    reader.read_line(&mut line).unwrap();
    while reader.read_line(&mut header).unwrap() > 2 {
        has_key |= header.trim() == "x-key: k";
        header.clear();
    }
    let path = line.split(' ').nth(1).unwrap();
    let (status, more, body) = if path == "/orders.csv?from=2024-01-02T00:00:00Z" {
        let rows: String = orders().map(|(id, at)| format!("{id},new,{at}\n")).collect();
        ("200 OK", String::new(), format!("id,v,at\n{rows}"))
    } else if path.starts_with("/orders.json?day=2024-01-02") && has_key {
        let rows: Vec<String> = orders()
            .filter(|(_, at)| at.starts_with("2024-01-02"))
            .map(|(id, at)| format!("{{\"id\": {id}, \"v\": \"new\", \"at\": \"{at}\"}}"))
            .collect();
        let is_second = path.ends_with("page=2");
        let page = if is_second { rows[3..].join(",") } else { rows[..3].join(",\n") };
        let link = "link: </orders.json?day=2024-01-02&page=1>; rel=\"first\", <?day=2024-01-02&page=2>; rel=next\r\n";
        let more = if is_second { String::new() } else { link.to_owned() };
        ("200 OK", more, format!("{{\"data\": {{\"rows\": [{page}]}}}}"))
    } else {
        ("404 Not Found", String::new(), format!("there is no {path}"))
    };
    let length = body.len();
    write!(connection, "HTTP/1.1 {status}\r\n{more}content-length: {length}\r\nconnection: close\r\n\r\n{body}")
        .unwrap();
}

/// Lays the project out; the names of the targets.
fn lay_out(folder: &Folder) -> Vec<String> {
    let cluster = Cluster::shared();
    cluster.run("CREATE DATABASE copies");
    let url = cluster.url().replace("/postgres", "/copies");
    let values: Vec<String> = orders().map(|(id, at)| format!("({id}, 'new', TIMESTAMP '{at}')")).collect();
    let values = values.join(", ");
    cluster.run_in(&url, &format!("CREATE TABLE orders AS SELECT * FROM (VALUES {values}) AS t (id, v, at)"));
    let (database, web) = (format!("'connector' = 'postgres', 'url' = '{url}'"), serve_web());
    let filled = |with: &str, name: &str| {
        with.replace("DATABASE", &database).replace("WEB", &web).replace("TABLE", name).replace("copied.", "")
    };
    let columns = "id BIGINT, v STRING, at TIMESTAMP(6)";
    let (mut tables, mut tasks, mut targets) = (String::new(), String::new(), Vec::new());
    for (source, with) in SOURCES {
        tables +=
            &format!("CREATE TABLE {source} ({columns}, WATERMARK FOR at AS at) WITH ({});\n", filled(with, source));
        for (target, with, ways) in TARGETS {
            for way in ways {
                let name = format!("{source}_to_{target}_{way}");
                let (more, by) = match *way {
                    "replace_partition" => (", day DATE", " PARTITIONED BY (day)"),
                    _ => ("", ""),
                };
                tables += &format!("CREATE TABLE {name} ({columns}{more}){by} WITH ({});\n", filled(with, &name));
                let key = if *way == "merge" { "\n    key: id" } else { "" };
                tasks += &format!("  {name}:\n    transfer: {{from: {source}, to: {name}}}\n    write: {way}{key}\n");
                if target == "database" {
                    let key = if *way == "merge" { ", UNIQUE (id)" } else { "" };
                    let columns = "id int8, v text, at timestamp, day date";
                    cluster.run_in(&url, &format!("CREATE TABLE {name} ({columns}{key})"));
                }
                targets.push(name);
            }
        }
    }
    folder.write("mulgil.yaml", "name: copies\n");
    folder.write("sources/tables.sql", &tables);
    folder.write(
        "flows/copies.yaml",
        &format!("flow: copies\nschedule: {{cron: '@daily', timezone: UTC}}\ntasks:\n{tasks}"),
    );
    for source in ["csv", "json", "parquet", "lake", "topic"] {
        folder.succeed(&[
            "sql",
            "-c",
            &format!("INSERT INTO {source} (id, v, at) SELECT * FROM (VALUES {values}) AS t"),
        ]);
    }
    targets
}

#[test]
fn a_day_is_copied_from_everywhere_to_everywhere_in_every_way_and_again() {
    let folder = Folder::new();
    let targets = lay_out(&folder);
    assert_eq!(targets.len(), SOURCES.len() * 12);
    let sums: Vec<String> = targets
        .iter()
        .map(|name| format!("SELECT '{name}' AS name, count(*) AS n, sum(id) AS ids, min(at) AS first FROM {name}"))
        .collect();
    for _ in 0..2 {
        let said = folder.succeed(&["flow", "test", "flows/copies.yaml", "--date", "2024-01-02"]);
        assert!(!said.contains("failed"), "{said}");
        let csv = folder.succeed(&["sql", "--format", "csv", "-c", &sums.join(" UNION ALL ")]);
        let wrong: Vec<&str> =
            csv.lines().skip(1).filter(|line| !line.ends_with(",4,86,2024-01-02T00:00:00")).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert_eq!(csv.lines().count(), targets.len() + 1);
    }
}
