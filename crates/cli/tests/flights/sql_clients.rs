//! The SQL port of the real program, read by real clients of PostgreSQL: `psql`, psycopg, JDBC and ODBC.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use crate::program::Folder;
use crate::sql_house::{House, certify, python};

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
    let house = House::with_keys(Folder::new(), "", &[]);
    python("psycopg_client.py", &["127.0.0.1", &house.port()]);
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
    certify(&folder);
    let house = House::with(folder, "sql: {certificate: server.crt, key: server.key}\n", &[("MULGIL_TOKEN", TOKEN)]);
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
fn psql_fetches_piece_by_piece_and_copies() {
    let house = House::open("");
    let query = "SELECT value FROM (SELECT unnest(range(1, 2501)) AS value) AS n ORDER BY value";
    let (rows, errors) = house.psql(&["-At", "-v", "FETCH_COUNT=1000", "-c", query]);
    assert_eq!((rows.lines().count(), rows.lines().last(), errors.as_str()), (2500, Some("2500"), ""));

    let script = "BEGIN; DECLARE c CURSOR FOR SELECT name FROM cities ORDER BY name; FETCH 1 FROM c; FETCH FORWARD 2 FROM c; \
                  FETCH ALL FROM c; FETCH c; CLOSE c; COMMIT";
    assert_eq!(house.rows(script), "BEGIN\nDECLARE CURSOR\nBern\nBusan\nOslo\nSeoul\nCLOSE CURSOR\nCOMMIT\n");
    let (_, errors) = house.psql(&["-c", "DECLARE c CURSOR FOR SELECT 1"]);
    assert!(errors.contains("25P01"), "{errors}");
    let (_, errors) = house.psql(&["-c", "BEGIN; DECLARE c CURSOR FOR SELECT 1; COMMIT; FETCH c"]);
    assert!(errors.contains("34000"), "{errors}");

    let copied =
        house.rows("\\copy (SELECT name, people FROM cities ORDER BY name LIMIT 2) TO STDOUT (FORMAT csv, HEADER)");
    assert_eq!(copied, "name,people\nBern,134794\nBusan,3300000\n");
    assert_eq!(house.rows("COPY (SELECT 'a', NULL, 'b') TO STDOUT"), "a\t\\N\tb\n");
    let (_, errors) = house.psql(&["-c", "COPY cities FROM STDIN"]);
    assert!(errors.contains("25006"), "{errors}");
}

#[test]
fn a_query_beyond_its_memory_ends_alone() {
    let house = House::open("sql: {memory: 16 MB}\n");
    let wide = |from: &str| {
        format!(
            "(SELECT repeat('x', 1000) || value AS a FROM (SELECT unnest(range(1, 60001)) AS value) AS n) AS {from}"
        )
    };
    let join = format!("SELECT count(*) FROM {} JOIN {} ON l.a = r.a", wide("l"), wide("r"));
    let (rows, errors) = house.psql(&["-At", "-c", &join, "-c", "SELECT count(*) FROM cities"]);
    assert!(errors.contains("ERROR:  53200") && errors.contains("`sql: {memory: SIZE}`"), "{errors}");
    assert_eq!(rows, "4\n", "the same connection goes on");
    assert_eq!(house.rows("SELECT count(*) FROM cities"), "4\n");
}

#[test]
fn a_sort_beyond_its_memory_goes_to_files() {
    let house = House::open("sql: {memory: 16 MB}\n");
    // 30 MB and more, by rows of many widths: texts in a mixed order, and the place of each.
    for (wide, count) in [(10, 300_001), (100, 200_003), (500, 60_013), (1_000, 30_011)] {
        let rows = format!(
            "SELECT repeat('x', {wide}) || ((value * 7919) % {count}) AS a FROM (SELECT unnest(range(1, {count})) AS value) AS n"
        );
        let sorted = format!(
            "SELECT count(*), max(r) FROM (SELECT a, row_number() OVER (ORDER BY a) AS r FROM ({rows}) AS w) AS q"
        );
        assert_eq!(house.rows(&sorted), format!("{0}|{0}\n", count - 1), "{wide}");
    }
}

#[test]
fn the_jdbc_driver_reads_lists_and_is_told_what_is_wrong() {
    let house = House::with_keys(Folder::new(), "", &[]);
    jdbc(&house, &[&format!("127.0.0.1:{}", house.port())]);
}

