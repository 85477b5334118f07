//! What all connections of a port share, and what a statement does that is about its connection.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::{Sink, SinkExt};
use pgwire::api::auth::AuthDriver;
use pgwire::api::results::{QueryResponse, Tag};
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore, ConnectionManager};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::{CommandComplete, TransactionStatus};
use pgwire::messages::startup::ParameterStatus;

use crate::command::Command;
use crate::cursor::{end_transaction, unknown};
use crate::encode::Look;
use crate::query_threads::QueryThreads;
use crate::rows::{of_texts, response};
use crate::scram::Verifier;
use crate::service::{Answer, QueryError, QueryService};
use crate::session::Session;
use crate::settings::Settings;
use crate::startup::Told;

/// What all connections share.
pub(crate) struct Front {
    pub(crate) service: Arc<dyn QueryService>,
    /// Where queries run, so that a query that computes for long holds up no connection.
    pub(crate) threads: QueryThreads,
    pub(crate) connections: Arc<ConnectionManager>,
    /// Finishes startups.
    pub(crate) driver: AuthDriver<Told>,
    /// Checks the password, where there is one.
    pub(crate) verifier: Option<Arc<Verifier>>,
    /// Whether clients of other machines have to encrypt.
    pub(crate) encrypts: bool,
    /// The longest that a statement may take.
    pub(crate) timeout_max: Option<Duration>,
}

/// The columns that a statement about the connection gives.
pub(crate) fn columns_of(command: &Command) -> Vec<&str> {
    match command {
        Command::Show(Some(name)) => vec![Settings::spelled(name).unwrap_or(name)],
        Command::Show(None) => vec!["name", "setting", "description"],
        _ => Vec::new(),
    }
}

/// In a transaction that has failed only its end is heard.
pub(crate) fn check_transaction(client: &impl ClientInfo, command: &Command) -> Result<(), QueryError> {
    if client.transaction_status() != TransactionStatus::Error || command.ends_transaction() {
        return Ok(());
    }
    Err(QueryError::new("25P02", "current transaction is aborted, commands ignored until end of transaction block"))
}

/// Does what a statement says about its connection. Gives the rows of `SHOW`, and the tag of all others.
pub(crate) async fn obey<C>(client: &mut C, session: &Session, command: &Command) -> PgWireResult<Result<Answer, Tag>>
where
    C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
    C::PortalStore: PortalStore,
    C::Error: Debug,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    let mut tag = command.tag();
    match command {
        Command::Show(name) => return Ok(Ok(show(session, command, name.as_deref())?)),
        Command::Set { name, value } => {
            if let Some(value) = value {
                session.settings().set(name, value)?;
            }
            tell(client, session, name).await?;
        }
        Command::Reset(Some(name)) => {
            session.settings().reset(name)?;
            tell(client, session, name).await?;
        }
        Command::Reset(None) => reset_all(client, session).await?,
        Command::Begin => client.set_transaction_status(client.transaction_status().to_in_transaction_state()),
        Command::Commit | Command::Rollback => {
            let is_committed = *command == Command::Commit && client.transaction_status() != TransactionStatus::Error;
            tag = if is_committed { "COMMIT" } else { "ROLLBACK" };
            client.set_transaction_status(TransactionStatus::Idle);
            client.portal_store().clear_portals();
            end_transaction(session, is_committed);
        }
        Command::Savepoint("ROLLBACK") => client.set_transaction_status(match client.transaction_status() {
            TransactionStatus::Idle => TransactionStatus::Idle,
            _ => TransactionStatus::Transaction,
        }),
        Command::Discard("DISCARD ALL") => {
            session.cursors().clear();
            client.portal_store().clear_portals();
            forget_statements(client, session);
            reset_all(client, session).await?;
        }
        Command::Deallocate(None) => forget_statements(client, session),
        Command::Deallocate(Some(name)) => {
            if !session.statements().remove(name) {
                let message = format!("prepared statement \"{name}\" does not exist");
                return Err(QueryError::new("26000", message).into());
            }
            client.portal_store().rm_statement(name);
        }
        Command::Close(Some(name)) => {
            let was_cursor = session.cursors().remove(name).is_some();
            if !was_cursor && client.portal_store().get_portal(name).is_none() {
                return Err(unknown(name).into());
            }
            client.portal_store().rm_portal(name);
        }
        Command::Close(None) => {
            session.cursors().clear();
            client.portal_store().clear_portals();
        }
        Command::Query | Command::Declare(_) | Command::Fetch(_) | Command::Copy(_) => {}
        Command::Savepoint(_) | Command::Discard(_) | Command::Listen(_) => {}
    }
    Ok(Err(Tag::new(tag)))
}

