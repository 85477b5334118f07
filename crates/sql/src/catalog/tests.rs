//! Declarations and their mistakes, each with file, line, column and remedy.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
use super::*;

const DEPARTURES: &str = "CREATE TABLE departures (
  carrier VARCHAR, flight INT, origin VARCHAR, dest VARCHAR, dep_delay DOUBLE, scheduled TIMESTAMP(3),
  WATERMARK FOR scheduled AS scheduled - INTERVAL '2' HOUR
) WITH ('connector' = 'log', 'topic' = 'departures', 'format' = 'json');";

const DELAYS: &str = "CREATE MATERIALIZED TABLE delays_per_hour WITH ('allowed-lateness' = '1 d')
  FRESHNESS = INTERVAL '10' SECOND REFRESH_MODE = CONTINUOUS
AS SELECT origin, window_start, count(*) AS flights, avg(dep_delay) AS mean_delay
   FROM TUMBLE(TABLE departures, DESCRIPTOR(scheduled), INTERVAL '1' HOUR)
   GROUP BY origin, window_start, window_end;";

fn load(files: &[(&str, &str)]) -> (Catalog, Vec<String>) {
    let files: Vec<(PathBuf, String)> =
        files.iter().map(|(name, text)| (PathBuf::from(name), (*text).to_owned())).collect();
    let (catalog, problems) = Catalog::load(&files);
    (catalog, problems.iter().map(ToString::to_string).collect())
}

#[test]
fn the_bundled_project_loads() {
    let (catalog, problems) = load(&[
        ("views/delays.sql", DELAYS),
        ("sources/departures.sql", DEPARTURES),
        ("sources/landing.sql", include_str!("../../../../examples/flights/sources/landing.sql")),
        ("sources/lake.sql", include_str!("../../../../examples/flights/sources/lake.sql")),
    ]);
    assert_eq!(problems, Vec::<String>::new());
    let view = catalog.view(&TableName::parse("delays_per_hour")).unwrap();
    assert_eq!(view.mode, RefreshMode::Continuous);
    assert_eq!(view.freshness, Some(Duration::from_secs(10)));
    assert_eq!(view.stream.trigger.allowed_lateness_ms, 86_400_000);
    assert_eq!(view.reads, [TableName::parse("departures")]);
    let columns: Vec<String> =
        view.schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect();
    assert_eq!(columns, ["origin Utf8", "window_start Timestamp(ms)", "flights Int64", "mean_delay Float64"]);
    let landing = catalog.table(&TableName::parse("landing.departures")).unwrap();
    let scheduled = landing.definition.columns.last().unwrap();
    assert_eq!((scheduled.name.as_str(), scheduled.data_type.to_string().as_str()), ("scheduled", "Timestamp(ms)"));
    assert_eq!(landing.definition.partitioned_by.len(), 1);
    assert_eq!(landing.definition.options["csv.null-literal"], "NA");
}

#[test]
fn mistakes_are_told_with_their_place_and_remedy() {
    let table = |columns: &str| format!("CREATE TABLE t (\n  {columns}\n) WITH ('connector' = 'log');");
    let view = |query: &str| format!("{DEPARTURES}\nCREATE MATERIALIZED TABLE v AS\n{query}");
    for (text, expected) in [
        (table("a INT, b VARCHR"), "f:2:12: unknown type VARCHR; did you mean VARCHAR?"),
        (table("a INT b INT"), "f:2:9: expected , or ) after a column, found b"),
        (table("a INT, a INT"), "f:2:10: column a is there twice; give one of them another name"),
        (table("a INT, b AS c + 1"), "f:2:15: unknown column c; columns here: a"),
        (
            table("a INT, WATERMARK FOR a AS a"),
            "f:2:24: the watermark is for a, which is Int32 and no timestamp; declare a as TIMESTAMP(3), or compute a \
             timestamp column from it",
        ),
        (table("a TIMESTAMP(3), WATERMARK FOR b AS a"), "f:2:33: unknown column b; columns: a"),
        (
            table("a TIMESTAMP(3), WATERMARK FOR a AS 1"),
            "f:2:38: the watermark's bound is Int64 and no timestamp; write for example a - INTERVAL '5' SECOND",
        ),
        (
            "CREATE TABLE t (a INT)".to_owned(),
            "f:1:14: table t says no connector; add WITH ('connector' = '...') behind the columns",
        ),
        ("CREATE TABLE t (a INT".to_owned(), "f:1:1: expected , or ) after a column, found EOF"),
        (
            "CREATE TABLE t (a INT) PARTITIONED BY (b) WITH ('connector' = 'log')".to_owned(),
            "f:1:40: unknown column b; columns: a",
        ),
        (
            "CREATE TABLE t (a INT) WITH (connector = 'log')".to_owned(),
            "f:1:30: expected: literal string, found: connector; options are written 'key' = 'value', both in single quotes",
        ),
        ("SELECT 'abc".to_owned(), "f:1:8: unterminated string literal"),
        (
            "SELECT 1".to_owned(),
            "f:1:1: a project's SQL file declares tables and views only; run INSERT and SELECT with `mulgil sql`, or as \
             a task of a flow",
        ),
        (
            "DROP TABLE t".to_owned(),
            "f:1:1: unknown statement DROP; statements are CREATE TABLE, CREATE MATERIALIZED TABLE, INSERT INTO, SELECT, EXPLAIN and SET; statements are separated by semicolons",
        ),
        (view("SELECT orign FROM departures"), "f:6:8: unknown column orign; did you mean origin?"),
        (view("SELECT origin FROM departurs"), "f:6:20: unknown table departurs; did you mean departures?"),
        (view("SELECT origin\nFROM departures WHERE"), "f:7:22: expected: an expression, found: EOF"),
        (view("SELECT uper(origin) FROM departures"), "f:6:8: invalid function 'uper'; did you mean 'upper'?"),
        (
            view("SELECT origin FROM departures LIMIT 5"),
            "f:5:27: LIMIT without ORDER BY is not supported in stream mode yet; use REFRESH_MODE = FULL",
        ),
        (
            view(
                "SELECT count(*) AS n FROM TUMBLE(TABLE departures, DESCRIPTOR(origin), INTERVAL '1' HOUR) GROUP BY window_start",
            ),
            "f:6:63: column origin is Utf8, windows need a timestamp; declare the column as TIMESTAMP(3), or add a \
             computed column",
        ),
        (
            view("SELECT count(*) AS n FROM TUMBLE(TABLE departures, DESCRIPTOR(scheduled), 5) GROUP BY window_start"),
            "f:6:75: 5 is not an interval of a fixed length; write TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR [, \
             INTERVAL '15' MINUTE])",
        ),
        (
            view("SELECT origin FROM departures").replace("v AS", "v WITH ('state-ttl' = 'soon') AS"),
            "f:5:49: 'soon' is not a length of time; write for example '1 d' or '30 min'",
        ),
    ] {
        let (_, problems) = load(&[("f", &text)]);
        assert_eq!(problems.first().map(String::as_str), Some(expected), "{text}\n{problems:#?}");
    }
}

