//! Which queries become which dataflow graphs, as snapshots; and which are refused with which remedy.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
use std::path::PathBuf;

use datafusion::sql::sqlparser::tokenizer::Location;
use mulgil_dataflow::explain::{Format, logical};

use super::*;
use crate::catalog::Catalog;
use crate::options::StreamOptions;
use crate::plan::{Planner, Unscanned};
use crate::session::single_statement;
use crate::statement::StatementKind;

const TABLES: &str = "
CREATE TABLE departures (
  carrier VARCHAR, flight INT, origin VARCHAR, dest VARCHAR, dep_delay DOUBLE, scheduled TIMESTAMP(3),
  WATERMARK FOR scheduled AS scheduled - INTERVAL '2' HOUR
) WITH ('connector' = 'log');
CREATE TABLE raw (
  id INT, seconds BIGINT, ts AS to_timestamp_seconds(seconds), WATERMARK FOR ts AS ts
) WITH ('connector' = 'log');
CREATE TABLE plain (id INT, ts TIMESTAMP(3)) WITH ('connector' = 'log');
CREATE MATERIALIZED TABLE late AS SELECT origin, dep_delay FROM departures WHERE dep_delay > 60;
";

fn planned(sql: &str) -> Result<StreamPlan, SqlError> {
    planned_with(sql, None)
}

fn planned_with(sql: &str, time_to_live: Option<TimeToLive>) -> Result<StreamPlan, SqlError> {
    let (catalog, problems) = Catalog::load(&[(PathBuf::from("tables.sql"), TABLES.to_owned())]);
    assert_eq!(problems, []);
    let statement = single_statement(sql)?;
    let StatementKind::Query(query) = &statement.kind else { panic!("not a query") };
    let planner = Planner::new(&catalog, planning_state(), &Unscanned, &StreamOptions::default());
    let logical = planner.query(query, Location { line: 1, column: 1 }).map_err(|m| m.in_file(&PathBuf::from("q")))?;
    plan(logical, None, time_to_live, None)
}

fn text(sql: &str) -> String {
    logical(&planned(sql).unwrap().graph, Format::Text)
}

#[test]
fn graphs_read_only_what_they_need() {
    let graphs = [
        "SELECT origin, window_start, count(*) AS flights, avg(dep_delay) AS mean_delay
           FROM TUMBLE(TABLE departures, DESCRIPTOR(scheduled), INTERVAL '1' HOUR)
          GROUP BY origin, window_start, window_end",
        "SELECT upper(origin) AS o FROM late WHERE dep_delay < 90",
        "SELECT window_end, sum(id) FILTER (WHERE id > 3) AS s FROM TUMBLE(TABLE raw, DESCRIPTOR(ts), INTERVAL '1' DAY)
          WHERE window_start > TIMESTAMP '2013-01-01 00:00:00' AND id < 100 GROUP BY window_end HAVING sum(id) > 10",
        "SELECT o, window_time FROM (SELECT upper(origin) AS o, window_time, window_end
           FROM TUMBLE(TABLE departures, DESCRIPTOR(scheduled), INTERVAL '1' HOUR, INTERVAL '15' MINUTE) WHERE flight = 1)
          GROUP BY o, window_time, window_end ORDER BY window_time DESC LIMIT 3",
        "SELECT * FROM TUMBLE(TABLE departures, DESCRIPTOR(scheduled), INTERVAL '1' HOUR) AS t WHERE t.flight = 1",
        "SELECT origin FROM departures UNION ALL SELECT carrier FROM departures",
        "SELECT upper(origin), count(*), count(DISTINCT dest) FILTER (WHERE flight > 3) FROM departures GROUP BY upper(origin)",
        "SELECT DISTINCT origin FROM departures",
        "SELECT p.ts, flight FROM departures AS d LEFT JOIN plain AS p ON d.flight = p.id AND dep_delay > p.id WHERE dest = 'ICN'",
        "SELECT flight FROM departures WHERE flight + 1 IN (SELECT id FROM plain)",
    ]
    .map(|sql| format!("{sql}\n\n{}", text(sql)));
    insta::assert_snapshot!(graphs.join("\n\n"));
}

