//! The extended query protocol: statements that are prepared, described, bound to parameters, and executed, all rows or some at a
//! time.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::{Sink, SinkExt, StreamExt};
use pgwire::api::portal::{Format, Portal, PortalExecutionState};
use pgwire::api::query::{ExtendedQueryHandler, send_describe_response, send_ready_for_query};
use pgwire::api::results::{
    DescribePortalResponse, DescribeStatementResponse, FieldInfo, QueryResponse, Response, Tag,
};
use pgwire::api::stmt::{QueryParser, StoredStatement};
use pgwire::api::store::{Entry, PortalStore};
use pgwire::api::{ClientInfo, ClientPortalStore, DEFAULT_NAME, PgWireConnectionState, Type};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::extendedquery::{
    Bind, BindComplete, Describe, Execute, Parse, ParseComplete, PortalSuspended, Sync as PgSync,
    TARGET_TYPE_BYTE_PORTAL,
};
use pgwire::messages::response::{EmptyQueryResponse, TransactionStatus};

use crate::aside::Aside;
use crate::command::Command;
use crate::front::{Front, check_transaction, columns_of, looks, obey, send_rows, send_tag};
use crate::parameter;
use crate::query_threads::QueryThreads;
use crate::rows::{self, fields, text_schema};
use crate::service::{Answer, QueryError, QueryService, Shortcut};
use crate::session::{Limits, Session};
use crate::statements::{Piece, split};
use crate::types::{data_type, wire_type};

/// A prepared statement.
pub(crate) struct Parsed {
    text: String,
    /// How many characters stood before it.
    begins_after: usize,
    command: Command,
    /// The columns of its rows; none where it has no rows.
    schema: SchemaRef,
    /// By parameter: its type on the wire.
    parameters: Vec<Type>,
    /// A shorter way to its rows than running its text.
    shortcut: Option<Arc<dyn Shortcut>>,
}

/// Prepares statements.
pub(crate) struct Parser {
    service: Arc<dyn QueryService>,
    threads: QueryThreads,
}

#[async_trait]
impl QueryParser for Parser {
    type Statement = Arc<Parsed>;

    async fn parse_sql<C>(&self, client: &C, sql: &str, types: &[Option<Type>]) -> PgWireResult<Option<Arc<Parsed>>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let mut pieces = split(sql)?.into_iter();
        let Some(piece) = pieces.next() else { return Ok(None) };
        if let Some(second) = pieces.next() {
            let message = "cannot insert multiple commands into a prepared statement";
            return Err(QueryError::new(QueryError::SYNTAX, message).at(second.begins_after + 1).into());
        }
        let command = Command::parse(&piece.text).map_err(|error| error.shifted(piece.begins_after))?;
        check_transaction(client, &command)?;
        let known = |kind: &Option<Type>| kind.clone().filter(|kind| *kind != Type::UNKNOWN);
        let types: Vec<Option<Type>> = types.iter().map(known).collect();
        let session = Session::of(client)?;
        let query = if command == Command::Query { Some((piece.text.as_str(), 0)) } else { command.query() };
        let (schema, inferred, shortcut) = match (query, &command) {
            (Some((text, before)), command) => {
                let told: Vec<_> = types.iter().map(|kind| kind.as_ref().and_then(data_type)).collect();
                let (service, caller) = (Arc::clone(&self.service), session.caller(client));
                let prepared = rows::prepare(service, &self.threads, caller, text.to_owned(), told).await;
                let prepared = prepared.map_err(|error| error.shifted(piece.begins_after + before))?;
                match command {
                    Command::Query => (prepared.schema, prepared.parameters, prepared.shortcut),
                    _ => (text_schema(&[]), prepared.parameters, None),
                }
            }
            (None, Command::Fetch(fetch)) => (fetch.schema(&session)?, Vec::new(), None),
            (None, command) => (text_schema(&columns_of(command)), Vec::new(), None),
        };
        let kind = |at: usize| {
            let told = types.get(at).cloned().flatten();
            let shown = || inferred.get(at).map(|shown| wire_type(shown).kind);
            told.or_else(shown).unwrap_or(Type::TEXT)
        };
        let parameters = (0..types.len().max(inferred.len())).map(kind).collect();
        let Piece { text, begins_after } = piece;
        Ok(Some(Arc::new(Parsed { text, begins_after, command, schema, parameters, shortcut })))
    }

    fn get_parameter_types(&self, statement: &Arc<Parsed>) -> PgWireResult<Vec<Type>> {
        Ok(statement.parameters.clone())
    }

    fn get_result_schema(&self, statement: &Arc<Parsed>, format: Option<&Format>) -> PgWireResult<Vec<FieldInfo>> {
        Ok(fields(&statement.schema, |at| format.is_some_and(|format| is_binary(format, at))))
    }
}

