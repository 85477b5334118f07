//! A random query, as a tree of relations that knows its columns: so every part of it is a query too, which is how a failing
//! one is made smaller.

use mulgil_engine::deterministic::Random;

/// The types that queries compute with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Text,
    Big,
    Small,
    /// Fractions of two, which add up exactly.
    Double,
    /// Any fraction: it can be compared, and not added up in any order.
    Ratio,
    Boolean,
    Date,
    Time,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) data_type: Type,
}

/// A `SELECT` over others: `{0}`, `{1}` in its text stand for them.
#[derive(Clone, Debug)]
pub(crate) struct Relation {
    pub(crate) template: String,
    pub(crate) inputs: Vec<Relation>,
    pub(crate) columns: Vec<Column>,
    /// What it is, to count what was tried.
    pub(crate) construct: &'static str,
    /// For a table as it is: its name.
    pub(crate) table: Option<String>,
}

impl Relation {
    /// The table with these columns and a time column `ts`.
    pub(crate) fn table(name: &str, columns: Vec<Column>) -> Self {
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let template = format!("SELECT {} FROM {name}", names.join(", "));
        Self { template, inputs: Vec::new(), columns, construct: "table", table: Some(name.to_owned()) }
    }

    /// The query's text.
    pub(crate) fn sql(&self) -> String {
        let mut text = self.template.clone();
        for (number, input) in self.inputs.iter().enumerate() {
            text = text.replace(&format!("{{{number}}}"), &format!("({})", input.sql()));
        }
        text
    }

    /// All relations below this one, the largest first.
    pub(crate) fn parts(&self) -> Vec<&Relation> {
        let mut parts: Vec<&Relation> = self.inputs.iter().collect();
        parts.extend(self.inputs.iter().flat_map(Relation::parts));
        parts.sort_by_key(|part| std::cmp::Reverse(part.sql().len()));
        parts
    }

    pub(crate) fn constructs(&self) -> Vec<&'static str> {
        let mut constructs = vec![self.construct];
        constructs.extend(self.inputs.iter().flat_map(Relation::constructs));
        constructs
    }
}

/// Makes queries over some tables, each read at most once.
pub(crate) struct Queries<'a> {
    pub(crate) random: &'a mut Random,
    pub(crate) tables: Vec<(String, Vec<Column>)>,
    pub(crate) names: usize,
}

