//! `mulgil flow`: list, show, run, backfill, re-run, cancel and lint flows, and say why they wait.

mod advice;
mod backfill;
mod cancel;
mod follow;
mod lint;
mod list;
mod log;
mod mark;
mod matrix;
mod notices;
mod pause;
mod rerun;
mod run;
mod runs;
mod show;
mod status;
mod test;
mod usage;
mod versions;
mod why;

use anyhow::{Result, bail};
use mulgil_server::client::Client;
use mulgil_server::runs::{RunDetail, RunSummary, RunsQuery, TaskRun};

use crate::arguments::{Arguments, FlowCommand};
use crate::connection::Connection;
use crate::exit::Exit;

/// Runs one of the commands. `lint`, `test` and `schema` need no server; the others speak to the project's.
pub(crate) async fn execute(arguments: &Arguments, command: &FlowCommand) -> Result<Exit> {
    match command {
        FlowCommand::Lint { files } => return lint::execute(arguments, files).await,
        FlowCommand::Test { file, date, params } => return test::execute(arguments, file, *date, params).await,
        FlowCommand::Schema => {
            crate::output::print_json(&mulgil_flow::json_schema())?;
            return Ok(Exit::Done);
        }
        _ => {}
    }
    let connection = Connection::open(&arguments.project).await?;
    let client = connection.client().clone();
    let (command, format) = (command.clone(), arguments.format);
    let user = std::env::var("USER").unwrap_or_else(|_| "somebody at the command line".to_owned());
    // The client blocks; it must not do so on the runtime's own threads, which may be running the server it speaks to.
    let exit = tokio::task::spawn_blocking(move || match command {
        FlowCommand::List => list::execute(&client, format),
        FlowCommand::Show { flow, next, from } => show::execute(&client, format, &flow, next, from),
        FlowCommand::Pause { flow } => pause::execute(&client, format, &flow, true),
        FlowCommand::Resume { flow } => pause::execute(&client, format, &flow, false),
        FlowCommand::Run { flow, date, params, key, detach } => {
            let ask = run::ask(date, &params, key);
            run::execute(&client, format, &flow, &ask, detach)
        }
        FlowCommand::Runs(asked) => runs::execute(&client, format, &asked),
        FlowCommand::Log(asked) => log::execute(&client, format, &asked),
        FlowCommand::Matrix { flow, count, until } => matrix::execute(&client, format, flow, count, until),
        FlowCommand::Backfill(backfill) => backfill::execute(&client, format, &backfill),
        FlowCommand::Rerun(rerun) => rerun::execute(&client, format, &rerun),
        FlowCommand::Mark(mark) => mark::execute(&client, format, &mark, &user),
        FlowCommand::Versions { flow } => versions::list(&client, format, &flow),
        FlowCommand::Diff { flow, from, to } => versions::compare(&client, format, &flow, &from, to.as_deref()),
        FlowCommand::Notices { run, given_up } => notices::execute(&client, format, run.as_deref(), given_up),
        FlowCommand::Cancel { run } => cancel::execute(&client, format, &run),
        FlowCommand::Usage { run, task } => usage::execute(&client, format, &run, task.as_deref()),
        FlowCommand::Advice { flow } => advice::execute(&client, format, flow),
        FlowCommand::Why { name, task } => why::execute(&client, format, &name, task.as_deref()),
        FlowCommand::Lint { .. } | FlowCommand::Test { .. } | FlowCommand::Schema => Ok(Exit::Done),
    })
    .await?;
    connection.close().await;
    exit
}

/// Finds a run by its number or its name (`daily_delays/2013-01-16`).
fn find_run(client: &Client, run: &str) -> Result<RunSummary> {
    if let Ok(id) = run.parse() {
        return Ok(client.run(id)?.summary);
    }
    match client.run_named(run)? {
        Some(found) => Ok(found),
        None => bail!("there is no run {run}: a run is named like daily_delays/2013-01-16"),
    }
}

/// The same for who only looks: a flow's name stands for its latest run.
fn find_run_to_read(client: &Client, run: &str) -> Result<RunSummary> {
    let latest = RunsQuery { flow: Some(run.to_owned()), limit: Some(1), ..RunsQuery::default() };
    find_run(client, run).or_else(|error| {
        let page = client.runs(&latest).ok();
        page.and_then(|page| page.runs.into_iter().next()).ok_or(error)
    })
}

/// Finds a task of a run by its name.
fn task_of<'a>(run: &'a RunDetail, task: &str) -> Result<&'a TaskRun> {
    match run.tasks.iter().find(|other| other.name == task) {
        Some(found) => Ok(found),
        None => {
            let known: Vec<&str> = run.tasks.iter().map(|task| task.name.as_str()).collect();
            bail!("{} has no task {task}; its tasks are {}", run.summary.name, known.join(", "))
        }
    }
}