#[test]
fn the_jdbc_driver_shows_its_password_and_comes_in_encrypted() {
    const TOKEN: &str = "a token of some length";
    let folder = Folder::new();
    certify(&folder);
    let settings = "sql: {certificate: server.crt, key: server.key}\n";
    let house = House::with_keys(folder, settings, &[("MULGIL_TOKEN", TOKEN)]);
    let certificate = house.folder.path("server.crt").display().to_string();
    jdbc(&house, &[&format!("localhost:{}", house.port()), TOKEN, &certificate]);
}

#[test]
fn the_odbc_driver_reads_lists_types_cursors_and_is_told_what_is_wrong() {
    let house = House::with_keys(Folder::new(), "", &[]);
    python("odbc_client.py", &["127.0.0.1", &house.port()]);
}

#[test]
fn the_odbc_driver_shows_its_password_and_comes_in_encrypted() {
    const TOKEN: &str = "a token of some length";
    let folder = Folder::new();
    certify(&folder);
    let settings = "sql: {certificate: server.crt, key: server.key}\n";
    let house = House::with_keys(folder, settings, &[("MULGIL_TOKEN", TOKEN)]);
    let certificate = house.folder.path("server.crt").display().to_string();
    python("odbc_client.py", &["localhost", &house.port(), TOKEN, &certificate]);
}

/// Runs `tests/sql/JdbcClient.java`: compiled by the compiler beside the driver, since not every Java has one.
fn jdbc(house: &House, arguments: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let libs = root.join("target/jdbc/libs");
    let jar = |name: &str| {
        let found = std::fs::read_dir(&libs).into_iter().flatten().flatten().map(|entry| entry.path());
        let is_it =
            |path: &std::path::PathBuf| path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name));
        found.into_iter().find(is_it).expect("the driver's jars: run `make jdbc`")
    };
    let (driver, classes) = (jar("postgresql-"), house.folder.path("classes"));
    let mut compiler = Command::new("java");
    compiler
        .arg("-jar")
        .arg(jar("ecj-"))
        .args(["-17", "-encoding", "UTF-8", "-cp"])
        .arg(&driver)
        .arg("-d")
        .arg(&classes);
    let compiled = compiler.arg(root.join("tests/sql/JdbcClient.java")).output().expect("Java runs");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let path = format!("{}:{}", classes.display(), driver.display());
    let client = Command::new("java").args(["-cp", &path, "JdbcClient"]).args(arguments).output().expect("Java runs");
    assert!(client.status.success(), "{}", String::from_utf8_lossy(&client.stderr));
}

#[test]
fn psql_describes_tables_schemas_and_databases() {
    let house = House::open("");
    let (described, errors) = house.psql(&["-c", "\\d cities", "-c", "\\d public.cities_raw"]);
    assert_eq!(errors, "");
    for line in ["View \"public.cities\"", "Table \"public.cities_raw\"", " name   | text   |", " people | bigint |"] {
        assert!(described.contains(line), "{line}\n{described}");
    }
    let (described, errors) = house.psql(&["-c", "\\d mulgil.runs", "-c", "\\sv cities"]);
    assert_eq!(errors, "");
    for line in [
        " created_at     | timestamp with time zone |",
        "CREATE OR REPLACE VIEW public.cities AS",
        "SELECT name, people FROM cities_raw",
    ] {
        assert!(described.contains(line), "{line}\n{described}");
    }
    let (_, errors) = house.psql(&["-c", "\\d nothing"]);
    assert_eq!(errors, "Did not find any relation named \"nothing\".\n");
    assert_eq!(house.rows("\\dn"), "mulgil|tester\npublic|tester\n");
    assert!(house.rows("\\l").starts_with("mulgil|tester|UTF8|"));
    assert_eq!(house.rows("\\dt mulgil.runs"), "mulgil|runs|table|tester\n");
    let (listed, errors) =
        house.psql(&["-At", "-c", "\\d", "-c", "\\du", "-c", "\\di", "-c", "\\df nothing", "-c", "\\sv cities"]);
    assert!(listed.contains("public|cities|view|tester\npublic|cities_raw|table|tester\n"), "{listed}");
    assert!(
        listed.contains("CREATE OR REPLACE VIEW public.cities AS\n") && !errors.contains("ERROR"),
        "{listed}{errors}"
    );
}