impl Queries<'_> {
    pub(crate) fn query(&mut self, depth: usize) -> Relation {
        if depth == 0 || self.tables.is_empty() {
            return self.base();
        }
        match self.random.below(16) {
            0 | 1 => self.project(depth),
            2 | 3 => self.filter(depth),
            4..=6 => self.aggregate(depth),
            7 => self.distinct(depth),
            8 | 9 => self.windowed(),
            10 | 11 if self.tables.len() > 1 => self.join(depth),
            12 if self.tables.len() > 1 => self.exists(depth),
            13 if self.tables.len() > 1 => self.union(depth),
            14 | 15 => self.top(depth),
            _ => self.filter(depth),
        }
    }

    pub(crate) fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.random.below(items.len())].clone()
    }

    pub(crate) fn chance(&mut self, one_in: usize) -> bool {
        self.random.below(one_in) == 0
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("c{}", self.names)
    }

    fn base(&mut self) -> Relation {
        let chosen = self.random.below(self.tables.len());
        let (name, columns) = self.tables.swap_remove(chosen);
        Relation::table(&name, columns)
    }

    fn derived(
        &self,
        construct: &'static str,
        template: String,
        inputs: Vec<Relation>,
        columns: Vec<Column>,
    ) -> Relation {
        Relation { template, inputs, columns, construct, table: None }
    }

    fn project(&mut self, depth: usize) -> Relation {
        let input = self.query(depth - 1);
        let (mut items, mut columns) = (Vec::new(), Vec::new());
        for _ in 0..1 + self.random.below(4) {
            let (text, data_type) = self.expression(&input.columns);
            let name = self.name();
            items.push(format!("{text} AS {name}"));
            columns.push(Column { name, data_type });
        }
        self.derived("project", format!("SELECT {} FROM {{0}} AS q", items.join(", ")), vec![input], columns)
    }

    fn filter(&mut self, depth: usize) -> Relation {
        let input = self.query(depth - 1);
        let columns = input.columns.clone();
        let condition = self.condition(&columns, "q.");
        self.derived("filter", format!("SELECT q.* FROM {{0}} AS q WHERE {condition}"), vec![input], columns)
    }

    fn distinct(&mut self, depth: usize) -> Relation {
        let input = self.query(depth - 1);
        let columns = self.some(&input.columns, 3);
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let template = format!("SELECT DISTINCT {} FROM {{0}} AS q", names.join(", "));
        self.derived("distinct", template, vec![input], columns)
    }

    fn aggregate(&mut self, depth: usize) -> Relation {
        let input = self.query(depth - 1);
        let keys = self.some(&input.columns, 2);
        let (mut items, mut columns) = (Vec::new(), keys.clone());
        items.extend(keys.iter().map(|key| key.name.clone()));
        for _ in 0..1 + self.random.below(3) {
            let (text, data_type) = self.aggregate_call(&input.columns);
            let name = self.name();
            items.push(format!("{text} AS {name}"));
            columns.push(Column { name, data_type });
        }
        let having = self.pick(&["", "", " HAVING count(*) > 1", " HAVING count(*) < 4"]);
        let group: Vec<&str> = keys.iter().map(|key| key.name.as_str()).collect();
        let template = format!("SELECT {} FROM {{0}} AS q GROUP BY {}{having}", items.join(", "), group.join(", "));
        self.derived("aggregate", template, vec![input], columns)
    }

    /// Windows stand on a table, which has event time.
    fn windowed(&mut self) -> Relation {
        let input = self.base();
        let table = input.table.clone().unwrap_or_default();
        let second = |n: usize| format!("INTERVAL '{n}' SECOND");
        let (construct, call) = match self.random.below(4) {
            0 => ("TUMBLE", second(self.pick(&[1, 7, 30]))),
            2 => ("HOP", format!("{}, {}", second(self.pick(&[5, 10, 30])), second(self.pick(&[10, 30, 45])))),
            1 => ("SESSION", second(self.pick(&[1, 4, 15]))),
            _ => ("CUMULATE", format!("{}, {}", second(self.pick(&[5, 10])), second(self.pick(&[20, 60])))),
        };
        let offset = if construct == "SESSION" { "" } else { self.pick(&["", "", ", INTERVAL '3' SECOND"]) };
        let key = self.pick(&input.columns);
        // Sessions are of a key; the rows of others do not hold one together.
        let is_session = construct == "SESSION";
        let keyed = is_session || self.chance(2);
        let partition = if is_session { format!(" PARTITION BY {}", key.name) } else { String::new() };
        let (mut items, mut columns) = (Vec::new(), Vec::new());
        let mut group = vec!["window_start".to_owned(), "window_end".to_owned()];
        if keyed {
            group.push(key.name.clone());
            items.push(key.name.clone());
            columns.push(key);
        }
        for bound in ["window_start", "window_end"] {
            let name = self.name();
            items.push(format!("{bound} AS {name}"));
            columns.push(Column { name, data_type: Type::Time });
        }
        for _ in 0..1 + self.random.below(3) {
            let (text, data_type) = self.aggregate_call(&input.columns);
            let name = self.name();
            items.push(format!("{text} AS {name}"));
            columns.push(Column { name, data_type });
        }
        let condition =
            if self.chance(2) { format!(" WHERE {}", self.condition(&input.columns, "")) } else { String::new() };
        let (items, group) = (items.join(", "), group.join(", "));
        let template = format!(
            "SELECT {items} FROM {construct}(TABLE {table}{partition}, DESCRIPTOR(ts), {call}{offset}){condition} GROUP BY {group}"
        );
        self.derived(construct, template, Vec::new(), columns)
    }

    fn join(&mut self, depth: usize) -> Relation {
        let left = self.query(depth - 1);
        if self.tables.is_empty() {
            return left;
        }
        let below = if self.chance(2) { 0 } else { depth - 1 };
        let right = self.query(below);
        let Some(equal) = self.equal_columns(&left.columns, &right.columns) else { return left };
        let kind = self.pick(&["JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
        let more = if self.chance(3) { self.comparison(&left.columns, &right.columns) } else { String::new() };
        let (mut items, mut columns) = (Vec::new(), Vec::new());
        for (side, from) in [("l", &left.columns), ("r", &right.columns)] {
            for column in self.some(from, 3) {
                let name = self.name();
                items.push(format!("{side}.{} AS {name}", column.name));
                columns.push(Column { name, ..column });
            }
        }
        let template = format!("SELECT {} FROM {{0}} AS l {kind} {{1}} AS r ON {equal}{more}", items.join(", "));
        self.derived(kind, template, vec![left, right], columns)
    }

    fn exists(&mut self, depth: usize) -> Relation {
        let left = self.query(depth - 1);
        if self.tables.is_empty() {
            return left;
        }
        let right = self.query(0);
        let Some(equal) = self.equal_columns(&left.columns, &right.columns) else { return left };
        let (construct, not) = self.pick(&[("EXISTS", ""), ("NOT EXISTS", "NOT ")]);
        let template = format!("SELECT l.* FROM {{0}} AS l WHERE {not}EXISTS (SELECT 1 FROM {{1}} AS r WHERE {equal})");
        let columns = left.columns.clone();
        self.derived(construct, template, vec![left, right], columns)
    }

    fn union(&mut self, depth: usize) -> Relation {
        let left = self.query(depth - 1);
        if self.tables.is_empty() {
            return left;
        }
        let right = self.query(depth - 1);
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
        if columns.is_empty() {
            return left;
        }
        let (construct, word) = self.pick(&[("UNION ALL", "UNION ALL"), ("UNION", "UNION")]);
        let (of_left, of_right) = (of_left.join(", "), of_right.join(", "));
        let template = format!("SELECT {of_left} FROM {{0}} AS q {word} SELECT {of_right} FROM {{1}} AS q");
        self.derived(construct, template, vec![left, right], columns)
    }

    /// Ordered by all columns, so that only equal rows are tied.
    fn top(&mut self, depth: usize) -> Relation {
        let input = self.query(depth - 1);
        let partition = if self.chance(4) { Vec::new() } else { self.some(&input.columns, 2) };
        let mut order: Vec<String> = Vec::new();
        let mut rest = input.columns.clone();
        while !rest.is_empty() {
            let column = rest.swap_remove(self.random.below(rest.len()));
            let direction = self.pick(&["", " DESC", " NULLS FIRST", " DESC NULLS LAST"]);
            order.push(format!("{}{direction}", column.name));
        }
        let by: Vec<&str> = partition.iter().map(|column| column.name.as_str()).collect();
        let by = if by.is_empty() { String::new() } else { format!("PARTITION BY {} ", by.join(", ")) };
        let mut columns = input.columns.clone();
        let rank = self.name();
        let names: Vec<&str> = input.columns.iter().map(|column| column.name.as_str()).collect();
        let mut shown = names.join(", ");
        if self.chance(2) {
            // The rank's type is unsigned: as a plain number it can be computed with.
            shown = format!("{shown}, CAST({rank} AS BIGINT) AS {rank}");
            columns.push(Column { name: rank.clone(), data_type: Type::Big });
        }
        let count = 1 + self.random.below(4);
        let template = format!(
            "SELECT {shown} FROM (SELECT q.*, ROW_NUMBER() OVER ({by}ORDER BY {}) AS {rank} FROM {{0}} AS q) AS n WHERE {rank} <= {count}",
            order.join(", ")
        );
        self.derived("top-N", template, vec![input], columns)
    }
}
