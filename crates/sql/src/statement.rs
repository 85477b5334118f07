//! The statements that Mulgil knows, read from a file that may hold several.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::tokenizer::{Location, TokenWithSpan};
use mulgil_connect::definition::{TableDefinition, TableName};
use serde::{Deserialize, Serialize};

use crate::ddl;
use crate::problem::{Mistake, ProblemKind, SqlProblem};
use crate::text::{SourceText, is_word, parser, split_statements};

/// How a view is kept up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RefreshMode {
    /// Batch: recomputed as a whole.
    Full,
    /// Stream: kept up to date row by row.
    Continuous,
    /// A batch layer and a speed layer.
    Lambda,
    /// Stream only, replayed from the log.
    Kappa,
}

impl fmt::Display for RefreshMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RefreshMode::Full => "FULL",
            RefreshMode::Continuous => "CONTINUOUS",
            RefreshMode::Lambda => "LAMBDA",
            RefreshMode::Kappa => "KAPPA",
        })
    }
}

/// A statement, with its text and its place.
#[derive(Clone, Debug)]
pub struct Statement {
    /// What it says.
    pub kind: StatementKind,
    /// Its text, without the semicolon.
    pub text: String,
    /// Where it begins.
    pub(crate) at: Location,
}

impl Statement {
    /// The line on which it begins, from 1.
    pub fn line(&self) -> u64 {
        self.at.line
    }
}

/// What a statement says.
#[derive(Clone, Debug)]
pub enum StatementKind {
    /// `CREATE TABLE`.
    CreateTable(Box<TableDeclaration>),
    /// `CREATE MATERIALIZED TABLE`.
    CreateView(ViewDeclaration),
    /// `INSERT INTO ... SELECT`.
    Insert(InsertDeclaration),
    /// `SELECT`.
    Query(QueryText),
    /// `EXPLAIN` of one of the two above.
    Explain(Box<Statement>),
    /// `SET 'option' = 'value'`, for the statements after it.
    Set(Setting),
}

/// `SET 'option' = 'value'`, as written.
#[derive(Clone, Debug)]
pub struct Setting {
    pub(crate) option: String,
    pub(crate) value: String,
    pub(crate) option_at: Location,
    pub(crate) value_at: Location,
}

/// A query's syntax tree, with places.
#[derive(Clone, Debug)]
pub struct QueryText {
    pub(crate) query: Box<ast::Query>,
}

/// `CREATE TABLE`, as written. Types of computed columns are not known before planning.
#[derive(Clone, Debug)]
pub struct TableDeclaration {
    /// The definition; computed columns have type `Null`.
    pub definition: TableDefinition,
    pub(crate) places: TablePlaces,
}

/// Where the parts of a `CREATE TABLE` stand, and the trees of its expressions.
#[derive(Clone, Debug)]
pub(crate) struct TablePlaces {
    pub(crate) name: Location,
    /// By column: where its name stands.
    pub(crate) columns: Vec<Location>,
    /// By column: the tree of a computed column.
    pub(crate) computed: Vec<Option<ast::Expr>>,
    /// Where the watermark's column stands, and its bound.
    pub(crate) watermark: Option<(Location, ast::Expr)>,
    /// Where each `PARTITIONED BY` column stands.
    pub(crate) partitioned_by: Vec<Location>,
    /// Where each option's value stands.
    pub(crate) options: BTreeMap<String, Location>,
}

impl TablePlaces {
    pub(crate) fn of(name: Location) -> Self {
        Self {
            name,
            columns: Vec::new(),
            computed: Vec::new(),
            watermark: None,
            partitioned_by: Vec::new(),
            options: BTreeMap::new(),
        }
    }
}

/// `CREATE MATERIALIZED TABLE`, as written.
#[derive(Clone, Debug)]
pub struct ViewDeclaration {
    /// The view's name.
    pub name: TableName,
    /// `REFRESH_MODE`; `CONTINUOUS` where nothing is said.
    pub mode: RefreshMode,
    /// `FRESHNESS`: how old the result may be.
    pub freshness: Option<Duration>,
    /// `PARTITIONED BY`: its parts by time.
    pub(crate) partitioned_by: Option<(String, Location)>,
    /// `WITH (...)`.
    pub options: BTreeMap<String, String>,
    /// The `SELECT`, as text.
    pub query_text: String,
    pub(crate) query: QueryText,
    pub(crate) name_at: Location,
    pub(crate) option_places: BTreeMap<String, Location>,
}

/// `INSERT INTO table [(columns)] SELECT`.
#[derive(Clone, Debug)]
pub struct InsertDeclaration {
    /// The table written to.
    pub table: TableName,
    /// The columns named, or none.
    pub columns: Vec<String>,
    pub(crate) query: QueryText,
    pub(crate) table_at: Location,
}

/// Reads the statements of a text. A broken statement is a problem, and the others still come.
pub fn parse_statements(file: &Path, text: &str) -> (Vec<Statement>, Vec<SqlProblem>) {
    let (statements, mistakes) = parse_all(text);
    (statements, mistakes.into_iter().map(|(_, mistake)| mistake.in_file(file)).collect())
}

