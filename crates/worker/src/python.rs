//! Python: the package that this program brings along, and how an interpreter is called for a python task.
//!
//! A python task is a shell task whose command is the interpreter: the same gate, process group, log and end. Functions are
//! called by the package `mulgil`, which is laid out below `.mulgil` and found by `PYTHONPATH`.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};

use mulgil_flow::template::{self, Variables};
use mulgil_flow::{Interpreter, PythonArgs, PythonEntry, PythonTask};
use serde_json::Value;

/// The package's files.
const PACKAGE: [(&str, &str); 7] = [
    ("mulgil/__init__.py", include_str!("../../../python/mulgil/__init__.py")),
    ("mulgil/call.py", include_str!("../../../python/mulgil/call.py")),
    ("mulgil/define.py", include_str!("../../../python/mulgil/define.py")),
    ("mulgil/environment.py", include_str!("../../../python/mulgil/environment.py")),
    ("mulgil/graph.py", include_str!("../../../python/mulgil/graph.py")),
    ("mulgil/load.py", include_str!("../../../python/mulgil/load.py")),
    ("mulgil/py.typed", ""),
];
/// The variable that carries the arguments of a function.
const ARGUMENTS: &str = "MULGIL_ARGS";
/// Linux takes no variable longer than 128 KiB.
const ARGUMENTS_BYTES_MAX: usize = 120 * 1024;
/// Where environments for requirements files are kept, relative to the project.
const ENVIRONMENTS: &str = ".mulgil/venvs";

/// Lays the package out below the project's `.mulgil` and returns the folder for `PYTHONPATH`. What is there already is left
/// alone: each version of the package has a folder of its own.
///
/// # Errors
/// The folder cannot be written.
pub fn lay_out(project_dir: &Path) -> io::Result<PathBuf> {
    lay_out_files(project_dir, "python", &PACKAGE)
}

/// Lays files out below `.mulgil/<kind>-<their hash>`, all or none.
///
/// # Errors
/// The folder cannot be written.
pub fn lay_out_files(project_dir: &Path, kind: &str, files: &[(&str, &str)]) -> io::Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    files.hash(&mut hasher);
    // Processes run in another folder than this one.
    let hidden = std::path::absolute(project_dir)?.join(".mulgil");
    let folder = hidden.join(format!("{kind}-{:016x}", hasher.finish()));
    if folder.is_dir() {
        return Ok(folder);
    }
    let staging = hidden.join(format!("{kind}-{:016x}.{}", hasher.finish(), std::process::id()));
    for (name, text) in files {
        let path = staging.join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(&staging))?;
        std::fs::write(path, text)?;
    }
    match std::fs::rename(&staging, &folder) {
        // Somebody else was faster, with the same files.
        Err(_) if folder.is_dir() => std::fs::remove_dir_all(&staging)?,
        renamed => renamed?,
    }
    Ok(folder)
}

/// The interpreter that a setting names: a command is looked up in `PATH`, a path is relative to the project.
pub fn interpreter(project_dir: &Path, python: &str) -> String {
    if !python.contains('/') {
        return python.to_owned();
    }
    let path = project_dir.join(python);
    // Processes run in another folder than this one.
    std::path::absolute(&path).unwrap_or(path).display().to_string()
}

/// A python task that is about to run.
pub(crate) struct PythonCall<'a> {
    /// The task.
    pub(crate) task: &'a PythonTask,
    /// The project's interpreter.
    pub(crate) python: &'a str,
    /// The project's folder.
    pub(crate) project_dir: &'a Path,
}

impl PythonCall<'_> {
    /// The shell command that becomes the interpreter, and the variables that it needs.
    pub(crate) fn command(&self, variables: &Variables) -> Result<(String, Option<(String, String)>), String> {
        let package = lay_out(self.project_dir)
            .map_err(|error| format!("cannot write the Python package below .mulgil: {error}"))?;
        let mut words = vec![match &self.task.interpreter {
            Interpreter::Venv(folder) => self.project_dir.join(folder).join("bin/python").display().to_string(),
            Interpreter::Project | Interpreter::Requirements(_) => interpreter(self.project_dir, self.python),
        }];
        if let Interpreter::Requirements(file) = &self.task.interpreter {
            words.extend(["-m", "mulgil.environment", file, ENVIRONMENTS].map(str::to_owned));
        }
        let mut arguments = None;
        match &self.task.entry {
            PythonEntry::Script(script) => words.push(script.clone()),
            PythonEntry::Module(module) => words.extend(["-m".to_owned(), module.clone()]),
            PythonEntry::Function { from, name } => {
                words.extend(["-m", "mulgil.call", from, name].map(str::to_owned));
                arguments = Some((ARGUMENTS.to_owned(), self.arguments(variables)?));
            }
        }
        if arguments.is_none() {
            words.extend(self.words(variables)?);
        }
        let words: Option<Vec<String>> = words.iter().map(|word| template::shell_word(word)).collect();
        let words = words.ok_or("an argument holds a NUL character, which no command can take")?;
        let package = template::shell_word(&package.display().to_string()).unwrap_or_default();
        let command = format!(
            "export PYTHONUNBUFFERED=1 PYTHONPATH={package}\"${{PYTHONPATH:+:$PYTHONPATH}}\"; exec {}",
            words.join(" ")
        );
        Ok((command, arguments))
    }

    /// The arguments of a script or a module: words.
    fn words(&self, variables: &Variables) -> Result<Vec<String>, String> {
        let PythonArgs::List(items) = &self.task.args else { return Ok(Vec::new()) };
        let word = |item: &Value| {
            rendered(item, variables).map(|value| match value {
                Value::String(text) => text,
                other => other.to_string(),
            })
        };
        items.iter().map(word).collect()
    }

    /// The arguments of a function: JSON.
    fn arguments(&self, variables: &Variables) -> Result<String, String> {
        let value = match &self.task.args {
            PythonArgs::List(items) => rendered(&Value::Array(items.clone()), variables)?,
            PythonArgs::Named(named) => {
                let fields = named.iter().map(|(name, value)| Ok((name.clone(), rendered(value, variables)?)));
                Value::Object(fields.collect::<Result<_, String>>()?)
            }
        };
        let text = value.to_string();
        if text.len() > ARGUMENTS_BYTES_MAX {
            return Err(format!(
                "the arguments are {} bytes, more than {ARGUMENTS_BYTES_MAX}: hand large data on by a table or a file",
                text.len()
            ));
        }
        Ok(text)
    }
}

/// The arguments with their templates rendered.
fn rendered(value: &Value, variables: &Variables) -> Result<Value, String> {
    template::values(value, variables).map_err(|error| format!("in `args:`, {error}"))
}
