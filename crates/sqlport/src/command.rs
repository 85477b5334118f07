//! What a client may say: queries, and the few statements that are about its connection. Everything else would change something,
//! and is refused.

use crate::copy::CopyOut;
use crate::cursor::{Declare, Fetch};
use crate::service::QueryError;
use crate::statements::{Token, words};

/// Words of a statement that are looked at.
const WORDS_MAX: usize = 64;

/// A statement, as far as the connection itself answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// A `SELECT` or the like: the service answers it.
    Query,
    /// `SET name = value`.
    Set { name: String, value: Option<String> },
    /// `SHOW name`; nothing for all.
    Show(Option<String>),
    /// `RESET name`; nothing for all.
    Reset(Option<String>),
    /// `BEGIN`.
    Begin,
    /// `COMMIT`.
    Commit,
    /// `ROLLBACK`.
    Rollback,
    /// `SAVEPOINT`, `RELEASE`, `ROLLBACK TO`: with nothing to undo, there is nothing to do.
    Savepoint(&'static str),
    /// `DISCARD ALL` and its parts.
    Discard(&'static str),
    /// `DEALLOCATE name`; nothing for all.
    Deallocate(Option<String>),
    /// `CLOSE name` of a cursor; nothing for all.
    Close(Option<String>),
    /// `DECLARE name CURSOR FOR query`.
    Declare(Declare),
    /// `FETCH count FROM name`.
    Fetch(Fetch),
    /// `COPY (query) TO STDOUT`.
    Copy(CopyOut),
    /// `LISTEN`, `UNLISTEN`: nobody ever notifies.
    Listen(&'static str),
}

impl Command {
    /// The first word of the tag that answers it.
    pub(crate) fn tag(&self) -> &'static str {
        match self {
            Self::Query => "SELECT",
            Self::Set { .. } => "SET",
            Self::Show(_) => "SHOW",
            Self::Reset(_) => "RESET",
            Self::Begin => "BEGIN",
            Self::Commit => "COMMIT",
            Self::Rollback => "ROLLBACK",
            Self::Savepoint(tag) | Self::Discard(tag) | Self::Listen(tag) => tag,
            Self::Deallocate(None) => "DEALLOCATE ALL",
            Self::Deallocate(Some(_)) => "DEALLOCATE",
            Self::Close(None) => "CLOSE CURSOR ALL",
            Self::Close(Some(_)) => "CLOSE CURSOR",
            Self::Declare(_) => "DECLARE CURSOR",
            Self::Fetch(_) => "FETCH",
            Self::Copy(_) => "COPY",
        }
    }

    /// The query that a statement is about which is none itself, and how many characters stand before it.
    pub(crate) fn query(&self) -> Option<(&str, usize)> {
        match self {
            Self::Declare(declare) => Some((&declare.query, declare.begins_after)),
            Self::Copy(copy) => Some((&copy.query, copy.begins_after)),
            _ => None,
        }
    }

    /// Whether it ends a transaction that has failed.
    pub(crate) fn ends_transaction(&self) -> bool {
        matches!(self, Self::Commit | Self::Rollback | Self::Savepoint("ROLLBACK"))
    }

    /// Reads one statement.
    pub(crate) fn parse(text: &str) -> Result<Self, QueryError> {
        let tokens = words(text, WORDS_MAX)?;
        let word = |at: usize| match tokens.get(at) {
            Some(Token::Word(word)) => word.as_str(),
            _ => "",
        };
        let name = |at: usize| match tokens.get(at) {
            Some(Token::Word(word)) => Some(word.clone()),
            Some(Token::Name(name)) => Some(name.clone()),
            _ => None,
        };
        let one_or_all = |at: usize| name(at).filter(|_| word(at) != "all");
        Ok(match word(0) {
            "set" => set(&tokens)?,
            "show" => show(&tokens),
            "reset" => Self::Reset(dotted(&tokens, 1).0.filter(|_| word(1) != "all")),
            "begin" | "start" => begin(&tokens)?,
            "commit" | "end" => Self::Commit,
            "rollback" if (1..4).any(|at| word(at) == "to") => Self::Savepoint("ROLLBACK"),
            "rollback" | "abort" => Self::Rollback,
            "savepoint" => Self::Savepoint("SAVEPOINT"),
            "release" => Self::Savepoint("RELEASE"),
            "discard" => match word(1) {
                "all" => Self::Discard("DISCARD ALL"),
                "plans" => Self::Discard("DISCARD PLANS"),
                "sequences" => Self::Discard("DISCARD SEQUENCES"),
                "temp" | "temporary" => Self::Discard("DISCARD TEMP"),
                _ => {
                    return Err(QueryError::new(
                        QueryError::SYNTAX,
                        "expected ALL, PLANS, SEQUENCES or TEMP after DISCARD",
                    ));
                }
            },
            "deallocate" => Self::Deallocate(one_or_all(if word(1) == "prepare" { 2 } else { 1 })),
            "close" => Self::Close(one_or_all(1)),
            "declare" => Self::Declare(Declare::parse(text)?),
            "fetch" => Self::Fetch(Fetch::parse(text)?),
            "copy" => Self::Copy(CopyOut::parse(text)?),
            "listen" => Self::Listen("LISTEN"),
            "unlisten" => Self::Listen("UNLISTEN"),
            "select" | "with" | "values" | "table" | "from" | "explain" => Self::Query,
            "" if tokens.first() == Some(&Token::Sign('(')) => Self::Query,
            other => return Err(refused(other)),
        })
    }
}

/// Statements that PostgreSQL refuses where everything is read only, or that are not done here at all.
fn refused(word: &str) -> QueryError {
    let changes = [
        "insert", "update", "delete", "merge", "create", "drop", "alter", "truncate", "grant", "revoke", "comment",
        "vacuum", "analyze", "reindex", "cluster", "refresh", "import", "security", "call", "do", "lock", "notify",
    ];
    let shown = word.to_uppercase();
    if changes.contains(&word) {
        let message = format!("cannot execute {shown} in a read-only transaction");
        return QueryError::new(QueryError::READ_ONLY, message)
            .hint("the SQL port only reads; what changes data is a flow's task, a view, or `mulgil sql`");
    }
    if ["move", "prepare", "execute"].contains(&word) {
        return QueryError::new(QueryError::UNSUPPORTED, format!("{shown} is not done as a statement"))
            .hint("use the client's prepared statements, and FETCH");
    }
    QueryError::new(QueryError::SYNTAX, format!("unknown statement {shown}")).at(1)
}

/// A name that may have dots, from a token on, and where it ends.
fn dotted(tokens: &[Token], from: usize) -> (Option<String>, usize) {
    let mut name = String::new();
    let mut at = from;
    loop {
        match tokens.get(at) {
            Some(Token::Word(word) | Token::Name(word)) => name.push_str(word),
            _ => return (None, at),
        }
        at += 1;
        if tokens.get(at) != Some(&Token::Sign('.')) {
            return (Some(name), at);
        }
        name.push('.');
        at += 1;
    }
}

/// `SET [SESSION | LOCAL] name { = | TO } value, …`, `SET TIME ZONE value`, `SET TRANSACTION …`, `SET NAMES value`.
fn set(tokens: &[Token]) -> Result<Command, QueryError> {
    let is = |at: usize, word: &str| matches!(tokens.get(at), Some(Token::Word(own)) if own == word);
    let mut at = 1;
    if is(at, "session") && is(at + 1, "characteristics") {
        refuse_snapshots(tokens)?;
        return Ok(Command::Set { name: "transaction_isolation".to_owned(), value: None });
    }
    if is(at, "session") || is(at, "local") {
        at += 1;
    }
    if is(at, "transaction") {
        refuse_snapshots(tokens)?;
        return Ok(Command::Set { name: "transaction_isolation".to_owned(), value: None });
    }
    let (name, at) = if is(at, "time") && is(at + 1, "zone") {
        ("timezone".to_owned(), at + 2)
    } else if is(at, "names") {
        ("client_encoding".to_owned(), at + 1)
    } else {
        let (name, end) = dotted(tokens, at);
        let name = name.ok_or_else(|| QueryError::new(QueryError::SYNTAX, "expected a setting's name after SET"))?;
        if !(is(end, "to") || tokens.get(end) == Some(&Token::Sign('='))) {
            return Err(QueryError::new(QueryError::SYNTAX, format!("expected = or TO after SET {name}")));
        }
        (name, end + 1)
    };
    if is(at, "default") {
        return Ok(Command::Reset(Some(name)));
    }
    let mut value = String::new();
    for token in tokens.get(at..).unwrap_or_default() {
        match token {
            Token::Word(part) | Token::Name(part) | Token::Text(part) => value.push_str(part),
            Token::Sign(',') => value.push_str(", "),
            Token::Sign(sign) => value.push(*sign),
        }
    }
    if tokens.len() <= at {
        return Err(QueryError::new(QueryError::SYNTAX, format!("expected a value for {name}")));
    }
    Ok(Command::Set { name, value: Some(value) })
}

fn show(tokens: &[Token]) -> Command {
    let is = |at: usize, word: &str| matches!(tokens.get(at), Some(Token::Word(own)) if own == word);
    if is(1, "all") {
        Command::Show(None)
    } else if is(1, "time") && is(2, "zone") {
        Command::Show(Some("timezone".to_owned()))
    } else if is(1, "transaction") && is(2, "isolation") {
        Command::Show(Some("transaction_isolation".to_owned()))
    } else {
        Command::Show(Some(dotted(tokens, 1).0.unwrap_or_default()))
    }
}

fn begin(tokens: &[Token]) -> Result<Command, QueryError> {
    refuse_snapshots(tokens)?;
    Ok(Command::Begin)
}

/// Drivers say `READ WRITE` out of habit; as long as nothing is written it is as good as `READ ONLY`. Only what does not exist is
/// refused.
fn refuse_snapshots(tokens: &[Token]) -> Result<(), QueryError> {
    let is_word = |token: &Token, word: &str| matches!(token, Token::Word(own) if own == word);
    if tokens.iter().any(|token| is_word(token, "snapshot")) {
        return Err(QueryError::new(QueryError::UNSUPPORTED, "snapshots of transactions are not exported"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    fn setting(name: &str, value: &str) -> Command {
        Command::Set { name: name.to_owned(), value: Some(value.to_owned()) }
    }

    #[test]
    fn statements_about_the_connection_are_known() {
        let cases = [
            ("select 1", Command::Query),
            ("/* a */ WITH x AS (SELECT 1) SELECT * FROM x", Command::Query),
            ("(select 1)", Command::Query),
            ("EXPLAIN SELECT 1", Command::Query),
            ("SET extra_float_digits = 3", setting("extra_float_digits", "3")),
            ("set session DateStyle to 'ISO, MDY'", setting("datestyle", "ISO, MDY")),
            ("SET datestyle = ISO, MDY", setting("datestyle", "iso, mdy")),
            ("SET TIME ZONE 'Asia/Seoul'", setting("timezone", "Asia/Seoul")),
            ("SET my.own TO x", setting("my.own", "x")),
            ("SET timezone TO DEFAULT", Command::Reset(Some("timezone".to_owned()))),
            ("SHOW TRANSACTION ISOLATION LEVEL", Command::Show(Some("transaction_isolation".to_owned()))),
            ("show server_version", Command::Show(Some("server_version".to_owned()))),
            ("SHOW ALL", Command::Show(None)),
            ("RESET ALL", Command::Reset(None)),
            ("BEGIN READ ONLY", Command::Begin),
            ("START TRANSACTION ISOLATION LEVEL SERIALIZABLE", Command::Begin),
            ("COMMIT", Command::Commit),
            ("END", Command::Commit),
            ("ROLLBACK", Command::Rollback),
            ("ROLLBACK TO SAVEPOINT a", Command::Savepoint("ROLLBACK")),
            ("DISCARD ALL", Command::Discard("DISCARD ALL")),
            ("DEALLOCATE ALL", Command::Deallocate(None)),
            ("DEALLOCATE \"_pg3_0\"", Command::Deallocate(Some("_pg3_0".to_owned()))),
            ("UNLISTEN *", Command::Listen("UNLISTEN")),
        ];
        for (text, expected) in cases {
            assert_eq!(Command::parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_would_change_something_is_refused() {
        let cases = [
            ("INSERT INTO a VALUES (1)", QueryError::READ_ONLY),
            ("drop table a", QueryError::READ_ONLY),
            ("COPY a FROM STDIN", QueryError::READ_ONLY),
            ("MOVE 1 FROM c", QueryError::UNSUPPORTED),
            ("SELEKT 1", QueryError::SYNTAX),
            ("SET", QueryError::SYNTAX),
            ("SET x", QueryError::SYNTAX),
        ];
        for (text, code) in cases {
            assert_eq!(Command::parse(text).unwrap_err().code, code, "{text}");
        }
    }
}
