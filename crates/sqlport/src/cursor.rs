//! Cursors: a query whose rows a client takes by and by, with `DECLARE`, `FETCH` and `CLOSE`.
//!
//! The query begins when its cursor is declared, and stays one batch ahead of what has been fetched. A cursor goes forward only.

use std::collections::BTreeMap;
use std::fmt::Debug;

use arrow::datatypes::SchemaRef;
use futures::{Sink, SinkExt};
use pgwire::api::ClientInfo;
use pgwire::api::results::{QueryResponse, Tag};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::data::RowDescription;
use pgwire::messages::response::TransactionStatus;

use crate::front::{looks, send_rows, send_tag};
use crate::rows::{fields, response};
use crate::service::{Answer, QueryError};
use crate::session::{Limits, Session};
use crate::statements::{Placed, Token, placed};

/// Cursors of one connection: each is a query under way.
const CURSORS_MAX: usize = 16;

/// `DECLARE name CURSOR [WITH HOLD] FOR query`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Declare {
    pub(crate) name: String,
    /// Whether it outlives its transaction.
    holds: bool,
    pub(crate) query: String,
    /// How many characters of the statement stand before the query.
    pub(crate) begins_after: usize,
}

/// `FETCH count FROM name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fetch {
    pub(crate) name: String,
    /// The most rows; all where nothing is said.
    most: Option<usize>,
}

/// A cursor.
pub(crate) struct Cursor {
    pub(crate) schema: SchemaRef,
    lasting: Lasting,
    rows: Rows,
}

/// What a cursor outlives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lasting {
    /// Nothing: it ends with its transaction.
    Transaction,
    /// Its transaction, if that is committed.
    Commit,
    /// Everything but its connection.
    Connection,
}

/// The rows that are left.
enum Rows {
    /// All; in which form is not known before the first fetch.
    Unread(Answer),
    Read {
        response: QueryResponse,
        binary: Vec<bool>,
    },
    Gone,
}

/// The cursors of a connection, by name.
pub(crate) type Cursors = BTreeMap<String, Cursor>;

fn syntax(message: &str) -> QueryError {
    QueryError::new(QueryError::SYNTAX, message)
}

pub(crate) fn unknown(name: &str) -> QueryError {
    QueryError::new("34000", format!("cursor \"{name}\" does not exist"))
}

/// A token's name, if it is one.
fn name_of(placed: Option<&Placed>) -> Option<String> {
    match &placed?.token {
        Token::Word(name) | Token::Name(name) => Some(name.clone()),
        _ => None,
    }
}

impl Declare {
    /// Reads the statement.
    pub(crate) fn parse(text: &str) -> Result<Self, QueryError> {
        let tokens = placed(text)?;
        let name = name_of(tokens.get(1)).ok_or_else(|| syntax("expected a cursor's name after DECLARE"))?;
        let is = |placed: &Placed, word: &str| matches!(&placed.token, Token::Word(own) if own == word);
        let begins =
            tokens.iter().position(|placed| is(placed, "for")).ok_or_else(|| syntax("expected FOR and a query"))?;
        let options: Vec<&Placed> = tokens.get(2..begins).unwrap_or_default().iter().collect();
        let before = |word: &str| options.iter().position(|placed| is(placed, word)).and_then(|at| at.checked_sub(1));
        let says = |word: &str, unless: &str| {
            options.iter().any(|placed| is(placed, word))
                && !before(word).is_some_and(|at| options.get(at).is_some_and(|placed| is(placed, unless)))
        };
        if says("scroll", "no") || says("binary", "") {
            return Err(QueryError::new(
                QueryError::UNSUPPORTED,
                "cursors go forward only, and in the client's format",
            )
            .hint("leave SCROLL and BINARY out"));
        }
        let query = tokens.get(begins + 1).and_then(|first| text.get(first.begin..));
        let query = query.ok_or_else(|| syntax("expected a query after FOR"))?;
        let begins_after = text.len() - query.len();
        let begins_after = text.get(..begins_after).unwrap_or_default().chars().count();
        Ok(Self { name, holds: says("hold", "without"), query: query.to_owned(), begins_after })
    }

