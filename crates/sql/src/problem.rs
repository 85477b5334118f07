//! What can be wrong with SQL: a mistake in the text with its place and its remedy, a construct that this mode cannot
//! run, or a failure while running.

use std::fmt;
use std::path::{Path, PathBuf};

use arrow::error::ArrowError;
use datafusion::common::{DataFusionError, SchemaError};
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::Location;
use mulgil_connect::error::ConnectError;
use mulgil_dataflow::expression::EvaluationError;
use serde::Serialize;

/// What kind of mistake it is, for programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProblemKind {
    /// Any other.
    #[default]
    Other,
    /// The text does not follow the grammar.
    Syntax,
    /// There is no such table or view.
    UnknownTable,
    /// There is no such column.
    UnknownColumn,
    /// There is no such function.
    UnknownFunction,
}

/// What kind of failure a running query met, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It needs more memory than it may take.
    OutOfMemory,
    /// A number was divided by zero.
    DivisionByZero,
    /// A text is not a value of the type that it was to become.
    InvalidValue,
    /// A result is beyond what its type holds.
    OutOfRange,
    /// A table could not be read.
    Outside,
    /// Any other.
    Other,
}

impl Failure {
    fn of(error: &DataFusionError) -> Self {
        match error.find_root() {
            DataFusionError::ResourcesExhausted(_) => Self::OutOfMemory,
            DataFusionError::ArrowError(error, _) => match error.as_ref() {
                ArrowError::DivideByZero => Self::DivisionByZero,
                ArrowError::CastError(_) | ArrowError::ParseError(_) => Self::InvalidValue,
                ArrowError::ArithmeticOverflow(_) => Self::OutOfRange,
                ArrowError::IoError(..) => Self::Outside,
                _ => Self::Other,
            },
            DataFusionError::IoError(_) | DataFusionError::ObjectStore(_) => Self::Outside,
            _ => Self::Other,
        }
    }
}

/// A mistake in SQL text, with its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SqlProblem {
    /// The file, or `query` for text that came from elsewhere.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: u64,
    /// The column in characters, from 1.
    pub column: u64,
    /// What is wrong. Lower case, no full stop.
    pub message: String,
    /// What to do about it.
    pub remedy: Option<String>,
    /// What kind of mistake it is.
    #[serde(skip)]
    pub kind: ProblemKind,
}

impl SqlProblem {
    fn from_mistake(error: &DataFusionError) -> Self {
        Mistake::from_planner(error, Location { line: 1, column: 1 }).in_file(Path::new("query"))
    }
}

