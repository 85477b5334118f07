//! `mulgil flow mark`

use anyhow::Result;
use mulgil_server::client::Client;
use mulgil_server::reruns::{Mark, MarkAsk};

use super::{find_run, rerun};
use crate::arguments::{Format, MarkArguments};
use crate::exit::Exit;
use crate::output::remark;

/// Says how a task counts, in the name of this user.
pub(crate) fn execute(client: &Client, format: Format, mark: &MarkArguments, user: &str) -> Result<Exit> {
    let run = find_run(client, &mark.run)?;
    let (word, how) = if mark.succeeded { ("succeeded", Mark::Succeeded) } else { ("failed", Mark::Failed) };
    let ask = MarkAsk { mark: how, by: user.to_owned(), why: mark.why.clone(), preview: mark.dry_run };
    let answer = client.mark(run.id, &mark.task, &ask)?;
    if !mark.dry_run {
        remark(&format!("{} of {} counts as {word}", mark.task, run.name));
        if !answer.tasks.is_empty() {
            let tasks: Vec<&str> = answer.tasks.iter().map(|task| task.name.as_str()).collect();
            remark(&format!("what never ran for it runs now: {}", tasks.join(", ")));
        }
        return Ok(Exit::Done);
    }
    rerun::show(format, &[answer])
}
