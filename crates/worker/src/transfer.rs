//! Which rows a transfer copies: exactly those of the run's data interval.
//!
//! A table's *interval column* is its event-time column (`WATERMARK FOR`), or else its one partition column of type
//! DATE. An instant (`TIMESTAMP_LTZ`) is compared with the interval as it is; wall-clock time (`TIMESTAMP`, `DATE`) with
//! the interval in the flow's time zone. The interval is half-open, so that neighbours share no row and leave none out.
//!
//! A partition column of the target that the source has too is compared with the partition's value as well: then files of
//! other partitions are never opened.

use arrow::datatypes::DataType;
use jiff::civil::{DateTime, Time};
use mulgil_connect::definition::{ColumnDefinition, TableDefinition};
use mulgil_flow::{CopiedRows, Variables};

/// The query over `source` whose rows go into `partition` of `target`: its columns by name, restricted to the interval.
pub(crate) fn query(
    source: &TableDefinition,
    rows: &CopiedRows,
    target: &TableDefinition,
    partition: &[(String, String)],
    variables: &Variables,
) -> Result<String, String> {
    let columns = columns(source, target, partition)?.join(", ");
    let mut conditions = Vec::new();
    if *rows != CopiedRows::All {
        conditions.push(within_interval(interval_column(source, rows)?, variables)?);
    }
    for (name, value) in partition {
        if let Some(column) = column(source, name) {
            conditions.push(format!("{} = {}", quoted(name), literal(value, &column.data_type)));
        }
    }
    Ok(format!("SELECT {columns} FROM {}{}", quoted_name(source), all_of(&conditions)))
}

/// The order in which rows of one key are merged: the latest by event time last, where there is one.
pub(crate) fn latest_last(source: &TableDefinition, rows: &CopiedRows) -> String {
    interval_column(source, rows).map_or(String::new(), |column| format!(" ORDER BY {}", quoted(&column.name)))
}

/// The query that gives a row if the partition of a table has any; without a partition, if the table has any.
pub(crate) fn any_row(table: &TableDefinition, partition: &[(String, String)]) -> String {
    let conditions = partition.iter().filter_map(|(name, value)| {
        column(table, name).map(|column| format!("{} = {}", quoted(name), literal(value, &column.data_type)))
    });
    let conditions: Vec<String> = conditions.collect();
    format!("SELECT 1 FROM {}{} LIMIT 1", quoted_name(table), all_of(&conditions))
}

fn all_of(conditions: &[String]) -> String {
    if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) }
}

/// The target's columns: from the source, or, for a partition column that the source lacks, the partition's value.
fn columns(
    source: &TableDefinition,
    target: &TableDefinition,
    partition: &[(String, String)],
) -> Result<Vec<String>, String> {
    let written = target.writable_schema();
    let written = written.fields().iter().filter_map(|field| column(target, field.name()));
    written
        .map(|wanted| {
            let name = quoted(&wanted.name);
            let value = partition.iter().find(|(column, _)| *column == wanted.name);
            match (column(source, &wanted.name), value) {
                (Some(_), _) => Ok(name),
                (None, Some((_, value))) => Ok(format!("{} AS {name}", literal(value, &wanted.data_type))),
                (None, None) => Err(format!(
                    "table {} has no column {}, which {} wants: add it, if need be as `{} AS expression`",
                    source.name, wanted.name, target.name, wanted.name
                )),
            }
        })
        .collect()
}

fn column<'a>(table: &'a TableDefinition, name: &str) -> Option<&'a ColumnDefinition> {
    table.columns.iter().find(|column| column.name == name)
}

fn interval_column<'a>(source: &'a TableDefinition, rows: &CopiedRows) -> Result<&'a ColumnDefinition, String> {
    if let CopiedRows::IntervalBy(name) = rows {
        let unknown = || format!("table {} has no column {name}, by which its rows are to be copied", source.name);
        return column(source, name).ok_or_else(unknown);
    }
    if let Some(found) = source.watermark.as_ref().and_then(|watermark| column(source, &watermark.column)) {
        return Ok(found);
    }
    if let [name] = source.partitioned_by.as_slice()
        && let Some(found) = column(source, name).filter(|column| column.data_type == DataType::Date32)
    {
        return Ok(found);
    }
    Err(format!(
        "table {} does not say which rows belong to an interval: give it an event time with WATERMARK FOR, or one \
         partition column of type DATE, or say `by: COLUMN`, or `rows: all` to copy all of it",
        source.name
    ))
}

fn within_interval(column: &ColumnDefinition, variables: &Variables) -> Result<String, String> {
    let Some(interval) = variables.interval else {
        return Err("a transfer copies a data interval, and this run has none: run it for a date, or say `rows: all`"
            .to_owned());
    };
    let name = quoted(&column.name);
    let local = |time: jiff::Timestamp| time.to_zoned(variables.timezone.clone()).datetime();
    let (start, end) = (local(interval.start), local(interval.end));
    let is_midnight = |time: DateTime| time.time() == Time::midnight();
    match &column.data_type {
        DataType::Date32 if is_midnight(start) && is_midnight(end) => {
            Ok(format!("{name} >= DATE '{}' AND {name} < DATE '{}'", start.date(), end.date()))
        }
        DataType::Date32 => Err(format!(
            "column {} is a DATE, and the interval from {start} to {end} is no whole days: use an event time",
            column.name
        )),
        DataType::Timestamp(_, None) => Ok(format!("{name} >= TIMESTAMP '{start}' AND {name} < TIMESTAMP '{end}'")),
        DataType::Timestamp(_, Some(_)) => Ok(format!(
            "{name} >= TIMESTAMP WITH TIME ZONE '{}' AND {name} < TIMESTAMP WITH TIME ZONE '{}'",
            interval.start, interval.end
        )),
        other => Err(format!("column {} is {other}, which is no time", column.name)),
    }
}

