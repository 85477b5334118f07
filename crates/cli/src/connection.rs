//! Speaking to a project: to its server if one runs, else to one that lives as long as the command.
//!
//! Both ways go through the same API, so a command behaves the same with and without a server.

use std::path::Path;

use anyhow::{Context, Result};
use mulgil_server::client::{Client, ClientError};

use crate::node::{Node, NodeOptions};

/// A client, and the server behind it if this command brought its own.
pub(crate) struct Connection {
    client: Client,
    own: Option<Node>,
}

impl Connection {
    /// Finds the project's running server, or starts one for this command.
    pub(crate) async fn open(project: &Path) -> Result<Self> {
        if let Some(client) = running(project).await? {
            return Ok(Self { client, own: None });
        }
        let node = Node::start(project, NodeOptions::for_one_command()).await?;
        let client = Client::new(node.url(), None);
        Ok(Self { client, own: Some(node) })
    }

    /// The client. It blocks: use it outside the runtime's threads.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Ends the server that this command brought.
    pub(crate) async fn close(self) {
        if let Some(node) = self.own {
            node.shutdown().await;
        }
    }
}

/// The client of the project's running server, if there is one that answers.
pub(crate) async fn running(project: &Path) -> Result<Option<Client>> {
    let project = project.to_owned();
    let token = token();
    let found = tokio::task::spawn_blocking(move || {
        let client = Client::for_project(&project, token.as_deref())?;
        client.project().map(|_| client)
    });
    match found.await? {
        Ok(client) => Ok(Some(client)),
        // A server that was killed leaves its address behind.
        Err(ClientError::NoServer | ClientError::Unreachable { .. }) => Ok(None),
        Err(error) => Err(error).context("the project's server does not answer as it should"),
    }
}

/// The token that the server wants, from the environment.
pub(crate) fn token() -> Option<String> {
    std::env::var("MULGIL_TOKEN").ok().filter(|token| !token.is_empty())
}

/// The token with which workers may join, and nothing else, from the environment.
pub(crate) fn worker_token() -> Option<String> {
    std::env::var("MULGIL_WORKER_TOKEN").ok().filter(|token| !token.is_empty())
}
