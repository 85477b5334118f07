//! The SQL port of the real program, read by real clients of PostgreSQL: `psql` and psycopg.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use crate::program::Folder;

const CITIES: &str = "CREATE TABLE cities_raw (name VARCHAR, people BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'data/cities.csv', 'format' = 'csv');
";
const VIEW: &str = "CREATE MATERIALIZED TABLE cities REFRESH_MODE = FULL AS SELECT name, people FROM cities_raw";

/// A server with its SQL port, that ends with its test.
struct House {
    folder: Folder,
    server: Child,
}

impl House {
    fn open(settings: &str) -> Self {
        Self::with(Folder::new(), settings, None)
    }

    fn with(folder: Folder, settings: &str, token: Option<&str>) -> Self {
        folder.write("mulgil.yaml", settings);
        folder.write("sources/cities.sql", CITIES);
        folder.write("views/cities.sql", VIEW);
        folder.write("data/cities.csv", "name,people\nSeoul,9400000\nBusan,3300000\nOslo,717710\nBern,134794\n");
        let mut server = folder
            .command(&["server", "--listen", "127.0.0.1:0", "--sql-listen", "127.0.0.1:0"])
            .envs(token.map(|token| ("MULGIL_TOKEN", token)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("mulgil runs");
        folder.wait_for_server(&mut server);
        Self { folder, server }
    }

    /// Where the SQL port listens.
    fn port(&self) -> String {
        let place = std::fs::read(self.folder.path(".mulgil/server.json")).expect("the server's place");
        let place: serde_json::Value = serde_json::from_slice(&place).expect("JSON");
        let address = place["sql"].as_str().expect("the SQL port is open");
        address.rsplit_once(':').expect("a port").1.to_owned()
    }

    /// What `psql` says to some commands: standard output, then standard error.
    fn psql(&self, commands: &[&str]) -> (String, String) {
        self.psql_with(&[], commands)
    }

    /// The same, with variables of its environment.
    fn psql_with(&self, variables: &[(&str, &str)], commands: &[&str]) -> (String, String) {
        let mut psql = Command::new("psql");
        psql.arg("-w").envs(variables.iter().copied());
        psql.args(["-X", "-h", "127.0.0.1", "-p", &self.port(), "-U", "tester", "-d", "mulgil"]);
        psql.args(["-v", "VERBOSITY=verbose"]).args(commands);
        let Output { stdout, stderr, .. } = psql.env("PGCLIENTENCODING", "UTF8").output().expect("psql runs");
        (String::from_utf8(stdout).expect("UTF-8"), String::from_utf8(stderr).expect("UTF-8"))
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
fn psql_reads_views_and_is_told_what_is_wrong_and_where() {
    let house = House::open("");
    let (rows, errors) = house.psql(&["-c", "SELECT name, people FROM cities ORDER BY people DESC LIMIT 2"]);
    assert_eq!(errors, "");
    assert_eq!(rows, " name  | people  \n-------+---------\n Seoul | 9400000\n Busan | 3300000\n(2 rows)\n\n");

    let (rows, _) = house.psql(&["-At", "-c", "BEGIN; SELECT count(*) FROM cities; SHOW timezone; COMMIT"]);
    assert_eq!(rows, "BEGIN\n4\nUTC\nCOMMIT\n");

    let (_, errors) = house.psql(&["-c", "SELECT 1;\nSELECT name,\n  peopel FROM cities"]);
    for part in ["ERROR:  42703: unknown column peopel", "LINE 3:   peopel FROM cities", "HINT:  did you mean people?"]
    {
        assert!(errors.contains(part), "{part}\n{errors}");
    }
    let (_, errors) = house.psql(&["-c", "DELETE FROM cities"]);
    assert!(errors.contains("25006") && errors.contains("mulgil sql"), "{errors}");

    let (plan, _) = house.psql(&["-c", "EXPLAIN SELECT count(*) FROM cities"]);
    assert!(plan.contains("QUERY PLAN") && plan.contains("AggregateExec"), "{plan}");
    let (rows, _) = house.psql(&["-At", "-c", "SELECT unnest(range(100000))"]);
    assert_eq!(rows.lines().count(), 100_000);
}

#[test]
fn psycopg_reads_all_types_in_text_and_binary_prepared_and_cancelled() {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/python");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/sql/psycopg_client.py");
    let house = House::open("");
    let output = Command::new(python).arg(script).args(["127.0.0.1", &house.port()]).output().expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_port_that_is_taken_is_told_and_the_usual_one_is_left_alone() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let folder = Folder::new();
    folder.write("mulgil.yaml", &format!("sql: {{listen: \"{address}\"}}\n"));
    let output = folder.command(&["server", "--listen", "127.0.0.1:0"]).output().expect("mulgil runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors.contains(&format!("SQL port: cannot listen on {address}")), "{errors}");

    folder.write("mulgil.yaml", "sql: {listen: \"0.0.0.0:0\"}\n");
    let output = folder.command(&["server", "--listen", "127.0.0.1:0"]).output().expect("mulgil runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && errors.contains("set a token"), "{errors}");

    let output = folder.command(&["server", "--sql-listen", "here"]).output().expect("mulgil runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && errors.contains("`here` is no address for the SQL port"), "{errors}");
}

#[test]
fn psql_shows_its_password_and_comes_in_encrypted() {
    const TOKEN: &str = "a token of some length";
    let folder = Folder::new();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out"])
        .arg(folder.path("server.crt"))
        .arg("-keyout")
        .arg(folder.path("server.key"))
        .output()
        .expect("openssl runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let house = House::with(folder, "sql: {certificate: server.crt, key: server.key}\n", Some(TOKEN));
    let query = ["-At", "-c", "SELECT count(*) FROM cities"];
    let authority = house.folder.path("server.crt").display().to_string();
    let modes = [("disable", ""), ("require", ""), ("verify-full", authority.as_str())];
    for (mode, root) in modes {
        let variables = [("PGPASSWORD", TOKEN), ("PGSSLMODE", mode), ("PGSSLROOTCERT", root)];
        assert_eq!(house.psql_with(&variables, &query), ("4\n".to_owned(), String::new()), "{mode}");
    }
    let (_, errors) = house.psql_with(&[("PGPASSWORD", "another"), ("PGSSLMODE", "require")], &query);
    assert!(errors.contains("password authentication failed for user \"tester\""), "{errors}");
    let (_, errors) = house.psql_with(&[], &query);
    assert!(errors.contains("no password supplied"), "{errors}");
}

#[test]
fn psql_lists_tables_and_views_and_their_columns() {
    let house = House::open("");
    let names = |command: &str| {
        let (rows, errors) = house.psql(&["-At", "-c", command]);
        assert_eq!(errors, "", "{command}");
        rows
    };
    assert_eq!(names("\\dt"), "public|cities_raw|table|tester\n");
    assert_eq!(names("\\dv"), "public|cities|view|tester\n");
    assert_eq!(
        names(
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'cities' ORDER BY ordinal_position"
        ),
        "name|text\npeople|bigint\n"
    );
    assert_eq!(
        names(
            "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), t.typname FROM pg_catalog.pg_attribute a
             JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_type t ON t.oid = a.atttypid
             WHERE c.relname = 'cities' AND a.attnum > 0 ORDER BY a.attnum"
        ),
        "name|text|text\npeople|bigint|int8\n"
    );
}
