//! `mulgil flow lint`: everything that is wrong with a project's files, and what could be better, without a server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use jiff::SignedDuration;
use mulgil_connect::connectors::{Connectors, ConnectorsOptions};
use mulgil_flow::Diagnostic;
use mulgil_history::read::RunQuery;
use mulgil_history::sqlite::SqliteHistory;
use mulgil_history::{History, HistoryError};
use mulgil_sched::status::AttemptStatus;
use mulgil_server::folder::Folder;
use mulgil_server::view_flows::wrong_views;
use serde_json::json;

use crate::arguments::{Arguments, Format};
use crate::exit::Exit;
use crate::output::{Listing, remark, write_out};

/// One finding.
struct Finding {
    file: String,
    line: u32,
    column: u32,
    kind: &'static str,
    message: String,
    remedy: Option<String>,
}

/// Checks the whole project, or says only what is found in `files`. Errors make it fail; advice does not.
pub(crate) async fn execute(arguments: &Arguments, files: &[PathBuf]) -> Result<Exit> {
    let folder = Folder::read(&arguments.project)?;
    let mut findings = check(&arguments.project, &folder);
    findings.extend(sizes(&arguments.project, &folder).await?);
    findings.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    if !files.is_empty() {
        findings.retain(|finding| {
            files.iter().any(|file| file.ends_with(&finding.file) || Path::new(&finding.file).ends_with(file))
        });
    }
    print(&findings, arguments.format)?;
    let errors = findings.iter().filter(|finding| finding.kind == "error").count();
    remark(&format!("{errors} errors, {} pieces of advice", findings.len() - errors));
    Ok(if errors == 0 { Exit::Done } else { Exit::Failed })
}

/// How many of a flow's latest runs say how long its tasks take.
const RUNS_LOOKED_AT: u32 = 20;

/// Advice from the history, where there is one in a file.
async fn sizes(project: &Path, folder: &Folder) -> Result<Vec<Finding>> {
    let path = project.join(&folder.project.history);
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let history = match SqliteHistory::open(&path).await {
        Ok(history) => history,
        Err(HistoryError::Taken { .. }) => {
            remark("a server has the history open: how long tasks take was not looked at");
            return Ok(Vec::new());
        }
        Err(error) => return Err(error.into()),
    };
    let mut findings = Vec::new();
    for source in &folder.flows {
        let query = RunQuery { flow: Some(source.flow.name.clone()), limit: RUNS_LOOKED_AT, ..RunQuery::default() };
        let mut durations: BTreeMap<String, Vec<SignedDuration>> = BTreeMap::new();
        for run in history.runs(&query).await? {
            let attempts = history.run(run.id).await?.map(|detail| detail.attempts).unwrap_or_default();
            for attempt in attempts.into_iter().filter(|attempt| attempt.status == AttemptStatus::Succeeded) {
                if let (Some(from), Some(to)) = (attempt.started_at, attempt.ended_at) {
                    durations.entry(attempt.task).or_default().push(to.duration_since(from));
                }
            }
        }
        findings.extend(mulgil_flow::lint_sizes(&source.flow, &durations).into_iter().map(advice));
    }
    Ok(findings)
}

fn advice(advice: Diagnostic) -> Finding {
    Finding {
        file: advice.file,
        line: advice.line,
        column: advice.column,
        kind: "advice",
        message: advice.message,
        remedy: advice.remedy,
    }
}

fn check(project: &Path, folder: &Folder) -> Vec<Finding> {
    let options = ConnectorsOptions {
        project_dir: project.to_owned(),
        lake_dir: project.join(&folder.project.lake),
        log: None,
        object_storage: crate::place::object_storage(),
    };
    // Whether a secret is where the project says depends on the machine; that it is declared does not.
    let declared = folder.project.secrets.clone();
    let connectors = Connectors::new(options).with_secrets(Arc::new(move |name| match declared.contains_key(name) {
        true => Ok("secret".to_owned()),
        false => Err(format!("there is no secret {name} in mulgil.yaml")),
    }));
    let (catalog, mut sql_problems) = folder.catalog(&connectors);
    sql_problems.extend(wrong_views(&folder.flows, &catalog));
    let mut findings: Vec<Finding> = folder
        .problems
        .iter()
        .chain(&sql_problems)
        .map(|problem| Finding {
            file: problem.file.clone(),
            line: problem.line.unwrap_or(1),
            column: problem.column.unwrap_or(1),
            kind: "error",
            message: problem.message.clone(),
            remedy: problem.remedy.clone(),
        })
        .collect();
    for source in &folder.flows {
        findings.extend(mulgil_flow::lint(&source.flow).into_iter().map(advice));
    }
    findings
}

fn print(findings: &[Finding], format: Format) -> Result<()> {
    if format == Format::Table {
        let mut text = String::new();
        for finding in findings {
            text.push_str(&format!(
                "{}:{}:{}: {}: {}\n",
                finding.file, finding.line, finding.column, finding.kind, finding.message
            ));
            if let Some(remedy) = &finding.remedy {
                text.push_str(&format!("    {remedy}\n"));
            }
        }
        return write_out(&text);
    }
    let mut listing = Listing::new(["file", "line", "column", "kind", "message", "remedy"]);
    for finding in findings {
        listing.push(vec![
            json!(finding.file),
            json!(finding.line),
            json!(finding.column),
            json!(finding.kind),
            json!(finding.message),
            json!(finding.remedy),
        ]);
    }
    listing.print(format)
}