    /// Keeps the query's rows for whoever fetches them.
    pub(crate) fn keep(&self, client: &impl ClientInfo, session: &Session, answer: Answer) -> Result<Tag, QueryError> {
        self.check(client, session)?;
        let lasting = match (self.holds, client.transaction_status()) {
            (true, TransactionStatus::Idle) => Lasting::Connection,
            (true, _) => Lasting::Commit,
            (false, _) => Lasting::Transaction,
        };
        let cursor = Cursor { schema: answer.schema.clone(), lasting, rows: Rows::Unread(answer) };
        session.cursors().insert(self.name.clone(), cursor);
        Ok(Tag::new("DECLARE CURSOR"))
    }

    /// Whether there may be such a cursor.
    pub(crate) fn check(&self, client: &impl ClientInfo, session: &Session) -> Result<(), QueryError> {
        if !self.holds && client.transaction_status() == TransactionStatus::Idle {
            return Err(QueryError::new("25P01", "DECLARE CURSOR can only be used in transaction blocks")
                .hint("say BEGIN before, or WITH HOLD"));
        }
        let cursors = session.cursors();
        if cursors.contains_key(&self.name) {
            return Err(QueryError::new("42P03", format!("cursor \"{}\" already exists", self.name)));
        }
        if cursors.len() >= CURSORS_MAX {
            return Err(QueryError::new("53400", format!("a connection has at most {CURSORS_MAX} cursors"))
                .hint("close those that are not needed any more"));
        }
        Ok(())
    }
}

impl Fetch {
    /// Reads the statement.
    pub(crate) fn parse(text: &str) -> Result<Self, QueryError> {
        let tokens = placed(text)?;
        let words: Vec<String> = tokens.iter().skip(1).filter_map(|placed| name_of(Some(placed))).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if tokens.len() != words.len() + 1 {
            return Err(backward());
        }
        let (name, before) = words.split_last().ok_or_else(|| syntax("expected a cursor's name after FETCH"))?;
        let before = before.strip_suffix(&["from"]).or_else(|| before.strip_suffix(&["in"])).unwrap_or(before);
        let most = match before {
            [] | ["next" | "forward"] => Some(1),
            ["all"] | ["forward", "all"] => None,
            [count] | ["forward", count] => Some(count.parse().map_err(|_| backward())?),
            _ => return Err(backward()),
        };
        Ok(Self { name: (*name).to_owned(), most })
    }

    /// The columns that it will give.
    pub(crate) fn schema(&self, session: &Session) -> Result<SchemaRef, QueryError> {
        let cursors = session.cursors();
        cursors.get(&self.name).map(|cursor| cursor.schema.clone()).ok_or_else(|| unknown(&self.name))
    }

