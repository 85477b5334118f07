//! Makes random queries out of constructs that stand over any other: projections, filters, aggregates, joins, unions,
//! ranks, sub-queries. Those that ask for event time are in [`super::timed`].

use mulgil_engine::deterministic::Random;

use super::relation::{Column, Relation, Type};

/// Makes queries over some tables.
pub(crate) struct Queries<'a> {
    pub(crate) random: &'a mut Random,
    pub(crate) tables: &'a [(String, Vec<Column>)],
    /// The tables that the query does not read yet.
    pub(crate) unread: Vec<usize>,
    pub(crate) names: usize,
    /// How many constructs may still be added.
    pub(crate) budget: usize,
    /// Whether a window's result is final, because no rows are late.
    pub(crate) is_final: bool,
}

impl Queries<'_> {
    pub(crate) fn query(&mut self) -> Relation {
        if self.budget == 0 {
            return self.base();
        }
        self.budget -= 1;
        match self.random.below(28) {
            0..=2 => self.project(),
            3 | 4 => self.filter(),
            5..=7 => self.aggregate(),
            8 => self.distinct(),
            9..=11 => self.windowed(),
            12 | 13 => self.join(),
            14 => self.exists(),
            15 => self.included(),
            16 => self.union(),
            17 | 18 => self.top(),
            19 | 20 => self.over_in_time(),
            21 => self.over_changes(),
            22 => self.as_of(),
            23 => self.lookup(),
            24 => self.interval_join(),
            25 => self.window_join(),
            26 => self.unnest(),
            _ => self.scalar_subquery(),
        }
    }

    pub(crate) fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.random.below(items.len())].clone()
    }

    pub(crate) fn chance(&mut self, one_in: usize) -> bool {
        self.random.below(one_in) == 0
    }

    pub(crate) fn name(&mut self) -> String {
        self.names += 1;
        format!("c{}", self.names)
    }

    /// A table; now and then one that is read already.
    pub(crate) fn base(&mut self) -> Relation {
        let table = match self.unread.is_empty() || self.chance(6) {
            true => self.random.below(self.tables.len()),
            false => self.unread.swap_remove(self.random.below(self.unread.len())),
        };
        let (name, columns) = &self.tables[table];
        Relation::table(name, columns.clone())
    }

    /// The second input of something: mostly a table.
    pub(crate) fn second(&mut self) -> Relation {
        if self.chance(2) { self.query() } else { self.base() }
    }

    /// `side.column AS name` for some columns, each under a new name.
    pub(crate) fn renamed(&mut self, side: &str, columns: &[Column]) -> (Vec<String>, Vec<Column>) {
        let rename = |column: &Column| {
            let name = self.name();
            (format!("{side}.{} AS {name}", column.name), Column { name, ..column.clone() })
        };
        columns.iter().map(rename).unzip()
    }

    fn project(&mut self) -> Relation {
        let input = self.query();
        let (mut items, mut columns) = (Vec::new(), Vec::new());
        for _ in 0..1 + self.random.below(4) {
            let (text, data_type) = self.expression(&input.columns);
            let name = self.name();
            items.push(format!("{text} AS {name}"));
            columns.push(Column { name, data_type });
        }
        let time = input.time.clone().filter(|_| !self.chance(3));
        if let Some(time) = &time {
            items.push(time.clone());
            columns.push(Column::new(time, Type::Time));
        }
        let template = format!("SELECT {} FROM {{0}} AS q", items.join(", "));
        Relation::derived("project", template, vec![input], columns).in_time(time.as_ref())
    }

    fn filter(&mut self) -> Relation {
        let input = self.query();
        let (columns, time, bounds) = (input.columns.clone(), input.time.clone(), input.bounds.clone());
        let condition = self.condition(&columns, "q.");
        let template = format!("SELECT q.* FROM {{0}} AS q WHERE {condition}");
        Relation { bounds, ..Relation::derived("filter", template, vec![input], columns).in_time(time.as_ref()) }
    }

    fn distinct(&mut self) -> Relation {
        let input = self.query();
        let columns = self.some(&input.columns, 3);
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let template = format!("SELECT DISTINCT {} FROM {{0}} AS q", names.join(", "));
        Relation::derived("DISTINCT", template, vec![input], columns)
    }

    /// Aggregate calls, each with a name.
    pub(crate) fn calls(&mut self, columns: &[Column]) -> (Vec<String>, Vec<Column>) {
        let count = 1 + self.random.below(3);
        let call = |_| {
            let (text, data_type) = self.aggregate_call(columns);
            let name = self.name();
            (format!("{text} AS {name}"), Column { name, data_type })
        };
        (0..count).map(call).unzip()
    }

    fn aggregate(&mut self) -> Relation {
        let input = self.query();
        let keys = self.some(&input.columns, 2);
        let (calls, mut columns) = self.calls(&input.columns);
        let names: Vec<&str> = keys.iter().map(|key| key.name.as_str()).collect();
        let group = match self.random.below(12) {
            0 => String::new(),
            1 => format!(" GROUP BY ROLLUP ({})", names.join(", ")),
            _ => format!(" GROUP BY {}", names.join(", ")),
        };
        let having = self.pick(&["", "", " HAVING count(*) > 1", " HAVING count(*) < 4"]);
        let items = match group.is_empty() {
            true => calls,
            false => names.iter().map(|name| (*name).to_owned()).chain(calls).collect(),
        };
        if !group.is_empty() {
            columns.splice(0..0, keys.clone());
        }
        let template = format!("SELECT {} FROM {{0}} AS q{group}{having}", items.join(", "));
        Relation::derived("aggregate", template, vec![input], columns)
    }

    fn join(&mut self) -> Relation {
        let left = self.query();
        let right = self.second();
        let Some(equal) = self.equal_columns(&left.columns, &right.columns) else { return left };
        let kind = self.pick(&["JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
        let more = if self.chance(3) { self.comparison(&left.columns, &right.columns) } else { String::new() };
        self.joined(kind, format!("{kind} {{1}} AS r"), format!("{equal}{more}"), [left, right])
    }

    /// `SELECT ... FROM left AS l JOIN right AS r ON condition`.
    pub(crate) fn joined(
        &mut self,
        construct: &'static str,
        join: String,
        condition: String,
        [left, right]: [Relation; 2],
    ) -> Relation {
        let (of_left, of_right) = (self.some(&left.columns, 3), self.some(&right.columns, 3));
        let (mut items, mut columns) = self.renamed("l", &of_left);
        let (more, names) = self.renamed("r", &of_right);
        items.extend(more);
        columns.extend(names);
        let template = format!("SELECT {} FROM {{0}} AS l {join} ON {condition}", items.join(", "));
        Relation::derived(construct, template, vec![left, right], columns)
    }

    fn exists(&mut self) -> Relation {
        let left = self.query();
        let right = self.second();
        let Some(equal) = self.equal_columns(&left.columns, &right.columns) else { return left };
        let (construct, not) = self.pick(&[("EXISTS", ""), ("NOT EXISTS", "NOT ")]);
        let template = format!("SELECT l.* FROM {{0}} AS l WHERE {not}EXISTS (SELECT 1 FROM {{1}} AS r WHERE {equal})");
        let columns = left.columns.clone();
        Relation::derived(construct, template, vec![left, right], columns)
    }

    fn included(&mut self) -> Relation {
        let left = self.query();
        let right = self.second();
        let Some(equal) = self.equal_columns(&left.columns, &right.columns) else { return left };
        let (of_left, of_right) = equal.split_once(" = ").unwrap();
        let is_in = self.pick(&["IN", "NOT IN"]);
        let template =
            format!("SELECT l.* FROM {{0}} AS l WHERE {of_left} {is_in} (SELECT {of_right} FROM {{1}} AS r)");
        let columns = left.columns.clone();
        Relation::derived(is_in, template, vec![left, right], columns)
    }

    /// A value beside each row: of a group that the row names, or of everything.
    fn scalar_subquery(&mut self) -> Relation {
        let left = self.query();
        let right = self.second();
        let Some(equal) = self.equal_columns(&left.columns, &right.columns) else { return left };
        let name = self.name();
        let of = self.pick(&right.columns).name;
        let (call, data_type) = self.pick(&[("count(*)".to_owned(), Type::Big), (format!("count(r.{of})"), Type::Big)]);
        let condition = if self.chance(3) { String::new() } else { format!(" WHERE {equal}") };
        let template = format!("SELECT l.*, (SELECT {call} FROM {{1}} AS r{condition}) AS {name} FROM {{0}} AS l");
        let mut columns = left.columns.clone();
        columns.push(Column { name, data_type });
        Relation::derived("sub-query", template, vec![left, right], columns)
    }

    fn union(&mut self) -> Relation {
        let left = self.query();
        let right = self.second();
        let (mut of_left, mut of_right, mut columns) = (Vec::new(), Vec::new(), Vec::new());
        for column in self.some(&left.columns, 3) {
            let same: Vec<Column> = right.columns.iter().filter(|c| c.data_type == column.data_type).cloned().collect();
            if !same.is_empty() {
                let (other, name) = (self.pick(&same), self.name());
                of_left.push(format!("{} AS {name}", column.name));
                of_right.push(format!("{} AS {name}", other.name));
                columns.push(Column { name, ..column });
            }
        }
        let mut time = None;
        if let (Some(left), Some(right)) = (&left.time, &right.time) {
            let name = self.name();
            of_left.push(format!("{left} AS {name}"));
            of_right.push(format!("{right} AS {name}"));
            columns.push(Column::new(&name, Type::Time));
            time = Some(name);
        }
        if columns.is_empty() {
            return left;
        }
        let construct = self.pick(&["UNION ALL", "UNION ALL", "UNION", "INTERSECT", "EXCEPT"]);
        let time = time.filter(|_| construct == "UNION ALL");
        let (of_left, of_right) = (of_left.join(", "), of_right.join(", "));
        let template = format!("SELECT {of_left} FROM {{0}} AS q {construct} SELECT {of_right} FROM {{1}} AS q");
        Relation::derived(construct, template, vec![left, right], columns).in_time(time.as_ref())
    }

    /// All columns, in some order and direction: so that only equal rows are tied.
    pub(crate) fn total_order(&mut self, columns: &[Column]) -> String {
        let mut order: Vec<String> = Vec::new();
        let mut rest = columns.to_vec();
        while !rest.is_empty() {
            let column = rest.swap_remove(self.random.below(rest.len()));
            let direction = self.pick(&["", " DESC", " NULLS FIRST", " DESC NULLS LAST"]);
            order.push(format!("{}{direction}", column.name));
        }
        order.join(", ")
    }

    /// `PARTITION BY` some columns, or nothing.
    pub(crate) fn partition(&mut self, columns: &[Column]) -> String {
        if self.chance(4) {
            return String::new();
        }
        let by: Vec<String> = self.some(columns, 2).into_iter().map(|column| column.name).collect();
        format!("PARTITION BY {} ", by.join(", "))
    }

    fn top(&mut self) -> Relation {
        let input = self.query();
        let is_windowed = !input.bounds.is_empty() && !self.chance(3);
        let (construct, by) = match is_windowed {
            true => ("window top-N", format!("PARTITION BY {} ", input.bounds.join(", "))),
            false => ("top-N", self.partition(&input.columns)),
        };
        let order = self.total_order(&input.columns);
        let (rank, mut columns) = (self.name(), input.columns.clone());
        let mut shown = input.names().join(", ");
        if self.chance(2) {
            // The rank's type is unsigned: as a plain number it can be computed with.
            shown = format!("{shown}, CAST({rank} AS BIGINT) AS {rank}");
            columns.push(Column::new(&rank, Type::Big));
        }
        let count = 1 + self.random.below(4);
        let template = format!(
            "SELECT {shown} FROM (SELECT q.*, ROW_NUMBER() OVER ({by}ORDER BY {order}) AS {rank} FROM {{0}} AS q) AS n WHERE {rank} <= {count}"
        );
        Relation::derived(construct, template, vec![input], columns)
    }

    fn unnest(&mut self) -> Relation {
        let input = self.query();
        let Column { name, data_type } = self.pick(&input.columns);
        let list = match data_type {
            Type::Text => format!("string_to_array(q.{name}, 'k')"),
            _ => format!("make_array(q.{name}, nullif(q.{name}, q.{name}))"),
        };
        let (element, (mut items, mut columns)) = (self.name(), self.renamed("q", &input.columns));
        items.push(format!("u.{element} AS {element}"));
        columns.push(Column { name: element.clone(), data_type });
        let items = items.join(", ");
        let template = format!("SELECT {items} FROM {{0}} AS q CROSS JOIN UNNEST({list}) AS u ({element})");
        Relation::derived("UNNEST", template, vec![input], columns)
    }
}