/// The regular expression stands in one place, but for rows that pass without it.
#[test]
fn what_is_costly_is_computed_once_for_filter_and_projection() {
    let value = "regexp_replace(origin, 'I', 'J')";
    for (condition, expected) in [
        (format!("{value} <> 'JCN'"), 1),
        (format!("{value} <> 'JCN' AND flight > 3"), 1),
        (format!("{value} <> 'JCN' OR flight > 3"), 2),
        ("flight > 3".to_owned(), 1),
    ] {
        let graph = text(&format!("SELECT flight, concat({value}, dest) AS c FROM departures WHERE {condition}"));
        assert_eq!(graph.matches("regexp_replace").count(), expected, "{condition}: {graph}");
    }
}

#[test]
fn what_a_stream_cannot_do_is_named_with_a_remedy() {
    let remedy = "run it with --mode batch, or as a view with REFRESH_MODE = FULL";
    for (sql, construct) in [
        ("SELECT now(), id FROM raw", "now(), whose value changes while the stream runs,"),
        ("SELECT 1", "a SELECT without FROM"),
        (
            "SELECT nth_value(id, 2 ORDER BY id) FROM TUMBLE(TABLE raw, DESCRIPTOR(ts), INTERVAL '1' DAY) GROUP BY window_end",
            "ORDER BY inside nth_value(id, 2)",
        ),
    ] {
        let error = planned(sql).map(|plan| logical(&plan.graph, Format::Text)).unwrap_err();
        assert_eq!(error.to_string(), format!("{construct} is not supported in stream mode yet; {remedy}"), "{sql}");
    }
    let without_watermark =
        "SELECT count(*) FROM TUMBLE(TABLE plain, DESCRIPTOR(ts), INTERVAL '1' DAY) GROUP BY window_end";
    assert_eq!(
        planned(without_watermark).unwrap_err().to_string(),
        "a window over ts, whose table has no watermark, is not supported in stream mode yet; add WATERMARK FOR ts AS \
         ts - INTERVAL '5' SECOND to the table"
    );
}

#[test]
fn keys_name_the_rows_of_a_result() {
    let window = "FROM TUMBLE(TABLE departures, DESCRIPTOR(scheduled), INTERVAL '1' HOUR)";
    for (select, group, expected) in [
        ("origin, window_start, count(*)", "origin, window_start, window_end", Some(vec![0, 1])),
        ("count(*), window_end AS e, origin", "origin, window_start, window_end", Some(vec![1, 2])),
        ("count(*), window_end", "origin, window_start, window_end", None),
        ("upper(origin), window_start", "origin, window_start, window_end", None),
        ("window_time, count(*)", "window_time, window_end", Some(vec![0])),
    ] {
        let plan = planned(&format!("SELECT {select} {window} GROUP BY {group}")).unwrap();
        assert_eq!(plan.key, expected, "{select}");
        assert_eq!(plan.sources, [TableName::parse("departures")]);
        assert!(!plan.is_updating);
    }
    for (select, expected) in [
        ("SELECT count(*), origin FROM departures GROUP BY origin", Some(vec![1])),
        ("SELECT count(*) FROM departures GROUP BY origin", None),
        ("SELECT count(*) FROM departures", Some(vec![])),
        ("SELECT DISTINCT origin, dest FROM departures", Some(vec![0, 1])),
    ] {
        let plan = planned(select).unwrap();
        assert_eq!((plan.key, plan.is_updating), (expected, select.contains("count")), "{select}");
    }
}

/// The change of a count may come by another way than the count before it.
#[test]
fn rows_that_change_their_way_have_no_key() {
    let counts = "(SELECT origin, count(*) AS n FROM departures GROUP BY origin) AS c";
    for (sql, expected) in [
        (format!("SELECT c.* FROM {counts} WHERE NOT EXISTS (SELECT 1 FROM plain AS p WHERE p.id = c.n)"), None),
        (
            format!("SELECT c.* FROM {counts} WHERE EXISTS (SELECT 1 FROM departures AS d WHERE d.dest = c.origin)"),
            Some(vec![0]),
        ),
    ] {
        assert_eq!(planned(&sql).unwrap().key, expected, "{sql}");
    }
}

#[test]
fn what_is_never_forgotten_is_said() {
    let near = "FROM raw AS a JOIN raw AS b ON a.id = b.id AND a.ts BETWEEN b.ts - INTERVAL '1' HOUR AND b.ts";
    for (sql, expected) in [
        ("SELECT a.id FROM raw AS a JOIN plain AS b ON a.id = b.id".to_owned(), true),
        (format!("SELECT a.id {near}"), false),
        (format!("SELECT a.id {near} AND a.seconds < b.seconds"), false),
        // Nothing says when rows of b have had all their partners.
        ("SELECT a.id FROM raw AS a LEFT JOIN raw AS b ON a.id = b.id AND a.ts < b.ts".to_owned(), true),
        ("SELECT a.id FROM raw AS a JOIN plain AS b ON a.id = b.id AND a.ts = b.ts".to_owned(), true),
    ] {
        let warnings = planned(&sql).unwrap().warnings;
        assert_eq!(!warnings.is_empty(), expected, "{sql}: {warnings:?}");
        assert!(warnings.iter().all(|warning| warning.contains("join on id = id")), "{warnings:?}");
    }
}

