//! `mulgil server`: scheduler, worker, views, API and web UI, until a signal ends it.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;

use anyhow::{Context, Result};
use mulgil_flow::SqlListen;
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::ServerArguments;
use crate::connection::{token, worker_token};
use crate::node::{Node, NodeOptions};
use crate::output::remark;
use crate::stage::LeaseLost;

/// Runs the project's server.
pub(crate) async fn execute(project: &Path, arguments: &ServerArguments) -> Result<()> {
    let mut node = start(project, &arguments.listen, arguments.sql_listen.as_deref()).await?;
    remark(&format!("Mulgil answers on {}", node.url()));
    if let Some(address) = node.sql_addr() {
        remark(&format!("clients of PostgreSQL read at postgresql://{address}"));
    }
    tokio::select! {
        told = wait_for_end() => told?,
        error = node.failure() => {
            if !error.is::<LeaseLost>() {
                return Err(error);
            }
            remark(&format!("{error}; this server stands by"));
            node.shutdown().await;
            return Err(begin_anew());
        }
    }
    remark("stopping: running tasks get a moment to end");
    node.shutdown().await;
    Ok(())
}

/// Runs this program again in this process, as it was started: so nothing of what it held while it led is left. Returns only if that
/// cannot be done.
fn begin_anew() -> anyhow::Error {
    let failed = |error| anyhow::Error::new(error).context("this server cannot stand by: start it again");
    match std::env::current_exe() {
        Ok(program) => failed(std::process::Command::new(program).args(std::env::args_os().skip(1)).exec()),
        Err(error) => failed(error),
    }
}

/// Starts a server that people and schedules use.
pub(crate) async fn start(project: &Path, listen: &str, sql_listen: Option<&str>) -> Result<Node> {
    let listen: SocketAddr =
        listen.parse().with_context(|| format!("`{listen}` is no address: write one like 127.0.0.1:7070"))?;
    let sql_listen = sql_listen.map(|text| {
        SqlListen::parse(text)
            .with_context(|| format!("`{text}` is no address for the SQL port: write one like 127.0.0.1:7432, or off"))
    });
    let options = NodeOptions {
        listen,
        token: token(),
        worker_token: worker_token(),
        sql_listen: sql_listen.transpose()?,
        schedules: true,
    };
    Node::start(project, options).await
}

/// Returns when the program is told to end.
pub(crate) async fn wait_for_end() -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