    /// Sends the next rows. A cursor that fails on the way is gone.
    pub(crate) async fn send<C>(
        &self,
        client: &mut C,
        session: &Session,
        is_binary: impl Fn(usize) -> bool + Send,
        describes: bool,
    ) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let cursor = session.cursors().remove(&self.name).ok_or_else(|| unknown(&self.name))?;
        let Cursor { schema, lasting, rows } = cursor;
        let binary: Vec<bool> = (0..schema.fields().len()).map(is_binary).collect();
        if describes {
            let fields = fields(&schema, |at| binary.get(at) == Some(&true));
            let description = RowDescription::new(fields.iter().map(Into::into).collect());
            client.feed(PgWireBackendMessage::RowDescription(description)).await?;
        }
        let mut rows_left = match rows {
            Rows::Unread(answer) => {
                let looks = looks(session, binary.len(), |at| binary.get(at) == Some(&true));
                Some(response(answer, schema.clone(), looks, "FETCH"))
            }
            Rows::Read { response, binary: before } if before == binary => Some(response),
            Rows::Read { .. } => {
                let message = "a cursor's rows are fetched all as text or all as binary";
                return Err(QueryError::new(QueryError::UNSUPPORTED, message).into());
            }
            Rows::Gone => None,
        };
        let mut limits = Limits::begin(client, session).await;
        let rows = match rows_left.take() {
            None => {
                send_tag(client, Tag::new("FETCH").with_rows(0)).await?;
                Rows::Gone
            }
            Some(mut response) => match limits.bound(send_rows(client, &mut response, self.most)).await? {
                true => {
                    send_tag(client, Tag::new("FETCH").with_rows(self.most.unwrap_or_default())).await?;
                    Rows::Read { response, binary }
                }
                false => Rows::Gone,
            },
        };
        session.cursors().insert(self.name.clone(), Cursor { schema, lasting, rows });
        Ok(())
    }
}

fn backward() -> QueryError {
    QueryError::new(QueryError::UNSUPPORTED, "a cursor goes forward only: FETCH, FETCH n, FETCH FORWARD n or FETCH ALL")
}

/// The transaction has ended: what does not outlive that is gone.
pub(crate) fn end_transaction(session: &Session, is_committed: bool) {
    session.cursors().retain(|_, cursor| {
        if is_committed && cursor.lasting == Lasting::Commit {
            cursor.lasting = Lasting::Connection;
        }
        cursor.lasting == Lasting::Connection
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn cursors_are_declared() {
        let cases = [
            ("DECLARE c CURSOR FOR SELECT 1", ("c", false, "SELECT 1", 21)),
            ("declare \"C d\" no scroll cursor with hold for\nselect '물' for", ("C d", true, "select '물' for", 45)),
            ("DECLARE c INSENSITIVE CURSOR WITHOUT HOLD FOR VALUES (1)", ("c", false, "VALUES (1)", 46)),
        ];
        for (text, (name, holds, query, begins_after)) in cases {
            let expected = Declare { name: name.to_owned(), holds, query: query.to_owned(), begins_after };
            assert_eq!(Declare::parse(text).unwrap(), expected, "{text}");
        }
        for (text, code) in [
            ("DECLARE c SCROLL CURSOR FOR SELECT 1", QueryError::UNSUPPORTED),
            ("DECLARE c BINARY CURSOR FOR SELECT 1", QueryError::UNSUPPORTED),
            ("DECLARE c CURSOR", QueryError::SYNTAX),
            ("DECLARE c CURSOR FOR", QueryError::SYNTAX),
            ("DECLARE", QueryError::SYNTAX),
        ] {
            assert_eq!(Declare::parse(text).unwrap_err().code, code, "{text}");
        }
    }

    #[test]
    fn fetches_go_forward() {
        let cases = [
            ("FETCH c", Some(1)),
            ("FETCH FROM c", Some(1)),
            ("FETCH NEXT FROM c", Some(1)),
            ("FETCH 7 IN c", Some(7)),
            ("FETCH FORWARD 100 FROM c", Some(100)),
            ("FETCH FORWARD FROM c", Some(1)),
            ("fetch all from c", None),
            ("FETCH FORWARD ALL FROM c", None),
        ];
        for (text, most) in cases {
            assert_eq!(Fetch::parse(text).unwrap(), Fetch { name: "c".to_owned(), most }, "{text}");
        }
        for text in ["FETCH -1 FROM c", "FETCH BACKWARD 1 FROM c", "FETCH PRIOR FROM c", "FETCH ABSOLUTE 3 FROM c"] {
            assert_eq!(Fetch::parse(text).unwrap_err().code, QueryError::UNSUPPORTED, "{text}");
        }
        assert_eq!(Fetch::parse("FETCH").unwrap_err().code, QueryError::SYNTAX);
    }
}
