//! What is said to the database so that rows go into a table: its statements, as text.
//!
//! Without a key rows are copied straight into the table. With one they are copied into a temporary table first, each with its
//! number, its sign (+1 for `+I` and `+U`, -1 for `-U` and `-D`) and a fingerprint. Rows that came and went cancel out; of what is
//! left of a key the last row that came is put in or updates, and where nothing came and something went, the key is deleted. So
//! it does not matter in which order the changes of different rows of a key come: what counts is what is true at the end.

use super::{PostgresTable, quoted};

/// The temporary table of a session.
const CHANGES: &str = "mulgil_changes";
/// Columns of the temporary table beside those of the table.
const NUMBER: &str = "\"mulgil.number\"";
const SIGN: &str = "\"mulgil.sign\"";
const FINGERPRINT: &str = "\"mulgil.fingerprint\"";

/// The statements that write one table.
#[derive(Clone)]
pub(super) struct Target {
    name: String,
    columns: Vec<String>,
    key: Vec<String>,
}

impl Target {
    pub(super) fn new(table: &PostgresTable) -> Self {
        let columns = table.writable.fields().iter().map(|field| quoted(field.name())).collect();
        let key = table.primary_key.iter().map(|name| quoted(name)).collect();
        Self { name: table.quoted_name.clone(), columns, key }
    }

    /// Rows straight into the table.
    pub(super) fn copy(&self) -> String {
        format!("COPY {} ({}) FROM STDIN", self.name, self.columns.join(", "))
    }

    /// The temporary table: columns of the table's own types, so that a bad cell is found when it comes.
    pub(super) fn make_changes(&self) -> String {
        let columns = self.columns.join(", ");
        format!(
            "CREATE TEMPORARY TABLE {CHANGES} ON COMMIT DELETE ROWS AS SELECT 0::int8 AS {NUMBER}, 0::int2 AS {SIGN}, \
             0::int8 AS {FINGERPRINT}, {columns} FROM {} WITH NO DATA",
            self.name
        )
    }

    /// Changes into the temporary table.
    pub(super) fn copy_changes(&self) -> String {
        format!("COPY pg_temp.{CHANGES} ({NUMBER}, {SIGN}, {FINGERPRINT}, {}) FROM STDIN", self.columns.join(", "))
    }

    /// From the temporary table into the table, where there are new rows only: the last of each key.
    pub(super) fn merge_rows(&self) -> String {
        let (columns, key) = (self.columns.join(", "), self.key.join(", "));
        let last = format!("SELECT DISTINCT ON ({key}) {columns} FROM pg_temp.{CHANGES} ORDER BY {key}, {NUMBER} DESC");
        format!("INSERT INTO {} ({columns}) {last} {}", self.name, self.on_conflict())
    }

    /// From the temporary table into the table, where rows come and go.
    pub(super) fn merge_changes(&self) -> String {
        let (columns, key) = (self.columns.join(", "), self.key.join(", "));
        let prefixed = |names: &[String], prefix: &str| -> String {
            names.iter().map(|name| format!("{prefix}.{name}")).collect::<Vec<String>>().join(", ")
        };
        let same: Vec<String> = self.key.iter().map(|name| format!("target.{name} = net.{name}")).collect();
        format!(
            "WITH sums AS (SELECT {key}, sum({SIGN}) AS {SIGN}, max({NUMBER}) AS {NUMBER} FROM pg_temp.{CHANGES} \
             GROUP BY {key}, {FINGERPRINT} HAVING sum({SIGN}) <> 0), \
             net AS (SELECT DISTINCT ON ({key}) * FROM sums ORDER BY {key}, ({SIGN} > 0) DESC, {NUMBER} DESC), \
             gone AS (DELETE FROM {name} AS target USING net WHERE net.{SIGN} < 0 AND {same}) \
             INSERT INTO {name} ({columns}) SELECT {from} FROM pg_temp.{CHANGES} AS change JOIN net USING ({NUMBER}) \
             WHERE net.{SIGN} > 0 {on_conflict}",
            name = self.name,
            same = same.join(" AND "),
            from = prefixed(&self.columns, "change"),
            on_conflict = self.on_conflict(),
        )
    }

    fn on_conflict(&self) -> String {
        let updates = self.columns.iter().filter(|name| !self.key.contains(name));
        let updates: Vec<String> = updates.map(|name| format!("{name} = EXCLUDED.{name}")).collect();
        let action =
            if updates.is_empty() { "NOTHING".to_owned() } else { format!("UPDATE SET {}", updates.join(", ")) };
        format!("ON CONFLICT ({}) DO {action}", self.key.join(", "))
    }

    /// Lets others read, but nobody write, until the end of the transaction.
    pub(super) fn lock(&self) -> String {
        format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", self.name)
    }

    /// Removes the rows for which `condition` is true; all of them without one.
    pub(super) fn delete(&self, condition: &str) -> String {
        let condition = if condition.is_empty() { String::new() } else { format!(" WHERE {condition}") };
        format!("DELETE FROM {}{condition}", self.name)
    }
}
