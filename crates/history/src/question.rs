//! Questions to a store, and the rows of the answers, whichever store it is: what is asked ([`crate::reading`]) and what is made
//! of the answer ([`crate::row`]) stand once.
//!
//! The statements are what SQLite and PostgreSQL understand alike, with parameters `$1`, `$2`, ... A `$n` may be named more than
//! once.

use async_trait::async_trait;

use crate::error::HistoryError;

/// What reading gives.
pub(crate) type Read<T> = Result<T, HistoryError>;

/// The value of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// A number, or nothing.
    Number(Option<i64>),
    /// A text, or nothing.
    Text(Option<String>),
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(Some(number))
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(Some(number.into()))
    }
}

impl From<Option<i64>> for Value {
    fn from(number: Option<i64>) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<Option<&str>> for Value {
    fn from(text: Option<&str>) -> Self {
        Self::Text(text.map(str::to_owned))
    }
}

/// A row. Numbers are 64 bits wide in every store.
pub(crate) trait Columns {
    /// A number, or nothing.
    fn number(&self, column: &str) -> Read<Option<i64>>;

    /// A text, or nothing.
    fn text(&self, column: &str) -> Read<Option<String>>;

    /// Yes or no; nothing is no.
    fn flag(&self, column: &str) -> Read<bool>;
}

/// A statement with its parameters.
pub(crate) struct Question {
    /// The statement.
    pub(crate) sql: &'static str,
    /// The values of `$1`, `$2`, ...
    pub(crate) values: Vec<Value>,
}

impl Question {
    /// A statement without parameters.
    pub(crate) fn plain(sql: &'static str) -> Self {
        Self { sql, values: Vec::new() }
    }
}

/// A store that answers questions.
#[async_trait]
pub(crate) trait Answers: Sync {
    /// Its rows.
    type Row: Columns + Send;
    /// The one function that the two spell differently: `$2`, an array of texts in JSON, as rows `value`, in its order.
    const TEXTS_OF_JSON: TextsOfJson;

    /// Answers all of them as of one moment.
    async fn answer(&self, questions: &[Question]) -> Read<Vec<Vec<Self::Row>>>;

    /// Answers one.
    async fn rows(&self, sql: &'static str, values: Vec<Value>) -> Read<Vec<Self::Row>> {
        Ok(self.answer(&[Question { sql, values }]).await?.into_iter().next().unwrap_or_default())
    }

    /// Answers one, of which at most one row is wanted.
    async fn row(&self, sql: &'static str, values: Vec<Value>) -> Read<Option<Self::Row>> {
        Ok(self.rows(sql, values).await?.into_iter().next())
    }
}

/// See [`Answers::TEXTS_OF_JSON`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum TextsOfJson {
    /// `json_each($2)`.
    Sqlite,
    /// `json_array_elements_text($2::json)`.
    Postgres,
}
