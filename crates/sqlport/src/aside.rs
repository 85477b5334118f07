//! Statements that run a query whose rows do not come as those of a query: `DECLARE` keeps them, `FETCH` goes on with them, `COPY` sends
//! them as lines.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::ArrayRef;
use futures::Sink;
use pgwire::api::ClientInfo;
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;

use crate::command::Command;
use crate::front::{Front, in_one_form, send_tag};
use crate::rows;
use crate::service::QueryError;
use crate::session::{Limits, Session};

/// What is asked for, and how it comes.
pub(crate) struct Aside<'a, B, P> {
    pub(crate) command: &'a Command,
    /// How many characters stand before the statement.
    pub(crate) begins_after: usize,
    /// By column: whether a `FETCH` gives it as binary.
    pub(crate) is_binary: B,
    /// Whether the client has to be told of the columns.
    pub(crate) describes: bool,
    /// The values of the query's parameters.
    pub(crate) parameters: P,
}

impl Front {
    /// Does such a statement, and says whether it was one.
    pub(crate) async fn aside<C, B, P>(
        &self,
        client: &mut C,
        session: &Session,
        aside: Aside<'_, B, P>,
    ) -> PgWireResult<bool>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
        B: Fn(usize) -> bool + Send,
        P: FnOnce() -> Result<Vec<ArrayRef>, QueryError> + Send,
    {
        let Some((query, before)) = aside.command.query() else {
            let Command::Fetch(fetch) = aside.command else { return Ok(false) };
            fetch.send(client, session, aside.is_binary, aside.describes).await?;
            return Ok(true);
        };
        if let Command::Declare(declare) = aside.command {
            declare.check(client, session)?;
        }
        let parameters = (aside.parameters)()?;
        let begins_after = aside.begins_after + before;
        let mut limits = Limits::begin(client, session).await;
        let caller = Arc::new(session.caller(client));
        let running = rows::run(Arc::clone(&self.service), &self.threads, caller, query.to_owned(), parameters);
        let placed = async { Ok(running.await.map_err(|error| error.shifted(begins_after))?) };
        let answer = limits.bound(placed).await?;
        match aside.command {
            Command::Declare(declare) => send_tag(client, declare.keep(client, session, answer)?).await?,
            Command::Copy(copy) => {
                let rows = in_one_form(session, answer, aside.command.tag(), copy.is_binary());
                limits.bound(copy.send(client, rows)).await?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}
