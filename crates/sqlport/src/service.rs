//! What answers queries, as the port sees it.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use async_trait::async_trait;
use futures::stream::BoxStream;

/// Who asks, and with which settings.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The user's name, as the client gave it.
    pub user: String,
    /// The database's name, as the client gave it; there is only one.
    pub database: String,
    /// The number of the connection, as `pg_backend_pid()` gives it.
    pub process: i32,
    /// The settings of the connection, by name in lower case.
    pub settings: BTreeMap<String, String>,
}

/// What is known of a statement before it runs.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The columns of its rows.
    pub schema: SchemaRef,
    /// By parameter: its type.
    pub parameters: Vec<DataType>,
    /// A shorter way to its rows, where there is one.
    pub shortcut: Option<Arc<dyn Shortcut>>,
}

/// A way to the rows of a prepared statement that is so short that it is gone on the connection's own thread.
#[async_trait]
pub trait Shortcut: Debug + Send + Sync {
    /// All rows that [`QueryService::run`] would give; `None` where the statement is to be run after all. Each parameter is an
    /// array of one value.
    async fn rows(&self, parameters: &[ArrayRef]) -> Result<Option<RecordBatch>, QueryError>;
}

/// The rows of a statement, as they come.
pub struct Answer {
    /// The columns.
    pub schema: SchemaRef,
    /// The rows. Dropping it ends the query.
    pub batches: BoxStream<'static, Result<RecordBatch, QueryError>>,
}

/// Plans and runs statements.
#[async_trait]
pub trait QueryService: Send + Sync + 'static {
    /// Plans one statement and runs nothing. `types` are the types of `$1`, `$2`, … that the client knows.
    async fn prepare(&self, caller: &Caller, text: &str, types: &[Option<DataType>]) -> Result<Prepared, QueryError>;
    /// Runs one statement. Each parameter is an array of one value.
    async fn run(&self, caller: Arc<Caller>, text: &str, parameters: &[ArrayRef]) -> Result<Answer, QueryError>;
}

/// Why a statement was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct QueryError {
    /// The condition's code: five letters and digits, as PostgreSQL has them.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Where in the statement, in characters from 1.
    pub position: Option<usize>,
}

impl QueryError {
    /// The text is wrong.
    pub const SYNTAX: &'static str = "42601";
    /// There is no such table.
    pub const UNKNOWN_TABLE: &'static str = "42P01";
    /// There is no such column.
    pub const UNKNOWN_COLUMN: &'static str = "42703";
    /// There is no such function, or not with such arguments.
    pub const UNKNOWN_FUNCTION: &'static str = "42883";
    /// Another mistake of the statement.
    pub const MISTAKE: &'static str = "42000";
    /// The statement would change something.
    pub const READ_ONLY: &'static str = "25006";
    /// The statement is right, and is not done here.
    pub const UNSUPPORTED: &'static str = "0A000";
    /// A text is not a value of its type.
    pub const INVALID_TEXT: &'static str = "22P02";
    /// A setting or parameter has a value that it cannot have.
    pub const INVALID_VALUE: &'static str = "22023";
    /// A number or time is beyond what its type holds.
    pub const OUT_OF_RANGE: &'static str = "22003";
    /// A division by zero.
    pub const DIVISION_BY_ZERO: &'static str = "22012";
    /// The query needs more memory than it may take.
    pub const OUT_OF_MEMORY: &'static str = "53200";
    /// A table could not be read.
    pub const IO: &'static str = "58030";
    /// Anything else.
    pub const INTERNAL: &'static str = "XX000";

    /// An error without place and hint.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, position: None }
    }

    /// With what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With the place: a character of the statement, from 1.
    pub fn at(mut self, position: usize) -> Self {
        self.position = Some(position);
        self
    }

    /// The same error about a text in which the statement begins after so many characters.
    pub(crate) fn shifted(mut self, characters: usize) -> Self {
        self.position = self.position.map(|position| position + characters);
        self
    }
}
