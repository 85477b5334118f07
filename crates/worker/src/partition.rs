//! Which partition a task replaces.

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use mulgil_connect::definition::{ColumnDefinition, TableDefinition};
use mulgil_flow::{Quote, Variables, Write, render};

/// The partition columns and their values, for [`Write::ReplacePartition`]; nothing for other writes.
///
/// Values come from `partition:`, or, when the table is partitioned by one `DATE` column, from the run's `ds`; then the
/// run's data interval has to be that day, since a shorter one would throw the rest of the day away.
pub(crate) fn partition_of(
    write: &Write,
    table: &TableDefinition,
    variables: &Variables,
) -> Result<Vec<(String, String)>, String> {
    let Write::ReplacePartition { partition } = write else { return Ok(Vec::new()) };
    let columns = &table.partitioned_by;
    if columns.is_empty() {
        return Err(format!(
            "table {} has no partitions to replace: declare PARTITIONED BY, or write `write: replace_table` or `append`",
            table.name
        ));
    }
    if partition.is_empty() {
        return by_day(table, columns, variables);
    }
    columns.iter().map(|column| Ok((column.clone(), value_of(column, partition, table, variables)?))).collect()
}

fn value_of(
    column: &str,
    partition: &BTreeMap<String, String>,
    table: &TableDefinition,
    variables: &Variables,
) -> Result<String, String> {
    let template = partition.get(column).ok_or_else(|| {
        let columns = table.partitioned_by.join(", ");
        format!("`partition:` has no value for {column}; table {} is partitioned by {columns}", table.name)
    })?;
    render(template, variables, Quote::None).map_err(|error| format!("in `partition: {column}`, {error}"))
}

fn by_day(table: &TableDefinition, columns: &[String], variables: &Variables) -> Result<Vec<(String, String)>, String> {
    let name = &table.name;
    let [column] = columns else {
        let columns = columns.join(", ");
        return Err(format!("table {name} is partitioned by {columns}: say which partition with `partition:`"));
    };
    let is_date = |known: &&ColumnDefinition| known.name == *column && known.data_type == DataType::Date32;
    if !table.columns.iter().any(|known| is_date(&known)) {
        return Err(format!(
            "{column} of table {name} is no DATE: say which partition with `partition: {{{column}: ...}}`"
        ));
    }
    let interval = variables.interval.ok_or_else(|| {
        format!("the run has no data interval, so no day of {name} to replace: say which with `partition:`")
    })?;
    let start = interval.start.to_zoned(variables.timezone.clone());
    let day = start.date();
    let whole = start.start_of_day().is_ok_and(|first| first.timestamp() == interval.start)
        && start.tomorrow().and_then(|next| next.start_of_day()).is_ok_and(|end| end.timestamp() == interval.end);
    match whole {
        true => Ok(vec![(column.clone(), day.to_string())]),
        false => Err(format!(
            "the run's data interval {interval} is not the whole day {day} in {}, so replacing {column}={day} of {name} would \
             throw other rows of that day away: partition the table finer, or append",
            variables.timezone.iana_name().unwrap_or("its time zone")
        )),
    }
}