#[test]
fn psql_shows_keys_and_describes_at_length() {
    let house = House::with_keys(Folder::new(), "", &[]);
    assert_eq!(
        house.rows("\\di"),
        "public|by_name_pkey|index|tester|by_name\npublic|by_size_pkey|index|tester|by_size\n"
    );
    let (described, errors) = house.psql(&["-c", "\\d+ by_size", "-c", "\\d+ cities_raw", "-c", "\\d+ mulgil.runs"]);
    assert_eq!(errors, "");
    for line in [
        "View \"public.by_size\"",
        " is big | boolean |",
        "View definition:",
        "FROM cities_raw GROUP BY name",
        "Table \"public.cities_raw\"",
        " created_at     | timestamp with time zone |",
    ] {
        assert!(described.contains(line), "{line}\n{described}");
    }
    for command in ["\\d+", "\\dt+", "\\dv+", "\\di+", "\\l+", "\\dn+", "\\du+"] {
        let (listed, errors) = house.psql(&["-At", "-c", command]);
        assert!(errors.is_empty() && listed.contains("tester"), "{command}: {listed}{errors}");
    }
    let cases = [
        (
            "SELECT conname, contype, conkey, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'by_size'::regclass",
            "by_size_pkey|p|{2,3}|PRIMARY KEY (name, \"is big\")\n",
        ),
        (
            "SELECT indkey, pg_get_indexdef(indexrelid), pg_get_indexdef(indexrelid, 2, false) FROM pg_index
             WHERE indexrelid = 'by_size_pkey'::regclass",
            "2 3|CREATE UNIQUE INDEX by_size_pkey ON public.by_size USING btree (name, \"is big\")|\"is big\"\n",
        ),
        (
            "SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)
             WHERE i.indrelid = 'by_size'::regclass AND i.indisprimary ORDER BY a.attnum",
            "name\nis big\n",
        ),
        (
            "SELECT kcu.column_name FROM information_schema.table_constraints tc
             JOIN information_schema.key_column_usage kcu ON tc.constraint_name = kcu.constraint_name
             WHERE tc.constraint_type = 'PRIMARY KEY' AND tc.table_name = 'by_size' ORDER BY kcu.ordinal_position",
            "name\nis big\n",
        ),
        ("SELECT conname FROM pg_constraint WHERE conrelid = 'by_size'::regclass AND contype = 'f'", ""),
        ("SELECT i, pg_size_pretty(i * 1048576) FROM generate_series(1, 2) AS i", "1|1024 kB\n2|2048 kB\n"),
    ];
    for (query, expected) in cases {
        assert_eq!(house.rows(query), expected, "{query}");
    }
}

#[test]
fn the_catalog_answers_its_own_questions_and_refuses_others() {
    let house = House::open("");
    let cases = [
        (
            "SELECT 'cities'::regclass, 'mulgil.runs'::regclass::text, to_regclass('nowhere') IS NULL",
            "cities|mulgil.runs|t\n",
        ),
        ("SELECT relname FROM pg_class WHERE oid = 'cities'::regclass", "cities\n"),
        ("SELECT attname FROM pg_attribute WHERE attrelid = 'public.cities'::regclass AND attnum = 1", "name\n"),
        ("SELECT 'cities'::regclass::oid = oid FROM pg_class WHERE relname = 'cities'", "t\n"),
        (
            "SELECT 23::regtype, 'int8'::regtype::oid, relnamespace::regnamespace FROM pg_class WHERE relname = 'cities'",
            "integer|20|public\n",
        ),
        ("SELECT has_table_privilege('cities', 'SELECT'), has_table_privilege('cities', 'INSERT')", "t|f\n"),
        (
            "SELECT pg_get_userbyid(10), quote_ident('a b'), pg_table_is_visible('mulgil.runs'::regclass)",
            "tester|\"a b\"|f\n",
        ),
        ("SELECT array_to_string(current_schemas(true), ',')", "pg_catalog,public\n"),
        ("SELECT count(*) FROM pg_index", "0\n"),
        ("SELECT indexrelid FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid", ""),
        ("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", "cities_raw\n"),
        ("SELECT viewname, definition FROM pg_views", "cities|SELECT name, people FROM cities_raw\n"),
        ("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'", ""),
        ("SELECT current_setting('server_version_num')::int / 100", "1600\n"),
    ];
    for (query, expected) in cases {
        assert_eq!(house.rows(query), expected, "{query}");
    }
    for (query, code) in [
        ("SELECT 'nowhere'::regclass", "does not exist"),
        ("SELECT * FROM pg_stat_activity", "42P01"),
        ("SELECT pg_notify('a', 'b')", "42883"),
    ] {
        let (rows, errors) = house.psql(&["-At", "-c", query]);
        assert!(rows.is_empty() && errors.contains(code), "{query}: {rows}{errors}");
    }
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