impl fmt::Display for SqlProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file.display(), self.line, self.column, self.message)?;
        match &self.remedy {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for SqlProblem {}

/// Why a statement could not be planned or run.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// A mistake in the text.
    #[error(transparent)]
    Problem(Box<SqlProblem>),
    /// The text is right, but this way of running it does not know the construct.
    #[error("{construct} is not supported in stream mode yet; {remedy}")]
    NotInStream {
        /// The construct, in the user's words.
        construct: String,
        /// What to do instead.
        remedy: String,
    },
    /// The text is right, but a later version will run it.
    #[error("{0}")]
    Later(String),
    /// Running it failed.
    #[error("query failed: {0}")]
    Execution(#[from] DataFusionError),
    /// A table could not be read or written.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// An expression could not be prepared for the stream.
    #[error(transparent)]
    Evaluation(#[from] EvaluationError),
}

impl From<SqlProblem> for SqlError {
    fn from(problem: SqlProblem) -> Self {
        SqlError::Problem(Box::new(problem))
    }
}

impl SqlError {
    /// The same error about a text that came from `file`.
    pub fn in_file(self, file: &Path) -> Self {
        match self {
            SqlError::Problem(mut problem) if problem.file == Path::new("query") => {
                problem.file = file.to_owned();
                SqlError::Problem(problem)
            }
            other => other,
        }
    }

    /// What DataFusion complains about while it runs; a connector's own words come out of their wrapping.
    pub(crate) fn from_running(error: DataFusionError) -> Self {
        match error.find_root() {
            DataFusionError::External(own) if own.downcast_ref::<Mistake>().is_some() => {
                SqlProblem::from_mistake(&error).into()
            }
            _ => SqlError::Execution(error),
        }
    }

    /// What kind of failure it is, for programs.
    pub fn failure(&self) -> Failure {
        match self {
            SqlError::Execution(error) => Failure::of(error),
            SqlError::Connect(_) => Failure::Outside,
            _ => Failure::Other,
        }
    }

    /// A construct that stream mode does not run, with the usual remedy.
    pub(crate) fn not_in_stream(construct: impl Into<String>) -> Self {
        SqlError::NotInStream {
            construct: construct.into(),
            remedy: "run it with --mode batch, or as a view with REFRESH_MODE = FULL".to_owned(),
        }
    }
}

/// A mistake whose file is not known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) at: Location,
    pub(crate) message: String,
    pub(crate) remedy: Option<String>,
    pub(crate) kind: ProblemKind,
}

impl Mistake {
    pub(crate) fn new(at: Location, message: impl Into<String>) -> Self {
        Self { at, message: message.into(), remedy: None, kind: ProblemKind::Other }
    }

    pub(crate) fn kind(mut self, kind: ProblemKind) -> Self {
        self.kind = kind;
        self
    }

    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    pub(crate) fn in_file(self, file: &Path) -> SqlProblem {
        SqlProblem {
            file: file.to_owned(),
            line: self.at.line.max(1),
            column: self.at.column.max(1),
            message: self.message,
            remedy: self.remedy,
            kind: self.kind,
        }
    }

    /// What the parser complains about; it writes the place at the end of its message.
    pub(crate) fn from_parser(error: &ParserError, fallback: Location) -> Self {
        let text = match error {
            ParserError::ParserError(text) | ParserError::TokenizerError(text) => text.clone(),
            ParserError::RecursionLimitExceeded => "statement is nested too deeply".to_owned(),
        };
        let (message, at) = split_place(&text).unwrap_or((&text, fallback));
        Self::new(at, lower_first(message)).kind(ProblemKind::Syntax)
    }

    /// What the planner complains about; it knows the place of most names.
    pub(crate) fn from_planner(error: &DataFusionError, fallback: Location) -> Self {
        let at = error
            .diagnostic()
            .and_then(|diagnostic| diagnostic.span)
            .map_or(fallback, |span| Location { line: span.start.line, column: span.start.column });
        let root = error.find_root();
        if let DataFusionError::External(own) = root
            && let Some(mistake) = own.downcast_ref::<Mistake>()
        {
            let place = if mistake.at.line == 0 { at } else { mistake.at };
            return Self { at: place, ..mistake.clone() };
        }
        if let DataFusionError::SchemaError(schema_error, _) = root
            && let SchemaError::FieldNotFound { field, valid_fields } = schema_error.as_ref()
        {
            let names: Vec<&str> = valid_fields.iter().map(|column| column.name.as_str()).collect();
            return Self::new(at, format!("unknown column {}", field.flat_name().replace('"', "")))
                .remedy(did_you_mean(&field.name, &names, "columns here"))
                .kind(ProblemKind::UnknownColumn);
        }
        let text = root.strip_backtrace();
        let text = text.strip_prefix("Error during planning: ").unwrap_or(&text);
        let text = text.strip_prefix("This feature is not implemented: ").unwrap_or(text);
        let mut lines = text.lines();
        let mistake = Self::new(at, lower_first(lines.next().unwrap_or(text)));
        let is_function = text.starts_with("Invalid function ");
        let mistake = if is_function { mistake.kind(ProblemKind::UnknownFunction) } else { mistake };
        match lines.next() {
            Some(remedy) => mistake.remedy(lower_first(remedy)),
            None => mistake,
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Mistake {}

/// Takes ` at Line: 3, Column: 7` off a parser's message.
fn split_place(text: &str) -> Option<(&str, Location)> {
    let (message, place) = text.rsplit_once(" at Line: ")?;
    let (line, column) = place.split_once(", Column: ")?;
    Some((message, Location { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? }))
}

/// Messages begin in lower case; names in capitals stay.
fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), Some(second)) if first.is_uppercase() && !second.is_uppercase() => {
            first.to_lowercase().chain(letters).collect::<String>().trim_end_matches('.').to_owned()
        }
        _ => text.trim_end_matches('.').to_owned(),
    }
}

/// `did you mean "departures"?`, or the list of what there is.
pub(crate) fn did_you_mean(wrong: &str, known: &[&str], what: &str) -> String {
    let nearest = known
        .iter()
        .map(|name| (edit_distance(&wrong.to_lowercase(), &name.to_lowercase()), *name))
        .min_by_key(|(distance, _)| *distance);
    match nearest {
        // Of one or two letters, everything is near everything.
        Some((distance, name)) if wrong.chars().count() > 2 && distance <= wrong.chars().count().div_ceil(3) => {
            format!("did you mean {name}?")
        }
        Some(_) => {
            const SHOWN_MAX: usize = 12;
            let mut shown: Vec<&str> = known.iter().copied().take(SHOWN_MAX).collect();
            if known.len() > SHOWN_MAX {
                shown.push("...");
            }
            format!("{what}: {}", shown.join(", "))
        }
        None => format!("there are no {what}"),
    }
}

/// Letters to insert, delete, change or swap with a neighbour (optimal string alignment).
#[expect(clippy::indexing_slicing, reason = "indices run below the lengths that the rows were made with")]
fn edit_distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut before_last = vec![0; to.len() + 1];
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for i in 1..=from.len() {
        let mut row = vec![i; to.len() + 1];
        for j in 1..=to.len() {
            let changed = usize::from(from[i - 1] != to[j - 1]);
            row[j] = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + changed);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[to.len()]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn suggests_the_nearest_name_or_lists_all() {
        assert_eq!(did_you_mean("dep_dealy", &["carrier", "dep_delay"], "columns"), "did you mean dep_delay?");
        assert_eq!(did_you_mean("xyz", &["carrier", "dep_delay"], "columns"), "columns: carrier, dep_delay");
        assert_eq!(did_you_mean("xyz", &[], "tables"), "there are no tables");
    }

    #[test]
    fn takes_the_place_from_the_parser() {
        let error = ParserError::ParserError("Expected: FROM, found: x at Line: 3, Column: 7".to_owned());
        let mistake = Mistake::from_parser(&error, Location { line: 1, column: 1 });
        assert_eq!((mistake.at.line, mistake.at.column), (3, 7));
        assert_eq!(mistake.message, "expected: FROM, found: x");
    }
}