/// Whether a value comes or goes as binary. A format for too few values leaves the others as text.
fn is_binary(format: &Format, at: usize) -> bool {
    match format {
        Format::UnifiedText => false,
        Format::UnifiedBinary => true,
        Format::Individual(codes) => codes.get(at) == Some(&1),
    }
}

#[async_trait]
impl ExtendedQueryHandler for Front {
    type Statement = Arc<Parsed>;
    type QueryParser = Parser;

    fn query_parser(&self) -> Arc<Parser> {
        Arc::new(Parser { service: Arc::clone(&self.service), threads: self.threads.clone() })
    }

    async fn on_parse<C>(&self, client: &mut C, message: Parse) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let session = Session::of(client)?;
        let name = message.name.clone().unwrap_or_else(|| DEFAULT_NAME.to_owned());
        if name != DEFAULT_NAME && session.statements().contains(&name) {
            return Err(QueryError::new("42P05", format!("prepared statement \"{name}\" already exists")).into());
        }
        let mut limits = Limits::begin(client, &session).await;
        let parsing = StoredStatement::parse(&*client, &message, self.query_parser());
        match limits.bound(parsing).await? {
            Some(statement) => client.portal_store().put_statement(Arc::new(statement)),
            None => client.portal_store().put_empty_statement(&name),
        }
        session.statements().insert(name);
        client.feed(PgWireBackendMessage::ParseComplete(ParseComplete::new())).await?;
        Ok(())
    }

    /// That it is done goes out with what the statement says, in one packet.
    async fn on_bind<C>(&self, client: &mut C, message: Bind) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.statement_name.as_deref().unwrap_or(DEFAULT_NAME);
        let given = message.parameters.len();
        match client.portal_store().get_statement(name) {
            Some(Entry::Value(statement)) => {
                let portal = Portal::try_new(&message, statement)?;
                client.portal_store().put_portal(Arc::new(portal));
            }
            Some(Entry::Empty) if given == 0 => {
                let portal = message.portal_name.as_deref().unwrap_or(DEFAULT_NAME);
                client.portal_store().put_empty_portal(portal);
            }
            Some(Entry::Empty) => return Err(miscounted(given, 0).into()),
            None => return Err(PgWireError::StatementNotFound(name.to_owned())),
        }
        client.feed(PgWireBackendMessage::BindComplete(BindComplete::new())).await?;
        Ok(())
    }

    async fn on_execute<C>(&self, client: &mut C, message: Execute) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        let portal = match client.portal_store().get_portal(name) {
            Some(Entry::Value(portal)) => portal,
            Some(Entry::Empty) => {
                client.feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new())).await?;
                return Ok(());
            }
            None => return Err(QueryError::new("34000", format!("portal \"{name}\" does not exist")).into()),
        };
        let session = Session::of(client)?;
        check_transaction(client, &portal.statement.statement.command)?;
        client.set_state(PgWireConnectionState::QueryInProgress);
        let most = usize::try_from(message.max_rows).ok().filter(|most| *most > 0);
        self.go_on(client, &session, &portal, most).await?;
        client.set_state(PgWireConnectionState::ReadyForQuery);
        Ok(())
    }

    /// A cursor is described as a portal.
    async fn on_describe<C>(&self, client: &mut C, message: Describe) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.as_deref().filter(|_| message.target_type == TARGET_TYPE_BYTE_PORTAL);
        let session = Session::of(client)?;
        let cursor = name.and_then(|name| session.cursors().get(name).map(|cursor| Arc::clone(&cursor.schema)));
        match cursor {
            Some(schema) => {
                send_describe_response(client, &DescribePortalResponse::new(fields(&schema, |_| false))).await
            }
            None => self._on_describe(client, message).await,
        }
    }

    /// Outside of a transaction nothing outlives the sync.
    async fn on_sync<C>(&self, client: &mut C, _: PgSync) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let status = client.transaction_status();
        if status != TransactionStatus::Transaction {
            client.portal_store().clear_portals();
        }
        send_ready_for_query(client, status).await
    }

    async fn do_describe_statement<C>(
        &self,
        _: &mut C,
        target: &StoredStatement<Arc<Parsed>>,
    ) -> PgWireResult<DescribeStatementResponse>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let statement = &target.statement;
        Ok(DescribeStatementResponse::new(statement.parameters.clone(), fields(&statement.schema, |_| false)))
    }

    async fn do_describe_portal<C>(
        &self,
        _: &mut C,
        target: &Portal<Arc<Parsed>>,
    ) -> PgWireResult<DescribePortalResponse>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let schema = &target.statement.statement.schema;
        Ok(DescribePortalResponse::new(fields(schema, |at| is_binary(&target.result_column_format, at))))
    }

    /// Not called: see [`ExtendedQueryHandler::on_execute`] above.
    async fn do_query<C>(&self, _: &mut C, _: &Portal<Arc<Parsed>>, _: usize) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        Err(PgWireError::NotReadyForQuery)
    }
}

