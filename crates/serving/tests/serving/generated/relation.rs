//! A random query as a tree of relations that know their columns: so every part of it is a query too, which is how a
//! failing one is made smaller.

/// The types that queries compute with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Text,
    Big,
    Small,
    Decimal,
    /// Fractions of two, which add up exactly.
    Double,
    /// Any fraction: it can be compared, and not added up in any order.
    Ratio,
    /// With infinities, NaN and a zero below zero: a key, of which DataFusion itself says no least and greatest.
    Odd,
    Boolean,
    Date,
    Time,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) data_type: Type,
}

impl Column {
    pub(crate) fn new(name: impl Into<String>, data_type: Type) -> Self {
        Self { name: name.into(), data_type }
    }
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
    /// The column that tells its event time; none where rows come out of time, or change.
    pub(crate) time: Option<String>,
    /// The columns of the window that each row belongs to.
    pub(crate) bounds: Vec<String>,
}

impl Relation {
    /// The table with these columns and a time column `ts`.
    pub(crate) fn table(name: &str, columns: Vec<Column>) -> Self {
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let template = format!("SELECT {} FROM {name}", names.join(", "));
        let time = Some("ts".to_owned());
        Self { table: Some(name.to_owned()), time, ..Self::derived("table", template, Vec::new(), columns) }
    }

    pub(crate) fn derived(
        construct: &'static str,
        template: String,
        inputs: Vec<Relation>,
        columns: Vec<Column>,
    ) -> Self {
        Self { template, inputs, columns, construct, table: None, time: None, bounds: Vec::new() }
    }

    /// With `time` as its time, if that is still among its columns.
    pub(crate) fn in_time(mut self, time: Option<&String>) -> Self {
        self.time = time.filter(|time| self.columns.iter().any(|column| column.name == **time)).cloned();
        self
    }

    /// The columns' names.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.columns.iter().map(|column| column.name.as_str()).collect()
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