/// As [`parse_statements`], with the name that a broken `CREATE` statement would have given.
pub(crate) fn parse_all(text: &str) -> (Vec<Statement>, Vec<(Option<TableName>, Mistake)>) {
    let source = SourceText::new(text);
    let mut statements = Vec::new();
    let mut mistakes = Vec::new();
    match split_statements(text) {
        Err(mistake) => mistakes.push((None, mistake)),
        Ok(pieces) => {
            for tokens in pieces {
                match parse_statement(&source, &tokens) {
                    Ok(statement) => statements.push(statement),
                    Err(mistake) => mistakes.push((ddl::name_of(&tokens), mistake)),
                }
            }
        }
    }
    (statements, mistakes)
}

fn parse_statement(source: &SourceText<'_>, tokens: &[TokenWithSpan]) -> Result<Statement, Mistake> {
    let at = tokens.first().map_or(Location { line: 1, column: 1 }, |token| token.span.start);
    let word = |nth: usize, expected: &str| tokens.get(nth).is_some_and(|token| is_word(&token.token, expected));
    let kind = if word(0, "CREATE") && word(1, "MATERIALIZED") {
        StatementKind::CreateView(ddl::parse_view(source, tokens)?)
    } else if word(0, "CREATE") && word(1, "TABLE") {
        StatementKind::CreateTable(Box::new(ddl::parse_table(source, tokens)?))
    } else if word(0, "EXPLAIN") {
        let rest = tokens.get(1..).unwrap_or_default();
        if rest.is_empty() {
            return Err(Mistake::new(at, "nothing to explain").remedy("write a SELECT or INSERT after EXPLAIN"));
        }
        StatementKind::Explain(Box::new(parse_statement(source, rest)?))
    } else if word(0, "SET") {
        StatementKind::Set(ddl::parse_setting(tokens)?)
    } else if word(0, "INSERT") {
        StatementKind::Insert(parse_insert(tokens, at)?)
    } else if ["SELECT", "WITH", "VALUES", "TABLE", "FROM"].iter().any(|begin| word(0, begin))
        || tokens.first().is_some_and(|token| token.token.to_string() == "(")
    {
        StatementKind::Query(parse_query(tokens.to_vec(), at)?)
    } else {
        let found = tokens.first().map(|token| token.token.to_string()).unwrap_or_default();
        return Err(Mistake::new(at, format!("unknown statement {found}")).remedy(
            "statements are CREATE TABLE, CREATE MATERIALIZED TABLE, INSERT INTO, SELECT, EXPLAIN and SET; \
             statements are separated by semicolons",
        ));
    };
    Ok(Statement { kind, text: source.of(tokens).to_owned(), at })
}

/// Reads a query that takes all the tokens.
pub(crate) fn parse_query(tokens: Vec<TokenWithSpan>, at: Location) -> Result<QueryText, Mistake> {
    let end = tokens.last().map_or(at, |token| token.span.end);
    let mut parser = parser(tokens);
    let query = parser.parse_query().map_err(|error| Mistake::from_parser(&error, end))?;
    expect_end(&mut parser)?;
    Ok(QueryText { query })
}

/// Says what stands where the statement should end.
pub(crate) fn expect_end(parser: &mut datafusion::sql::sqlparser::parser::Parser<'_>) -> Result<(), Mistake> {
    use datafusion::sql::sqlparser::tokenizer::Token;
    let next = parser.peek_token();
    if next.token == Token::EOF {
        return Ok(());
    }
    Err(Mistake::new(next.span.start, format!("expected the end of the statement, found {}", next.token))
        .remedy("statements are separated by semicolons")
        .kind(ProblemKind::Syntax))
}

fn parse_insert(tokens: &[TokenWithSpan], at: Location) -> Result<InsertDeclaration, Mistake> {
    let end = tokens.last().map_or(at, |token| token.span.end);
    let table_at = tokens.get(2).map_or(at, |token| token.span.start);
    let mut parser = parser(tokens.to_vec());
    let statement = parser.parse_statement().map_err(|error| Mistake::from_parser(&error, end))?;
    expect_end(&mut parser)?;
    let ast::Statement::Insert(insert) = statement else {
        return Err(Mistake::new(at, "expected INSERT INTO"));
    };
    if insert.overwrite {
        return Err(Mistake::new(at, "INSERT OVERWRITE is not known")
            .remedy("a flow's task replaces a partition with `write: replace_partition`"));
    }
    let ast::TableObject::TableName(name) = &insert.table else {
        return Err(Mistake::new(table_at, "expected a table's name after INSERT INTO"));
    };
    let Some(query) = insert.source else {
        return Err(Mistake::new(at, "expected SELECT or VALUES after INSERT INTO"));
    };
    Ok(InsertDeclaration {
        table: ddl::table_name(name, table_at)?,
        columns: insert.columns.iter().map(ddl::last_part).collect(),
        query: QueryText { query },
        table_at,
    })
}