#[test]
fn equal_parts_of_a_query_run_once() {
    let counts = "SELECT origin, count(*) AS n FROM departures GROUP BY origin";
    let hopping = "SELECT origin, count(*) AS n, window_start, window_end
        FROM HOP(TABLE departures, DESCRIPTOR(scheduled), INTERVAL '1' HOUR, INTERVAL '5' HOUR)
        GROUP BY origin, window_start, window_end";
    for (sql, sources) in [
        (format!("SELECT a.n, b.n FROM ({counts}) AS a JOIN ({counts}) AS b ON a.origin = b.origin"), 1),
        (format!("SELECT n, origin FROM ({counts}) AS a UNION ALL SELECT n + 1, origin FROM ({counts}) AS b"), 1),
        (
            format!(
                "SELECT a.n, b.n FROM ({counts}) AS a JOIN ({counts} HAVING count(*) > 1) AS b ON a.origin = b.origin"
            ),
            1,
        ),
        (format!("SELECT n FROM ({counts}) AS a UNION ALL SELECT count(*) FROM departures GROUP BY dest"), 2),
        // Nexmark's q5: the windows' projections are merged into those above them, the counts are still one.
        (
            format!(
                "SELECT a.origin, a.n FROM ({hopping}) AS a JOIN (
                   SELECT max(n) AS most, window_start, window_end FROM ({hopping}) AS b GROUP BY window_start, window_end
                 ) AS c ON a.window_start = c.window_start AND a.window_end = c.window_end AND a.n >= c.most"
            ),
            1,
        ),
        (format!("SELECT n FROM ({hopping}) UNION ALL SELECT n FROM ({hopping}) UNION ALL SELECT n FROM ({hopping})"), 1),
    ] {
        let graph = planned(&sql).unwrap().graph;
        let is_source = |node: &&mulgil_dataflow::graph::Node| matches!(node.operator, LogicalOperator::Source { .. });
        assert_eq!(graph.nodes.iter().filter(is_source).count(), sources, "{}", logical(&graph, Format::Text));
    }
}

#[test]
fn versions_are_joined_by_time() {
    let near = "raw AS a JOIN raw FOR SYSTEM_TIME AS OF";
    for (from, expected) in [
        (format!("{near} a.ts AS b ON a.id = b.id"), "temporal inner join on id = id"),
        (format!("{near} a.ts AS b ON a.id = b.id AND b.seconds > 5"), "where (\"seconds\" > 5)"),
        (format!("{near} PROCTIME() b ON a.id = b.id"), "lookup in raw (held as a whole) by inner join on id = id"),
        (format!("{near} b.seconds AS b ON a.id = b.id"), "there is no such column"),
        (format!("{near} a.ts AS b ON a.id > b.id"), "needs a key"),
        (format!("{near} TIMESTAMP '2013-01-01 00:00:00' AS b ON a.id = b.id"), "not a column of the other table"),
        ("raw FOR SYSTEM_TIME AS OF ts AS a".to_owned(), "stands where nothing is joined"),
        (
            "raw AS a FULL JOIN raw FOR SYSTEM_TIME AS OF a.ts AS b ON a.id = b.id".to_owned(),
            "is for JOIN and LEFT JOIN",
        ),
        (
            "raw AS a JOIN plain FOR SYSTEM_TIME AS OF a.ts AS b ON a.id = b.id".to_owned(),
            "FOR SYSTEM_TIME AS OF over ts, of which no watermark speaks, is not supported in stream mode yet; add \
             WATERMARK FOR ts AS ts - INTERVAL '5' SECOND to its table",
        ),
    ] {
        let found = match planned(&format!("SELECT a.id, a.seconds FROM {from}")) {
            Ok(plan) => logical(&plan.graph, Format::Text),
            Err(error) => error.to_string(),
        };
        assert!(found.contains(expected), "{from}: {found}");
    }
}

