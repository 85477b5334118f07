//! Constructs that ask for event time: windows, windows over windows, `OVER` in time, interval, window and temporal joins.

use super::queries::Queries;
use super::relation::{Column, Relation, Type};

fn seconds(count: usize) -> String {
    format!("INTERVAL '{count}' SECOND")
}

impl Queries<'_> {
    /// Something with event time: often a table.
    fn timed(&mut self) -> Relation {
        if self.chance(2) {
            return self.base();
        }
        let input = self.query();
        if input.time.is_some() { input } else { self.base() }
    }

    pub(crate) fn windowed(&mut self) -> Relation {
        let input = self.timed();
        let time = input.time.clone().unwrap_or_default();
        let (function, call) = match self.random.below(4) {
            0 => ("TUMBLE", seconds(self.pick(&[1, 7, 30]))),
            1 => ("SESSION", seconds(self.pick(&[1, 4, 15]))),
            2 => ("HOP", format!("{}, {}", seconds(self.pick(&[5, 10, 30])), seconds(self.pick(&[10, 30, 45])))),
            _ => ("CUMULATE", format!("{}, {}", seconds(self.pick(&[5, 10])), seconds(self.pick(&[20, 60])))),
        };
        // Sessions are of a key; the rows of others do not hold one together.
        let is_session = function == "SESSION";
        let is_keyed = is_session || self.chance(2);
        // Batch finds sessions by ranks, for which 0.0 and -0.0 are two keys, and then groups, for which they are one.
        let keys: Vec<Column> =
            input.columns.iter().filter(|key| !is_session || key.data_type != Type::Odd).cloned().collect();
        let key = self.pick(&keys);
        let offset = if is_session { "" } else { self.pick(&["", "", ", INTERVAL '3' SECOND"]) };
        let partition = if is_session { format!(" PARTITION BY {}", key.name) } else { String::new() };
        let (calls, called) = self.calls(&input.columns);
        // A condition would need the sessions' rows one by one.
        let condition = if !is_session && self.chance(2) {
            format!(" WHERE {}", self.condition(&input.columns, ""))
        } else {
            String::new()
        };
        let mut group = vec!["window_start".to_owned(), "window_end".to_owned()];
        if !is_session && self.chance(2) {
            group.push("window_time".to_owned());
        }
        let (mut items, mut columns) = (Vec::new(), Vec::new());
        for bound in &group {
            let name = self.name();
            items.push(format!("{bound} AS {name}"));
            columns.push(Column { name, data_type: Type::Time });
        }
        // Its rows come at the end of the window, once, unless late rows change them.
        let bounds: Vec<String> = columns.iter().take(2).map(|column| column.name.clone()).collect();
        let time_after = columns.last().map(|column| column.name.clone()).filter(|_| self.is_final);
        if is_keyed {
            items.push(key.name.clone());
            group.push(key.name.clone());
            columns.push(key);
        }
        items.extend(calls);
        columns.extend(called);
        let (items, group) = (items.join(", "), group.join(", "));
        let of_windows = !input.bounds.is_empty();
        let construct = match function {
            _ if of_windows => "windows over windows",
            other => other,
        };
        let (of, inputs) = match &input.table {
            Some(table) => (format!("TABLE {table}"), Vec::new()),
            None => ("{0}".to_owned(), vec![input]),
        };
        let template = format!(
            "SELECT {items} FROM {function}({of}{partition}, DESCRIPTOR({time}), {call}{offset}){condition} GROUP BY {group}"
        );
        let relation = Relation::derived(construct, template, inputs, columns).in_time(time_after.as_ref());
        Relation { bounds, ..relation }
    }

    /// `OVER` in the order of event time: rows come out once.
    pub(crate) fn over_in_time(&mut self) -> Relation {
        let input = self.timed();
        let time = input.time.clone().unwrap_or_default();
        let by = self.partition(&input.columns);
        let (order, frame) = match self.random.below(3) {
            0 => {
                (time.clone(), format!("RANGE BETWEEN {} PRECEDING AND CURRENT ROW", seconds(self.pick(&[1, 10, 60]))))
            }
            _ => {
                let others: Vec<Column> = input.columns.iter().filter(|column| column.name != time).cloned().collect();
                let others = self.total_order(&others);
                let order = if others.is_empty() { time.clone() } else { format!("{time}, {others}") };
                let frame = self.pick(&[
                    "ROWS BETWEEN 2 PRECEDING AND CURRENT ROW",
                    "ROWS BETWEEN 3 PRECEDING AND 1 PRECEDING",
                    "ROWS UNBOUNDED PRECEDING",
                ]);
                (order, frame.to_owned())
            }
        };
        let relation = self.over("OVER in time", input, &by, &order, &frame);
        let condition = format!(" WHERE q.{time} IS NOT NULL");
        Relation { template: relation.template + &condition, ..relation }.in_time(Some(&time))
    }

    /// `OVER` in any order, over rows that may change, also looking ahead: partitions are computed again.
    pub(crate) fn over_changes(&mut self) -> Relation {
        let input = self.query();
        let by = self.partition(&input.columns);
        let numbers: Vec<Column> =
            input.columns.iter().filter(|column| column.data_type == Type::Big).cloned().collect();
        if !numbers.is_empty() && self.chance(3) {
            let order = format!("coalesce({}, 0)", self.pick(&numbers).name);
            let frame = "RANGE BETWEEN 3 PRECEDING AND 2 FOLLOWING";
            return self.over("OVER", input, &by, &order, frame);
        }
        let order = self.total_order(&input.columns);
        let frame = self.pick(&[
            "ROWS BETWEEN 3 PRECEDING AND 2 FOLLOWING",
            "ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING",
            "ROWS BETWEEN 1 PRECEDING AND CURRENT ROW",
        ]);
        self.over("OVER", input, &by, &order, frame)
    }

    fn over(&mut self, construct: &'static str, input: Relation, by: &str, order: &str, frame: &str) -> Relation {
        let mut columns = input.columns.clone();
        let mut items = vec!["q.*".to_owned()];
        for _ in 0..1 + self.random.below(2) {
            let (call, data_type) = match self.random.below(6) {
                0 if !frame.starts_with("RANGE") => {
                    let column = self.pick(&input.columns);
                    let call = self.pick(&["lag", "first_value", "last_value"]);
                    (format!("{call}({})", column.name), column.data_type)
                }
                1 => ("rank()".to_owned(), Type::Big),
                _ => self.aggregate_call(&input.columns),
            };
            // As `CAST(sum(x) AS BIGINT)`: the window belongs to the call inside.
            let over = format!("OVER ({by}ORDER BY {order} {frame})");
            let call = match call.strip_prefix("CAST(").and_then(|inner| inner.rsplit_once(" AS ")) {
                Some((inner, cast)) => format!("CAST({inner} {over} AS {cast}"),
                None if call == "rank()" => format!("CAST(rank() OVER ({by}ORDER BY {order}) AS BIGINT)"),
                None => format!("{call} {over}"),
            };
            let name = self.name();
            items.push(format!("{call} AS {name}"));
            columns.push(Column { name, data_type });
        }
        let template = format!("SELECT {} FROM {{0}} AS q", items.join(", "));
        Relation::derived(construct, template, vec![input], columns)
    }

    /// Each row with the version of a table that holds at the row's time.
    pub(crate) fn as_of(&mut self) -> Relation {
        let left = self.timed();
        let time = left.time.clone().unwrap_or_default();
        let of = format!("FOR SYSTEM_TIME AS OF l.{time}");
        self.versioned("AS OF", left, &of).in_time(Some(&time))
    }

    /// Each row with what a table holds. Not over rows that change: such a run (seed 900124 of commit 5f9a056, over a top-N of
    /// no rows) once stood still, and why is not known yet.
    pub(crate) fn lookup(&mut self) -> Relation {
        let left = self.query();
        let time = left.time.clone();
        self.versioned("lookup", left, "FOR SYSTEM_TIME AS OF PROCTIME()").in_time(time.as_ref())
    }

    fn versioned(&mut self, construct: &'static str, left: Relation, of: &str) -> Relation {
        let right = self.base();
        // Batch ranks versions by key, and 0.0 and -0.0 apart.
        let columns = |of: &Relation| -> Vec<Column> {
            of.columns.iter().filter(|column| column.data_type != Type::Odd).cloned().collect()
        };
        let Some(equal) = self.equal_columns(&columns(&left), &columns(&right)) else { return left };
        let kind = self.pick(&["JOIN", "LEFT JOIN"]);
        let more = if self.chance(3) { self.comparison(&left.columns, &right.columns) } else { String::new() };
        let found = self.some(&right.columns, 3);
        let (found, names) = self.renamed("r", &found);
        let mut columns = left.columns.clone();
        columns.extend(names);
        let (table, found) = (right.table.unwrap_or_default(), found.join(", "));
        let template = format!("SELECT l.*, {found} FROM {{0}} AS l {kind} {table} {of} AS r ON {equal}{more}");
        Relation::derived(construct, template, vec![left], columns)
    }

    /// Rows that are near each other in time.
    pub(crate) fn interval_join(&mut self) -> Relation {
        let [left, right] = [self.timed(), self.timed()];
        let (of_left, of_right) = (left.time.clone().unwrap_or_default(), right.time.clone().unwrap_or_default());
        let Some(equal) = self.equal_columns(&left.columns, &right.columns) else { return left };
        let (before, after) = (seconds(self.pick(&[0, 2, 15])), seconds(self.pick(&[0, 5])));
        let near = format!("l.{of_left} BETWEEN r.{of_right} - {before} AND r.{of_right} + {after}");
        let kind = self.pick(&["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
        self.joined("interval JOIN", format!("{kind} {{1}} AS r"), format!("{equal} AND {near}"), [left, right])
    }

    /// Rows of the same window.
    pub(crate) fn window_join(&mut self) -> Relation {
        let [left, right] = [self.base(), self.base()];
        let Some(equal) = self.equal_columns(&left.columns, &right.columns) else { return left };
        let size = seconds(self.pick(&[5, 20]));
        let of_window = |relation: Relation| {
            let (table, mut columns) = (relation.table.clone().unwrap_or_default(), relation.columns.clone());
            columns.extend(["window_start", "window_end"].map(|bound| Column::new(bound, Type::Time)));
            let names = relation.names().join(", ");
            let template =
                format!("SELECT {names}, window_start, window_end FROM TUMBLE(TABLE {table}, DESCRIPTOR(ts), {size})");
            Relation::derived("rows of windows", template, Vec::new(), columns)
        };
        let same = "l.window_start = r.window_start AND l.window_end = r.window_end";
        let kind = self.pick(&["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
        let condition = format!("{equal} AND {same}");
        self.joined("window JOIN", format!("{kind} {{1}} AS r"), condition, [of_window(left), of_window(right)])
    }
}
