//! `mulgil sql` over files and URLs, by the real program, in a folder that is no project.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::program::mulgil;

fn sql(folder: &Path, text: &str) -> Command {
    let mut command = mulgil();
    command.current_dir(folder).args(["sql", "--format", "csv", "-c", text]);
    command
}

fn rows(folder: &Path, text: &str) -> Vec<String> {
    let output = sql(folder, text).output().expect("mulgil runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}: {errors}");
    String::from_utf8_lossy(&output.stdout).lines().skip(1).map(str::to_owned).collect()
}

fn error(folder: &Path, text: &str) -> String {
    let output = sql(folder, text).output().expect("mulgil runs");
    assert!(!output.status.success(), "{text}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn packed(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).expect("memory");
    encoder.finish().expect("memory")
}

/// Answers every request with one of these files; gives its address.
fn serve(files: Vec<(&'static str, Vec<u8>)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut lines = BufReader::new(stream.try_clone().expect("a connection")).lines();
            let line = lines.next().expect("a request").expect("text");
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
            let file = files.iter().find(|(name, _)| *name == path);
            let status = if file.is_some() { "200 OK" } else { "404 Not Found" };
            let body = file.map(|(_, body)| body.as_slice()).unwrap_or_default();
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        }
    });
    address
}

#[test]
fn files_patterns_urls_and_standard_input_are_read_without_a_project() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).expect("a file");
    let csv = "shop,day,euros,share\nnorth,2024-01-01,3,0.5\nsouth,2024-01-02,,\n\"it's, here\",2024-01-03,4,1\n";
    write("sales.csv", csv.as_bytes());
    write("sales.tsv.gz", &packed(&csv.replace("\"it's, here\"", "it's here").replace(',', "\t")));
    write("more-1.csv.gz", &packed("shop,euros\neast,1\n"));
    write("more-2.csv", b"shop,euros\nwest,2\n");
    write("shops.jsonl", b"{\"shop\": \"north\", \"boss\": \"Kim\", \"open\": true}\n{\"shop\": \"south\", \"boss\": null, \"open\": false}\n");
    write("array.json", b"\n [{\"n\": 1, \"t\": \"a\", \"o\": {\"x\": [1]}},\n {\"n\": 2, \"t\": \"b\"}]");
    let at = dir.path();
    // Types are those of the values.
    let typed = "SELECT shop, euros + 1 AS more, day + INTERVAL '1' DAY < DATE '2024-01-03' AS early FROM 'sales.csv' ORDER BY shop";
    assert_eq!(rows(at, typed), ["\"it's, here\",5,false", "north,4,true", "south,,false"]);
    assert_eq!(rows(at, "SELECT count(*), sum(euros), max(share) FROM 'sales.tsv.gz'"), ["3,7,1.0"]);
    assert_eq!(rows(at, "SELECT shop, euros FROM 'more-*.csv*' ORDER BY euros"), ["east,1", "west,2"]);
    let joined = "SELECT s.shop, boss, euros FROM 'sales.csv' AS s JOIN 'shops.jsonl' AS o ON s.shop = o.shop AND open";
    assert_eq!(rows(at, joined), ["north,Kim,3"]);
    assert_eq!(rows(at, "SELECT sum(n), min(t) FROM 'array.json'"), ["3,a"]);
    assert_eq!(rows(at, "SELECT count(*) FROM 'sales.csv' AS a CROSS JOIN 'sales.csv' AS b"), ["9"]);
    // What this makes itself, as Parquet.
    let into = "CREATE TABLE sold (shop STRING, euros BIGINT, day DATE) WITH ('connector' = 'filesystem', 'path' = 'sold.parquet', \
                'format' = 'parquet'); INSERT INTO sold SELECT shop, euros, day FROM 'sales.csv'";
    rows(at, into);
    assert_eq!(rows(at, "SELECT count(*), max(day) FROM 'sold.parquet'"), ["3,2024-01-03"]);

    let parquet = std::fs::read(at.join("sold.parquet")).expect("a file");
    let address = serve(vec![
        ("/sales.csv", csv.as_bytes().to_vec()),
        ("/x.parquet", parquet),
        ("/api?day=1", b"[{\"n\": 1}, {\"n\": 41}]".to_vec()),
        ("/packed", packed("a,b\n1,x\n")),
    ]);
    assert_eq!(rows(at, &format!("SELECT sum(euros) FROM '{address}/sales.csv'")), ["7"]);
    assert_eq!(rows(at, &format!("SELECT max(day) FROM '{address}/x.parquet'")), ["2024-01-03"]);
    assert_eq!(rows(at, &format!("SELECT sum(n) FROM '{address}/api?day=1'")), ["42"]);
    assert_eq!(rows(at, &format!("SELECT a, b FROM '{address}/packed'")), ["1,x"]);

    for (input, query, expected) in [
        (csv.as_bytes().to_vec(), "SELECT sum(euros) FROM '-'", "7"),
        (b"{\"n\": 5}\n".to_vec(), "SELECT n FROM '-'", "5"),
    ] {
        let mut child = sql(at, query).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("mulgil runs");
        child.stdin.take().expect("a pipe").write_all(&input).expect("it reads");
        let mut text = String::new();
        child.stdout.take().expect("a pipe").read_to_string(&mut text).expect("text");
        assert_eq!((child.wait().expect("it ends").success(), text.lines().nth(1)), (true, Some(expected)));
    }

    // What cannot be read is said, with its name.
    for (query, said) in [
        ("SELECT * FROM 'nothing.csv'".to_owned(), "there is no such file"),
        ("SELECT * FROM 'nothing-*.csv'".to_owned(), "no file has such a name"),
        (format!("SELECT * FROM '{address}/nothing.csv'"), "404"),
        ("SELECT * FROM 'http://127.0.0.1:1/x.csv'".to_owned(), "127.0.0.1:1"),
        ("SELECT nothing FROM 'sales.csv'".to_owned(), "nothing"),
    ] {
        let error = error(at, &query);
        assert!(error.contains(said), "{query}: {error}");
    }
    write("empty.csv", b"");
    write("broken.parquet", b"PAR1 and no more");
    write("later.csv", format!("n\n{}x\n", "1\n".repeat(10_000)).as_bytes());
    assert!(error(at, "SELECT * FROM 'empty.csv'").contains("empty.csv"));
    assert!(error(at, "SELECT * FROM 'broken.parquet'").contains("broken.parquet"));
    let later = error(at, "SELECT sum(n) FROM 'later.csv'");
    assert!(later.contains("10002") && later.contains('x'), "{later}");
}
