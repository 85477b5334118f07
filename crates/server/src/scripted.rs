//! Scripted flows: each file of `flows/*.py` is run once, by the project's interpreter in a process of its own, within limits
//! of time and memory, to say which flows it defines.
//!
//! What a file has said is kept below `.mulgil/scripts` with the hashes of everything that it was read from: only what has
//! changed is run again, also after a restart. A file that fails stops only itself. What it said is then checked like YAML.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use mulgil_flow::{Diagnostic, Lines};
use mulgil_worker::limited::{self, LimitedError, Limits};
use mulgil_worker::python;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How long a file may take to say what it defines, and how much it may say.
const LIMITS: Limits = Limits { time: Duration::from_secs(10), bytes: 64 << 20 };
/// How much memory it may take meanwhile.
const MEMORY_MAX_MB: u32 = 1024;
/// A file that ran out of its limits is tried again after this long, even if nothing has changed.
const TRIED_AGAIN_AFTER: Duration = Duration::from_secs(300);
/// How many files are read at once.
const AT_ONCE_MAX: usize = 4;
/// The package comes first on the path, whatever the user's own `PYTHONPATH` says.
const START: &str = "import sys; sys.path.insert(0, sys.argv.pop(1)); from mulgil.define import main; main()";

/// What a script has said.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// The file, relative to the project's folder.
    pub(crate) file: String,
    /// Its text.
    pub(crate) text: String,
    /// Its flows, whole or not.
    pub(crate) flows: Vec<Scripted>,
    /// The names of flows that it defined before it broke; empty while it is not broken.
    pub(crate) lost: Vec<String>,
    /// Why the file as a whole said nothing.
    pub(crate) fault: Option<Diagnostic>,
}

/// One flow of a script.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Scripted {
    /// Its name.
    pub(crate) name: String,
    /// Its definition, with the keys of YAML; nothing where making it failed.
    pub(crate) definition: Option<Value>,
    /// The lines in the script.
    #[serde(default)]
    pub(crate) lines: Lines,
    /// Why there is no definition.
    error: Option<Fault>,
}

impl Scripted {
    /// Why making this flow failed.
    pub(crate) fn fault(&self, file: &str) -> Option<Diagnostic> {
        self.error.as_ref().map(|error| error.diagnostic(file))
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Fault {
    message: String,
    line: u32,
    column: u32,
    #[serde(default)]
    remedy: Option<String>,
}

impl Fault {
    fn diagnostic(&self, file: &str) -> Diagnostic {
        Diagnostic {
            file: file.to_owned(),
            line: self.line.max(1),
            column: self.column.max(1),
            message: self.message.clone(),
            remedy: self.remedy.clone(),
        }
    }
}

/// What `mulgil.define` prints.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Answer {
    flows: Vec<Scripted>,
    error: Option<Fault>,
    modules: Vec<String>,
}

/// An answer as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    /// The interpreter and the package that gave it.
    by: (String, PathBuf),
    /// The hashes of the files that it was made from.
    files: BTreeMap<String, u64>,
    answer: Answer,
    /// The names of the flows of the last answer that was whole.
    names: Vec<String>,
    /// Whether it ran out of its limits, and when.
    ran_out: Option<SystemTime>,
}

/// Reads the scripts of a project.
pub(crate) struct Scripts<'a> {
    /// The project's folder.
    pub(crate) dir: &'a Path,
    /// The project's interpreter.
    pub(crate) python: &'a str,
    /// What each may take.
    limits: Limits,
}

impl<'a> Scripts<'a> {
    /// Reads them with the usual limits.
    pub(crate) fn new(dir: &'a Path, python: &'a str) -> Self {
        Self { dir, python, limits: LIMITS }
    }

