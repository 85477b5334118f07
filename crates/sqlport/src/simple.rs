//! The simple query protocol: a text with one statement or several, answered in text, one after the other.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use futures::{Sink, SinkExt};
use pgwire::api::query::{SimpleQueryHandler, send_ready_for_query};
use pgwire::api::results::Response;
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore, PgWireConnectionState};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::data::RowDescription;
use pgwire::messages::response::EmptyQueryResponse;
use pgwire::messages::simplequery::Query;

use crate::aside::Aside;
use crate::command::Command;
use crate::front::{Front, check_transaction, in_one_form, obey, send_rows, send_tag};
use crate::rows;
use crate::session::{Limits, Session};
use crate::statements::{Piece, split};

#[async_trait]
impl SimpleQueryHandler for Front {
    async fn on_query<C>(&self, client: &mut C, query: Query) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let session = Session::of(client)?;
        client.set_state(PgWireConnectionState::QueryInProgress);
        let pieces = split(&query.query)?;
        if pieces.is_empty() {
            client.feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new())).await?;
        }
        for piece in &pieces {
            self.answer(client, &session, piece).await?;
        }
        client.set_state(PgWireConnectionState::ReadyForQuery);
        let status = client.transaction_status();
        send_ready_for_query(client, status).await
    }

    /// Not called: statements are answered one by one, each before the next is looked at.
    async fn do_query<C>(&self, _: &mut C, _: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        Err(PgWireError::NotReadyForQuery)
    }
}

impl Front {
    async fn answer<C>(&self, client: &mut C, session: &Session, piece: &Piece) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let command = Command::parse(&piece.text).map_err(|error| error.shifted(piece.begins_after))?;
        check_transaction(client, &command)?;
        let (begins_after, parameters) = (piece.begins_after, || Ok(Vec::new()));
        let aside = Aside { command: &command, begins_after, is_binary: |_| false, describes: true, parameters };
        if self.aside(client, session, aside).await? {
            return Ok(());
        }
        let mut limits = Limits::begin(client, session).await;
        let answer = if command == Command::Query {
            let caller = Arc::new(session.caller(client));
            let running = rows::run(Arc::clone(&self.service), &self.threads, caller, piece.text.clone(), Vec::new());
            let placed = async { Ok(running.await.map_err(|error| error.shifted(piece.begins_after))?) };
            limits.bound(placed).await?
        } else {
            match obey(client, session, &command).await? {
                Ok(answer) => answer,
                Err(tag) => return send_tag(client, tag).await,
            }
        };
        let fields = rows::fields(&answer.schema, |_| false);
        let description = RowDescription::new(fields.iter().map(Into::into).collect());
        client.feed(PgWireBackendMessage::RowDescription(description)).await?;
        let mut rows = in_one_form(session, answer, command.tag(), false);
        limits.bound(send_rows(client, &mut rows, None)).await?;
        Ok(())
    }
}