#[test]
fn a_view_is_partitioned_by_one_column_of_time() {
    let view = |columns: &str| {
        format!(
            "{DEPARTURES}\nCREATE MATERIALIZED TABLE v PARTITIONED BY ({columns}) REFRESH_MODE = FULL AS SELECT origin, scheduled FROM departures"
        )
    };
    let (catalog, problems) = load(&[("f", &view("scheduled"))]);
    assert_eq!(problems, Vec::<String>::new());
    let found = catalog.view(&TableName::parse("v")).unwrap();
    assert_eq!(found.partitioned_by.as_deref(), Some("scheduled"));
    for (columns, expected) in [
        ("scheduld", "f:5:45: the view gives no column scheduld; did you mean scheduled?"),
        (
            "origin",
            "f:5:45: column origin is Utf8, and the parts of a view are by time; partition it by a column of type DATE or TIMESTAMP",
        ),
        (
            "origin, scheduled",
            "f:5:41: a view is partitioned by one column, of time; write for example PARTITIONED BY (day)",
        ),
    ] {
        let (_, problems) = load(&[("f", &view(columns))]);
        assert_eq!(problems.first().map(String::as_str), Some(expected), "{problems:#?}");
    }
}

#[test]
fn a_broken_file_stops_only_itself_and_what_reads_it() {
    let (catalog, problems) = load(&[
        ("a.sql", "CREATE TABLE broken (a INT, b GEOMETRY) WITH ('connector' = 'log');"),
        ("b.sql", "CREATE MATERIALIZED TABLE reader REFRESH_MODE = FULL AS SELECT a FROM broken;"),
        ("c.sql", "CREATE MATERIALIZED TABLE second REFRESH_MODE = FULL AS SELECT a FROM reader;"),
        ("d.sql", DEPARTURES),
        ("e.sql", "CREATE MATERIALIZED TABLE good AS SELECT origin FROM departures WHERE dep_delay > 60"),
    ]);
    assert_eq!(
        problems,
        [
            "a.sql:1:31: unknown type GEOMETRY; types: VARCHAR, STRING, CHAR, BOOLEAN, TINYINT, SMALLINT, INT, INTEGER, \
             BIGINT, FLOAT, REAL, DOUBLE, ...",
            "b.sql:1:71: broken is declared, but broken; mend it first: a.sql:1:31: unknown type GEOMETRY",
            "c.sql:1:71: reader is declared, but broken; mend it first: b.sql:1:71: broken is declared, but broken",
        ]
    );
    assert!(catalog.view(&TableName::parse("good")).is_some());
    assert_eq!(catalog.tables().count(), 1);
}

#[test]
fn views_read_views_but_not_in_a_circle() {
    let (catalog, problems) = load(&[
        ("a.sql", "CREATE MATERIALIZED TABLE a REFRESH_MODE = FULL AS SELECT origin AS b FROM c;"),
        ("b.sql", DEPARTURES),
        ("c.sql", "CREATE MATERIALIZED TABLE c REFRESH_MODE = FULL AS SELECT origin FROM departures;"),
        ("d.sql", "CREATE MATERIALIZED TABLE x AS SELECT * FROM y; CREATE MATERIALIZED TABLE y AS SELECT * FROM x"),
    ]);
    assert_eq!(catalog.view(&TableName::parse("a")).unwrap().reads, [TableName::parse("c")]);
    assert_eq!(
        problems,
        [
            "d.sql:1:1: view x is part of a circle of views; of these, one must not read another: x, y",
            "d.sql:1:49: view y is part of a circle of views; of these, one must not read another: x, y",
        ]
    );
}

#[test]
fn names_are_declared_once() {
    let (_, problems) = load(&[("a.sql", DEPARTURES), ("b.sql", DEPARTURES)]);
    assert_eq!(problems, ["b.sql:1:14: departures is already declared; rename it, or remove the one at a.sql:1"]);
}