/// What was prepared does not give the same columns any more.
fn changed() -> PgWireError {
    QueryError::new(QueryError::UNSUPPORTED, "cached plan must not change result type").into()
}

fn miscounted(given: usize, wanted: usize) -> QueryError {
    let message = format!("bind message supplies {given} parameters, but the prepared statement requires {wanted}");
    QueryError::new("08P01", message)
}

/// The values of a portal's parameters.
fn values(portal: &Portal<Arc<Parsed>>) -> Result<Vec<ArrayRef>, QueryError> {
    let kinds = &portal.statement.statement.parameters;
    if portal.parameters.len() != kinds.len() {
        return Err(miscounted(portal.parameters.len(), kinds.len()));
    }
    let value = |(at, (kind, bytes)): (usize, (&Type, &Option<_>))| {
        let bytes: &Option<bytes::Bytes> = bytes;
        parameter::value(kind, bytes.as_deref(), is_binary(&portal.parameter_format, at))
    };
    kinds.iter().zip(&portal.parameters).enumerate().map(value).collect()
}

impl Front {
    /// Begins a portal, or goes on where it stopped.
    async fn go_on<C>(
        &self,
        client: &mut C,
        session: &Session,
        portal: &Portal<Arc<Parsed>>,
        most: Option<usize>,
    ) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Arc<Parsed>>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let parsed = &portal.statement.statement;
        let aside = Aside {
            command: &parsed.command,
            begins_after: parsed.begins_after,
            is_binary: |at| is_binary(&portal.result_column_format, at),
            describes: false,
            parameters: || values(portal),
        };
        if let Command::Fetch(fetch) = &parsed.command
            && fetch.schema(session)?.fields() != parsed.schema.fields()
        {
            return Err(changed());
        }
        if self.aside(client, session, aside).await? {
            return Ok(());
        }
        let state = portal.state();
        let mut state = state.lock().await;
        let mut limits = Limits::begin(client, session).await;
        // What fails on its way is finished too.
        let mut rows = match std::mem::replace(&mut *state, PortalExecutionState::Finished) {
            PortalExecutionState::Suspended(rows) => rows,
            PortalExecutionState::Finished => {
                return send_tag(client, Tag::new(parsed.command.tag()).with_rows(0)).await;
            }
            PortalExecutionState::Initial => match self.begin(client, session, portal, &mut limits).await? {
                Ok(rows) => rows,
                Err(tag) => return send_tag(client, tag).await,
            },
        };
        if limits.bound(send_rows(client, &mut rows, most)).await? {
            *state = PortalExecutionState::Suspended(rows);
            client.feed(PgWireBackendMessage::PortalSuspended(PortalSuspended::new())).await?;
        }
        Ok(())
    }

    /// The rows of a portal, or the tag of a statement without any.
    async fn begin<C>(
        &self,
        client: &mut C,
        session: &Session,
        portal: &Portal<Arc<Parsed>>,
        limits: &mut Limits,
    ) -> PgWireResult<Result<QueryResponse, Tag>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Arc<Parsed>>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let parsed = &portal.statement.statement;
        let answer = if parsed.command == Command::Query {
            let values = values(portal)?;
            if let Some(answer) = limits.bound(by_shortcut(parsed, &values)).await? {
                return Ok(Ok(self.response(session, portal, answer)));
            }
            // What is computed may take long.
            client.flush().await?;
            let caller = Arc::new(session.caller(client));
            let service = Arc::clone(&self.service);
            let running = rows::run(service, &self.threads, caller, parsed.text.clone(), values);
            let placed = async { Ok(running.await.map_err(|error| error.shifted(parsed.begins_after))?) };
            limits.bound(placed).await?
        } else {
            match obey(client, session, &parsed.command).await? {
                Ok(answer) => answer,
                Err(tag) => return Ok(Err(tag)),
            }
        };
        if answer.schema.fields().len() != parsed.schema.fields().len() {
            return Err(changed());
        }
        Ok(Ok(self.response(session, portal, answer)))
    }

    fn response(&self, session: &Session, portal: &Portal<Arc<Parsed>>, answer: Answer) -> QueryResponse {
        let parsed = &portal.statement.statement;
        let count = parsed.schema.fields().len();
        let looks = looks(session, count, |at| is_binary(&portal.result_column_format, at));
        rows::response(answer, Arc::clone(&parsed.schema), looks, parsed.command.tag())
    }
}

/// The rows of a statement, where there is a shorter way to them.
async fn by_shortcut(parsed: &Parsed, values: &[ArrayRef]) -> PgWireResult<Option<Answer>> {
    let Some(shortcut) = &parsed.shortcut else { return Ok(None) };
    let rows = shortcut.rows(values).await.map_err(|error| error.shifted(parsed.begins_after))?;
    Ok(rows.map(|rows| Answer { schema: rows.schema(), batches: futures::stream::iter([Ok(rows)]).boxed() }))
}
