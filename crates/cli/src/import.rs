//! `mulgil import`: flows of what another workflow manager has, and a report of what came over.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mulgil_import::recorded::Recording;
use mulgil_import::{Finding, Import, Outcome, crontab, digdag, oozie, recorded};
use mulgil_worker::limited::{self, Limits};
use mulgil_worker::python::lay_out_files;
use serde_json::json;

use crate::arguments::{Arguments, Format, ImportArguments, System};
use crate::exit::Exit;
use crate::output::{print_json, remark, write_out};

/// What runs files of Airflow and Luigi.
const STUBS: [(&str, &str); 3] = [
    ("record.py", include_str!("../../../python/importers/record.py")),
    ("airflow_stub.py", include_str!("../../../python/importers/airflow_stub.py")),
    ("luigi_stub.py", include_str!("../../../python/importers/luigi_stub.py")),
];
/// How long a file of Airflow or Luigi may take, and how much it may define.
const LIMITS: Limits = Limits { time: Duration::from_secs(60), bytes: 64 << 20 };

/// Imports the files, writes the flows where they are wanted, and prints the report. It fails when something did not come over.
pub(crate) fn execute(arguments: &Arguments, ask: &ImportArguments) -> Result<Exit> {
    let mut import = Import::default();
    let files = files(ask)?;
    if ask.system == System::Oozie {
        import.add(import_oozie(&files)?);
    } else {
        for path in &files {
            import.add(import_file(arguments, ask, path)?);
        }
    }
    if let Some(to) = &ask.to {
        write(&import, to)?;
    }
    let coverage = import.coverage();
    if arguments.format == Format::Json {
        let flows: Vec<_> = import.flows.iter().map(|flow| json!({"name": flow.name, "from": flow.from})).collect();
        print_json(&json!({"coverage": coverage, "flows": flows, "findings": import.findings}))?;
    } else {
        write_out(&report(&import.findings))?;
        remark(&format!(
            "{} flows. Of {} constructs {} came over, {} nearly, {} not: {} %",
            import.flows.len(),
            import.findings.len(),
            coverage.imported,
            coverage.approximated,
            coverage.missing,
            coverage.percent
        ));
        if ask.to.is_none() && !import.flows.is_empty() {
            remark("nothing was written: --to flows writes them");
        }
    }
    Ok(if coverage.missing == 0 { Exit::Done } else { Exit::Failed })
}

fn report(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let how = match finding.outcome {
            Outcome::Imported => "imported",
            Outcome::Approximated => "approximated",
            Outcome::Missing => "NOT IMPORTED",
        };
        text.push_str(&format!("{}:{}: {how}: {}\n", finding.file, finding.line, finding.construct));
        if let Some(why) = &finding.why {
            text.push_str(&format!("    {why}\n"));
        }
    }
    text
}

/// The files that are named, and those of the folders that are.
fn files(ask: &ImportArguments) -> Result<Vec<PathBuf>> {
    let ending = match ask.system {
        System::Crontab => None,
        System::Digdag => Some("dig"),
        System::Oozie => Some("xml"),
        System::Airflow | System::Luigi => Some("py"),
    };
    let mut files = Vec::new();
    for path in &ask.paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let listing = path.read_dir().with_context(|| format!("failed to read {}", path.display()))?;
        let mut inside: Vec<PathBuf> =
            listing.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
        inside.retain(|path| ending.is_none_or(|ending| path.extension().is_some_and(|other| other == ending)));
        inside.sort();
        files.extend(inside);
    }
    Ok(files)
}

fn import_file(arguments: &Arguments, ask: &ImportArguments, path: &Path) -> Result<Import> {
    let (name, text) = (path.display().to_string(), read(path)?);
    Ok(match ask.system {
        System::Crontab => crontab::import(&name, &text, crontab_kind(path)),
        System::Digdag => digdag::import(&name, &text),
        System::Oozie => oozie::import(&name, &text, None),
        System::Airflow => recorded::import(&name, &record(arguments, ask, "airflow", path)?),
        System::Luigi => recorded::import(&name, &record(arguments, ask, "luigi", path)?),
    })
}

/// Each workflow with its coordinator: the one beside it, or the only one there is.
fn import_oozie(files: &[PathBuf]) -> Result<Import> {
    let texts: Vec<(&PathBuf, String)> = files.iter().map(|path| Ok((path, read(path)?))).collect::<Result<_>>()?;
    let (coordinators, workflows): (Vec<_>, Vec<_>) = texts.iter().partition(|(_, text)| oozie::is_coordinator(text));
    let mut import = Import::default();
    for (path, text) in workflows {
        let beside = coordinators.iter().find(|(other, _)| other.parent() == path.parent());
        let coordinator = beside.or_else(|| coordinators.first().filter(|_| coordinators.len() == 1));
        let name = coordinator.map(|(other, _)| other.display().to_string()).unwrap_or_default();
        let coordinator = coordinator.map(|(_, text)| (name.as_str(), text.as_str()));
        import.add(oozie::import(&path.display().to_string(), text, coordinator));
    }
    Ok(import)
}

/// Bytes that are no UTF-8 become replacement characters.
fn read(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("failed to read {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The system's crontabs have a column for the user, and stand where only they do.
fn crontab_kind(path: &Path) -> crontab::Kind {
    let is_systems = path.ends_with("etc/crontab") || path.parent().is_some_and(|folder| folder.ends_with("cron.d"));
    if is_systems { crontab::Kind::System } else { crontab::Kind::User }
}

/// Runs the file in the user's own Python.
fn record(arguments: &Arguments, ask: &ImportArguments, system: &str, path: &Path) -> Result<Recording> {
    let stubs = lay_out_files(&arguments.project, "importers", &STUBS).context("failed to write below .mulgil")?;
    let mut command = Command::new(&ask.python);
    command.arg(stubs.join("record.py")).arg(system).arg(path).env("PYTHONDONTWRITEBYTECODE", "1");
    let printed = limited::run(command, LIMITS).with_context(|| format!("reading {} failed", path.display()))?;
    match serde_json::from_slice(&printed.output) {
        Ok(recording) => Ok(recording),
        Err(_) => bail!("{} said nothing of {}: {}", ask.python, path.display(), printed.complaint),
    }
}

/// Writes the flows; nothing that is there is overwritten.
fn write(import: &Import, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("failed to make {}", to.display()))?;
    for flow in &import.flows {
        let path = to.join(format!("{}.yaml", flow.name));
        match std::fs::File::create_new(&path) {
            Ok(mut file) => std::io::Write::write_all(&mut file, flow.yaml.as_bytes()),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                bail!("{} is there already: move it away, or write elsewhere", path.display())
            }
            Err(error) => Err(error),
        }
        .with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(())
}