fn show(session: &Session, command: &Command, name: Option<&str>) -> Result<Answer, QueryError> {
    let settings = session.settings();
    let rows: Vec<Vec<String>> = match name {
        Some(name) => vec![vec![settings.get(name)?.to_owned()]],
        None => settings.all().iter().map(|(name, value)| vec![name.clone(), value.clone(), String::new()]).collect(),
    };
    of_texts(&columns_of(command), &rows)
}

async fn reset_all<C>(client: &mut C, session: &Session) -> PgWireResult<()>
where
    C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    session.settings().reset_all();
    let names: Vec<String> = session.settings().told().map(|(name, _)| name.to_owned()).collect();
    for name in names {
        tell(client, session, &name).await?;
    }
    Ok(())
}

fn forget_statements<C>(client: &C, session: &Session)
where
    C: ClientPortalStore,
    C::PortalStore: PortalStore,
{
    let names = std::mem::take(&mut *session.statements());
    names.iter().for_each(|name| client.portal_store().rm_statement(name));
}

/// Drivers keep some settings in mind: they are told when one changes.
async fn tell<C>(client: &mut C, session: &Session, name: &str) -> PgWireResult<()>
where
    C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    let Some(spelled) = Settings::spelled(name) else { return Ok(()) };
    let value = session.settings().get(name)?.to_owned();
    client.feed(PgWireBackendMessage::ParameterStatus(ParameterStatus::new(spelled.to_owned(), value))).await?;
    Ok(())
}

/// All columns in one form.
pub(crate) fn looks(session: &Session, count: usize, is_binary: impl Fn(usize) -> bool) -> Vec<Look> {
    let zone = session.settings().zone().clone();
    (0..count).map(|at| Look { binary: is_binary(at), zone: zone.clone() }).collect()
}

/// An answer as texts, or as binary values, with its own columns.
pub(crate) fn in_one_form(session: &Session, answer: Answer, tag: &str, is_binary: bool) -> QueryResponse {
    let schema = Arc::clone(&answer.schema);
    let looks = looks(session, schema.fields().len(), |_| is_binary);
    response(answer, schema, looks, tag)
}

/// Sends up to `most` rows, or all, and says whether it stopped at that number.
pub(crate) async fn send_rows<C>(client: &mut C, rows: &mut QueryResponse, most: Option<usize>) -> PgWireResult<bool>
where
    C: Sink<PgWireBackendMessage> + Unpin + Send,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    use futures::StreamExt;
    let mut sent = 0;
    while most.is_none_or(|most| sent < most) {
        let Some(row) = rows.data_rows().next().await else {
            let tag = Tag::new(rows.command_tag()).with_rows(sent);
            client.feed(PgWireBackendMessage::CommandComplete(tag.into())).await?;
            return Ok(false);
        };
        client.feed(PgWireBackendMessage::DataRow(row?)).await?;
        sent += 1;
    }
    Ok(true)
}

/// Says that a statement without rows is done.
pub(crate) async fn send_tag<C>(client: &mut C, tag: Tag) -> PgWireResult<()>
where
    C: Sink<PgWireBackendMessage> + Unpin + Send,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    client.feed(PgWireBackendMessage::CommandComplete(CommandComplete::from(tag))).await?;
    Ok(())
}
