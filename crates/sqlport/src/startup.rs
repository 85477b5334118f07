//! How a connection begins: the client says who it is and what it wants set, and is told what it needs to know.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use futures::Sink;
use pgwire::api::auth::{
    AuthOutcome, ServerParameterProvider, StartupHandler, protocol_negotiation, save_startup_parameters_to_metadata,
};
use pgwire::api::{ClientInfo, METADATA_DATABASE, METADATA_USER};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::startup::Startup;
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};

use crate::failure::fatal;
use crate::front::Front;
use crate::scram::Exchange;
use crate::service::QueryError;
use crate::session::Session;
use crate::settings::Settings;

/// What a startup message says that is no setting.
const NO_SETTINGS: [&str; 4] = [METADATA_USER, METADATA_DATABASE, "options", "replication"];

/// Tells the client the settings that it keeps in mind.
pub(crate) struct Told;

impl ServerParameterProvider for Told {
    fn server_parameters<C: ClientInfo>(&self, client: &C) -> Option<HashMap<String, String>> {
        let session = Session::of(client).ok()?;
        let settings = session.settings();
        Some(settings.told().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

#[async_trait]
impl StartupHandler for Front {
    async fn on_startup<C>(&self, client: &mut C, message: PgWireFrontendMessage) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let startup = match message {
            PgWireFrontendMessage::Startup(startup) => startup,
            PgWireFrontendMessage::PasswordMessageFamily(message) => {
                return match self.driver.advance_authentication(client, message).await? {
                    AuthOutcome::InProgress => Ok(()),
                    AuthOutcome::Authenticated { final_message, .. } => {
                        self.driver.complete_authentication(client, final_message).await
                    }
                };
            }
            _ => return Err(fatal("08P01", "expected a startup message")),
        };
        if self.encrypts && !client.is_secure() && !client.socket_addr().ip().is_loopback() {
            return Err(fatal("28000", "this server wants an encrypted connection: set sslmode=require"));
        }
        protocol_negotiation(client, &startup).await?;
        save_startup_parameters_to_metadata(client, &startup);
        let session = self.session(&startup).map_err(|error| fatal(error.code, error.message))?;
        client.session_extensions().insert(session);
        match &self.verifier {
            None => self.driver.complete_authentication(client, None).await,
            Some(verifier) => {
                let exchange = Exchange::new(Arc::clone(verifier));
                self.driver.begin_authentication(client, Box::new(exchange)).await.map(|_| ())
            }
        }
    }
}

impl Front {
    fn session(&self, startup: &Startup) -> Result<Session, QueryError> {
        let said = |name: &str| startup.parameters.get(name).filter(|value| !value.is_empty());
        let user = said(METADATA_USER)
            .ok_or_else(|| QueryError::new("28000", "no PostgreSQL user name specified in startup packet"))?;
        if said("replication").is_some_and(|value| !matches!(value.as_str(), "false" | "off" | "no" | "0")) {
            return Err(QueryError::new(QueryError::UNSUPPORTED, "replication is not spoken here"));
        }
        let mut settings = Settings::new(self.timeout_max);
        let options = said("options").map(|options| of_options(options)).unwrap_or_default();
        let named = startup
            .parameters
            .iter()
            .filter(|(name, _)| !NO_SETTINGS.contains(&name.as_str()) && !name.starts_with("_pq_."));
        for (name, value) in named.map(|(name, value)| (name.clone(), value.clone())).chain(options) {
            settings.set(&name, &value)?;
        }
        settings.begin();
        let database = said(METADATA_DATABASE).unwrap_or(user).clone();
        Ok(Session::new(user.clone(), database, settings))
    }
}

/// `-c name=value --name=value`, as `PGOPTIONS` has it. A backslash takes the next character along.
fn of_options(text: &str) -> Vec<(String, String)> {
    let mut words = vec![String::new()];
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, words.last_mut()) {
            ('\\', Some(word)) => word.extend(characters.next()),
            (space, _) if space.is_whitespace() => words.push(String::new()),
            (other, Some(word)) => word.push(other),
            (_, None) => {}
        }
    }
    let settings = words.iter().filter_map(|word| {
        let word = word.strip_prefix("-c").or_else(|| word.strip_prefix("--")).unwrap_or(word);
        let (name, value) = word.split_once('=')?;
        Some((name.replace('-', "_"), value.to_owned()))
    });
    settings.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn options_are_read_as_libpq_writes_them() {
        let options = of_options("-c statement_timeout=5s --search-path=a\\ b -cgeqo=off");
        let options: Vec<_> = options.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(options, [("statement_timeout", "5s"), ("search_path", "a b"), ("geqo", "off")]);
    }
}
