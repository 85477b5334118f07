//! The `mulgil` command: arguments in, everything wired, an exit code out. It is a library so that Cargo compiles it
//! while the server below it is still on the way to machine code; `main.rs` only calls it.

mod arguments;
mod bundle;
mod connection;
mod demo;
mod exit;
mod explain;
mod flights;
mod flow;
mod history_place;
mod import;
mod init;
mod lock;
mod log;
mod memory;
mod node;
mod offline;
mod output;
mod place;
mod raw_files;
mod replay;
mod rows;
mod server;
mod sql;
mod stage;
mod view;
mod worker;
mod workers;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::arguments::{Arguments, Command};
use crate::exit::Exit;

/// Reads the arguments of the process and does what they say.
pub async fn run() -> ExitCode {
    let arguments = Arguments::parse();
    listen_to_traces(&arguments.command);
    crash_where_told();
    match execute(&arguments).await {
        Ok(exit) => exit.into(),
        Err(error) => {
            output::remark(&format!("error: {}", sentence(&error)));
            ExitCode::FAILURE
        }
    }
}

/// The error and its causes, each said once: many libraries repeat their cause in their own text.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text.replace("External error: ", "")
}

async fn execute(arguments: &Arguments) -> Result<Exit> {
    match &arguments.command {
        Command::Demo(demo) => demo::execute(demo).await?,
        Command::Init { folder, example } => init::execute(folder, *example)?,
        Command::Server(server) => server::execute(&arguments.project, server).await?,
        Command::Worker(worker) => worker::execute(&arguments.project, worker).await?,
        Command::Workers => workers::execute(arguments).await?,
        Command::Guard => worker::keep_watch().await?,
        Command::Flow(command) => return flow::execute(arguments, command).await,
        Command::View(command) => return view::execute(arguments, command).await,
        Command::Sql(sql) => return sql::execute(arguments, sql).await,
        Command::Log(command) => log::execute(arguments, command).await?,
        Command::Import(import) => return import::execute(arguments, import),
        Command::Explain(explain) => return explain::execute(arguments, explain),
    }
    Ok(Exit::Done)
}

/// `MULGIL_CRASH_AT=point:3` lets the process die when it comes to a named point for the third time: for tests of what
/// outlives a crash. The points are named in `docs/reliability.md`.
fn crash_where_told() {
    if let Ok(told) = std::env::var("MULGIL_CRASH_AT") {
        let (point, nth) = told.rsplit_once(':').unwrap_or((&told, "1"));
        let nth = nth.parse().unwrap_or(1);
        mulgil_engine::crash::at(point, nth);
        mulgil_worker::crash::at(point, nth);
    }
}

/// What the program is doing goes to standard error: a server tells its story, other commands only what is amiss.
/// `MULGIL_LOG=debug` says more.
fn listen_to_traces(command: &Command) {
    let usual = match command {
        Command::Demo(_) | Command::Server(_) | Command::Worker(_) => "warn,mulgil=info",
        // Rows that a query leaves out are never left out in silence.
        _ => "error,mulgil_connect::bad_rows=warn",
    };
    let filter = EnvFilter::try_from_env("MULGIL_LOG").unwrap_or_else(|_| EnvFilter::new(usual));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
}