#[test]
fn groups_are_kept_for_ever_with_a_warning_or_for_their_time_to_live() {
    let by_origin = "SELECT origin, count(*) FROM departures GROUP BY origin";
    let kept = planned(by_origin).unwrap();
    assert_eq!(
        kept.warnings,
        [
            "the aggregate count(1) by origin keeps a state for every key for ever; aggregate per window if there are ever \
          more keys, or set 'state-ttl'"
        ]
    );
    let forgotten = planned_with(by_origin, Some(TimeToLive::EventTime(3_600_000))).unwrap();
    assert!(forgotten.warnings.is_empty());
    let text = logical(&forgotten.graph, Format::Text);
    assert!(text.contains("aggregate count(1) by origin, forgetting groups after 3600000 ms of event time"), "{text}");
    assert!(planned("SELECT count(*) FROM departures").unwrap().warnings.is_empty(), "one group is no burden");
}

/// One query of many operators: as a graph and as stages, for people, programs and Graphviz.
#[test]
fn every_operator_is_drawn_in_every_form() {
    use mulgil_dataflow::explain::physical;
    let query = "SELECT s.origin, s.flights, r.id FROM (
          SELECT origin, count(*) AS flights FROM TUMBLE(TABLE departures, DESCRIPTOR(scheduled), INTERVAL '1' HOUR)
           GROUP BY origin, window_start, window_end) AS s
        LEFT JOIN (
          SELECT id, ROW_NUMBER() OVER (PARTITION BY id ORDER BY seconds DESC) AS n FROM raw) AS r ON s.flights = r.id
        WHERE r.n IS NULL OR r.n <= 2
        UNION ALL
        SELECT DISTINCT dest, 0, flight FROM departures WHERE dest IN (SELECT carrier FROM late_departures)"
        .replace("late_departures", "departures");
    let graph = planned(&query).unwrap().graph;
    let stages = mulgil_dataflow::physical::plan(&graph, 4).unwrap();
    insta::assert_snapshot!(
        "many_operators_text",
        format!("{}\n{}", logical(&graph, Format::Text), physical(&stages, Format::Text))
    );
    insta::assert_snapshot!(
        "many_operators_dot",
        format!("{}\n{}", logical(&graph, Format::Dot), physical(&stages, Format::Dot))
    );
    let top = planned(
        "SELECT * FROM (SELECT origin, dep_delay, ROW_NUMBER() OVER (PARTITION BY origin ORDER BY dep_delay DESC) AS n
         FROM departures) WHERE n <= 3",
    );
    let top = mulgil_dataflow::physical::plan(&top.unwrap().graph, 2).unwrap();
    insta::assert_snapshot!("top_n_json", physical(&top, Format::Json));
}

#[test]
fn a_join_has_a_key_where_changes_of_a_row_stay_together() {
    let counts = |column: &str| format!("(SELECT {column}, count(*) AS n FROM departures GROUP BY {column})");
    let (a, b) = (counts("origin"), counts("dest"));
    for (on, expected) in
        [("a.origin = b.dest", Some(vec![0, 1])), ("a.n = b.n", None), ("upper(a.origin) = b.dest", None)]
    {
        let sql = format!("SELECT origin, dest, a.n FROM {a} AS a JOIN {b} AS b ON {on}");
        assert_eq!(planned(&sql).unwrap().key, expected, "{sql}");
    }
}

/// An aggregate per count window gives full windows out and keeps no more of them; where rows may be missing, it rolls.
#[test]
fn count_windows_forget_what_is_full() {
    let windows = "COUNT_HOP(TABLE departures PARTITION BY origin, DESCRIPTOR(scheduled), 10, 100)";
    for (rest, is_forgotten) in [
        ("GROUP BY window_number, origin", true),
        ("GROUP BY origin, window_number HAVING count(*) = 100", true),
        ("WHERE origin = 'ICN' GROUP BY origin, window_number", true),
        ("WHERE dep_delay > 0 GROUP BY origin, window_number", false),
        ("GROUP BY window_number", false),
        ("GROUP BY origin, dest, window_number", false),
    ] {
        let plan = planned(&format!("SELECT count(*), sum(flight) FROM {windows} {rest}")).unwrap();
        let graph = logical(&plan.graph, Format::Text);
        assert_eq!(graph.contains("per window of 100 rows"), is_forgotten, "{graph}");
        assert_eq!((!plan.is_updating, plan.warnings.is_empty()), (is_forgotten, is_forgotten), "{graph}");
    }
}
