//! Savepoints: checkpoints with a name, complete in a folder of their own, which no clean-up removes.
//!
//! ```text
//!   <folder>/before-the-change/00000007.checkpoint   the manifest, as it was
//!   <folder>/before-the-change/00000007.state ...    every file that it names
//! ```
//!
//! Files of state never change once they are written, so a savepoint shares them with the checkpoints where the file system
//! can (hard links), and costs nothing. Restoring one writes it as the newest checkpoint of the pipeline; whether the query
//! can take its state is asked before anything is written.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;

use mulgil_dataflow::graph::Graph;

use crate::checkpoint::{CheckpointError, CheckpointFolder, CheckpointOptions, During, Manifest};

/// A savepoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Savepoint {
    /// Its name.
    pub name: String,
    /// When its checkpoint was made, in milliseconds since the epoch.
    pub made_ms: i64,
    /// How many bytes its state takes.
    pub size_bytes: u64,
}

/// Keeps the newest checkpoint of `from` as the savepoint `name` in `to`.
///
/// # Errors
/// The name cannot be one of a folder, or is taken; there is no checkpoint; files cannot be read or written.
pub fn save(from: &Path, to: &Path, name: &str) -> Result<Savepoint, CheckpointError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(is_plain) {
        let reason = format!("'{name}' cannot be the name of a savepoint: use letters, digits, - and _");
        return Err(CheckpointError::Savepoint(reason));
    }
    let target = to.join(name);
    if target.exists() {
        let reason = format!("there is a savepoint {name} already: {}", target.display());
        return Err(CheckpointError::Savepoint(reason));
    }
    // Beside the target, so that it is there as a whole or not at all.
    let part = to.join(format!(".{name}.part"));
    remove(&part)?;
    fs::create_dir_all(&part).during("make the folder", &part)?;
    // A checkpoint may be cleaned up while it is looked at; then there is a newer one.
    let manifest = loop {
        let Some(manifest) = Manifest::newest_of(from)? else {
            let reason = format!("there is no checkpoint in {} yet", from.display());
            return Err(CheckpointError::Savepoint(reason));
        };
        match manifest.copy_files(from, &part) {
            Ok(()) => break manifest,
            Err(CheckpointError::File { source, .. }) if source.kind() == ErrorKind::NotFound => {
                if Manifest::newest_of(from)?.is_none_or(|newest| newest.number == manifest.number) {
                    let reason = format!("the files of checkpoint {} are not all there", manifest.number);
                    return Err(CheckpointError::Savepoint(reason));
                }
            }
            Err(error) => return Err(error),
        }
    };
    for folder in [&part, to] {
        File::open(folder).and_then(|folder| folder.sync_all()).during("sync", folder)?;
    }
    fs::rename(&part, &target).during("rename", &part)?;
    File::open(to).and_then(|folder| folder.sync_all()).during("sync", to)?;
    Ok(of(name, &manifest))
}

/// The savepoints of a folder, the newest last.
///
/// # Errors
/// The folder cannot be read.
pub fn list(folder: &Path) -> Result<Vec<Savepoint>, CheckpointError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.during("read", folder)?,
    };
    let mut savepoints = Vec::new();
    for entry in entries {
        let path = entry.during("read", folder)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).filter(|name| !name.starts_with('.'));
        let (Some(name), true) = (name, path.is_dir()) else { continue };
        match Manifest::newest_of(&path) {
            Ok(Some(manifest)) => savepoints.push(of(name, &manifest)),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "a savepoint is damaged"),
        }
    }
    savepoints.sort_by(|a, b| (a.made_ms, &a.name).cmp(&(b.made_ms, &b.name)));
    Ok(savepoints)
}

/// Writes the savepoint `name` of `from` as the newest checkpoint of the pipeline, for `graph`. Called while no job uses its
/// checkpoints, on a thread of a runtime that may block.
///
/// # Errors
/// There is no such savepoint, or it is damaged; `graph` has no operator for some of its state; nothing can be written.
pub fn restore(from: &Path, name: &str, options: &CheckpointOptions, graph: &Graph) -> Result<(), CheckpointError> {
    let folder = from.join(name);
    let manifest = if folder.is_dir() { Manifest::newest_of(&folder)? } else { None };
    let Some(manifest) = manifest else {
        let names: Vec<String> = list(from)?.into_iter().map(|savepoint| savepoint.name).collect();
        let known =
            if names.is_empty() { "there is none".to_owned() } else { format!("there are: {}", names.join(", ")) };
        return Err(CheckpointError::Savepoint(format!("there is no savepoint {name}; {known}")));
    };
    let mut cut = manifest.cut(&folder, graph)?;
    // What it had staged was published then.
    cut.staged.clear();
    let (mut checkpoints, _) = CheckpointFolder::open(options, graph, manifest.parallelism)?;
    checkpoints.write(&cut, true)?;
    Ok(())
}

fn of(name: &str, manifest: &Manifest) -> Savepoint {
    Savepoint { name: name.to_owned(), made_ms: manifest.made_ms, size_bytes: manifest.size_bytes }
}

fn remove(folder: &Path) -> Result<(), CheckpointError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.during("remove", folder),
    }
}