fn literal(value: &str, data_type: &DataType) -> String {
    let text = format!("'{}'", value.replace('\'', "''"));
    match data_type {
        DataType::Date32 => format!("DATE {text}"),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => format!("CAST({text} AS BIGINT)"),
        _ => text,
    }
}

fn quoted_name(table: &TableDefinition) -> String {
    format!("{}.{}", quoted(&table.name.namespace), quoted(&table.name.name))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;
    use arrow::datatypes::TimeUnit;
    use jiff::tz::TimeZone;
    use mulgil_connect::definition::{TableName, WatermarkDefinition};
    use mulgil_flow::DataInterval;

    fn column(name: &str, data_type: DataType) -> ColumnDefinition {
        ColumnDefinition { name: name.to_owned(), data_type, nullable: true, computed: None, metadata: None }
    }

    fn table(
        name: &str,
        columns: Vec<ColumnDefinition>,
        watermark: Option<&str>,
        partitioned_by: &[&str],
    ) -> TableDefinition {
        TableDefinition {
            name: TableName::parse(name),
            columns,
            watermark: watermark
                .map(|column| WatermarkDefinition { column: column.to_owned(), expression: column.to_owned() }),
            partitioned_by: partitioned_by.iter().map(|name| (*name).to_owned()).collect(),
            primary_key: Vec::new(),
            options: Default::default(),
        }
    }

    fn new_york(start: &str, end: &str) -> Variables {
        Variables {
            interval: Some(DataInterval { start: start.parse().unwrap(), end: end.parse().unwrap() }),
            timezone: TimeZone::get("America/New_York").unwrap(),
            run_id: "f/1".to_owned(),
            params: Default::default(),
            connections: Default::default(),
            secrets: None,
            item: None,
            results: Default::default(),
        }
    }

    #[test]
    fn wall_clock_time_is_compared_in_the_flows_zone_and_instants_as_they_are() {
        let spring = new_york("2013-03-10T05:00:00Z", "2013-03-11T04:00:00Z");
        let target = table("t", vec![column("at", DataType::Timestamp(TimeUnit::Millisecond, None))], None, &[]);
        let local = table("s", target.columns.clone(), Some("at"), &[]);
        assert_eq!(
            query(&local, &CopiedRows::Interval, &target, &[], &spring).unwrap(),
            r#"SELECT "at" FROM "public"."s" WHERE "at" >= TIMESTAMP '2013-03-10T00:00:00' AND "at" < TIMESTAMP '2013-03-11T00:00:00'"#
        );
        let instants = vec![column("at", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())))];
        let text = query(&table("s", instants, Some("at"), &[]), &CopiedRows::Interval, &target, &[], &spring).unwrap();
        assert!(text.ends_with(r#""at" < TIMESTAMP WITH TIME ZONE '2013-03-11T04:00:00Z'"#), "{text}");
        let by_day = table("s", vec![column("at", DataType::Int32), column("day", DataType::Date32)], None, &["day"]);
        let text = query(&by_day, &CopiedRows::Interval, &target, &[], &spring).unwrap();
        assert!(text.ends_with(r#"WHERE "day" >= DATE '2013-03-10' AND "day" < DATE '2013-03-11'"#), "{text}");
    }

    #[test]
    fn what_cannot_be_cut_by_interval_is_refused_with_the_remedy() {
        let hour = new_york("2013-03-10T05:00:00Z", "2013-03-10T06:00:00Z");
        let day = vec![column("day", DataType::Date32)];
        let error = query(
            &table("s", day.clone(), None, &["day"]),
            &CopiedRows::Interval,
            &table("t", day, None, &[]),
            &[],
            &hour,
        )
        .unwrap_err();
        assert!(error.contains("no whole days"), "{error}");
        let local_times = vec![column("at", DataType::Timestamp(TimeUnit::Millisecond, None))];
        let local_times = table("s", local_times, None, &[]);
        let plain = table("s", vec![column("a", DataType::Int32)], None, &[]);
        assert!(query(&plain, &CopiedRows::Interval, &plain, &[], &hour).unwrap_err().contains("WATERMARK FOR"));
        let all = query(&plain, &CopiedRows::All, &plain, &[], &hour).unwrap();
        assert_eq!(all, r#"SELECT "a" FROM "public"."s""#);
        let by = |name: &str| query(&local_times, &CopiedRows::IntervalBy(name.to_owned()), &local_times, &[], &hour);
        assert!(
            by("at").unwrap().ends_with(
                r#"WHERE "at" >= TIMESTAMP '2013-03-10T00:00:00' AND "at" < TIMESTAMP '2013-03-10T01:00:00'"#
            )
        );
        assert_eq!(by("then").unwrap_err(), "table s has no column then, by which its rows are to be copied");
        let other = table("t", vec![column("b", DataType::Int32)], None, &[]);
        assert!(query(&plain, &CopiedRows::Interval, &other, &[], &hour).unwrap_err().contains("no column b"));
    }
}