    /// What the scripts say, each with its text given, in their order.
    pub(crate) fn read(&self, files: Vec<(String, String)>) -> Vec<Script> {
        if files.is_empty() {
            return Vec::new();
        }
        let package = match python::lay_out(self.dir) {
            Ok(package) => package,
            Err(error) => {
                let message = format!("cannot write the Python package below .mulgil: {error}");
                let broken = |(file, text)| broken(file, text, fault(message.clone(), None), Vec::new());
                return files.into_iter().map(broken).collect();
            }
        };
        let (next, done) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
        std::thread::scope(|scope| {
            for _ in 0..files.len().min(AT_ONCE_MAX) {
                scope.spawn(|| {
                    while let Some((number, (file, text))) = {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        files.get(number).map(|one| (number, one))
                    } {
                        let script = self.script(file, text, &package);
                        done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(number, script);
                    }
                });
            }
        });
        done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).into_values().collect()
    }

    fn script(&self, file: &str, text: &str, package: &Path) -> Script {
        let by = (python::interpreter(self.dir, self.python), package.to_owned());
        let kept = self.kept(file);
        let names = kept.as_ref().map(|kept| kept.names.clone()).unwrap_or_default();
        if let Some(kept) = kept.filter(|kept| kept.by == by && self.still_stands(kept)) {
            return script(file, text, kept.answer, names);
        }
        let (answer, ran_out) = self.ask(file, &by.0, package);
        let names = match answer.error.is_none() {
            true => answer.flows.iter().map(|flow| flow.name.clone()).collect(),
            false => names,
        };
        let is_whole = answer.error.is_none() && answer.flows.iter().all(|flow| flow.error.is_none());
        // What failed otherwise may work when it is tried again: a package may have been installed meanwhile.
        let files = match is_whole || ran_out {
            true => self.hashes(file, &answer.modules),
            false => BTreeMap::new(),
        };
        let ran_out = ran_out.then(SystemTime::now);
        self.keep(file, &Kept { by, files, answer: answer.clone(), names: names.clone(), ran_out });
        script(file, text, answer, names)
    }

    /// Runs the script. Also says whether it ran out of its limits.
    fn ask(&self, file: &str, interpreter: &str, package: &Path) -> (Answer, bool) {
        let mut command = Command::new(interpreter);
        command.arg("-c").arg(START).arg(package).arg(file);
        command.args([self.limits.time.as_secs().max(1).to_string(), MEMORY_MAX_MB.to_string()]).current_dir(self.dir);
        // The same file gives the same flows: sets have one order, and nothing is written beside the files.
        command.envs([("PYTHONHASHSEED", "0"), ("PYTHONDONTWRITEBYTECODE", "1")]);
        let nothing = |error| Answer { flows: Vec::new(), error: Some(error), modules: Vec::new() };
        let printed = match limited::run(command, self.limits) {
            Ok(printed) => printed,
            Err(error @ LimitedError::Start { .. }) => {
                let remedy = "install Python 3.9 or later, or name an interpreter by python: in mulgil.yaml";
                return (nothing(fault(error.to_string(), Some(remedy))), false);
            }
            Err(error) => {
                let remedy = "a script builds the graph only; do the work in tasks";
                return (nothing(fault(format!("reading the file {error}"), Some(remedy))), true);
            }
        };
        match serde_json::from_slice(&printed.output) {
            Ok(answer) => (answer, false),
            Err(_) => {
                let said = printed.complaint.lines().last().unwrap_or("it said nothing").to_owned();
                let remedy =
                    format!("it has {MEMORY_MAX_MB} MB and {} seconds to build the graph", self.limits.time.as_secs());
                let message = format!("the interpreter ended while it read the file: {said}");
                (nothing(fault(message, Some(&remedy))), true)
            }
        }
    }

    fn kept(&self, file: &str) -> Option<Kept> {
        serde_json::from_slice(&std::fs::read(self.place(file)).ok()?).ok()
    }

    /// An answer that cannot be kept is asked for again the next time: that is slower, not wrong.
    fn keep(&self, file: &str, kept: &Kept) {
        let place = self.place(file);
        let staging = place.with_extension(format!("{}.new", std::process::id()));
        let written = place.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| {
            std::fs::write(&staging, serde_json::to_vec(kept)?)?;
            std::fs::rename(&staging, &place)
        });
        if let Err(error) = written {
            tracing::debug!(%error, file, "what a script said could not be kept");
        }
    }

    fn place(&self, file: &str) -> PathBuf {
        self.dir.join(".mulgil/scripts").join(format!("{}.json", file.replace('/', "_")))
    }

    fn still_stands(&self, kept: &Kept) -> bool {
        let is_recent = kept.ran_out.is_none_or(|at| at.elapsed().is_ok_and(|age| age < TRIED_AGAIN_AFTER));
        is_recent && !kept.files.is_empty() && kept.files.iter().all(|(file, hash)| self.hash(file) == Some(*hash))
    }

    fn hashes(&self, file: &str, modules: &[String]) -> BTreeMap<String, u64> {
        let files = std::iter::once(file).chain(modules.iter().map(String::as_str));
        files.filter_map(|file| Some((file.to_owned(), self.hash(file)?))).collect()
    }

    fn hash(&self, file: &str) -> Option<u64> {
        let mut hasher = DefaultHasher::new();
        std::fs::read(self.dir.join(file)).ok()?.hash(&mut hasher);
        Some(hasher.finish())
    }
}

fn script(file: &str, text: &str, answer: Answer, names: Vec<String>) -> Script {
    match answer.error {
        Some(error) => broken(file.to_owned(), text.to_owned(), error, names),
        None => {
            Script { file: file.to_owned(), text: text.to_owned(), flows: answer.flows, lost: Vec::new(), fault: None }
        }
    }
}

fn broken(file: String, text: String, error: Fault, lost: Vec<String>) -> Script {
    let fault = Some(error.diagnostic(&file));
    Script { file, text, flows: Vec::new(), lost, fault }
}

fn fault(message: String, remedy: Option<&str>) -> Fault {
    Fault { message, line: 1, column: 1, remedy: remedy.map(str::to_owned) }
}

#[cfg(test)]
mod tests;
