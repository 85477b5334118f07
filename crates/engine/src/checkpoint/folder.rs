//! The folder in which a pipeline keeps its checkpoints: writing one, finding the newest that is whole, removing old ones.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use mulgil_dataflow::graph::Graph;
use mulgil_dataflow::state::Extent;

use super::manifest::{OperatorName, Part, PartOwner, Unread, names};
use super::remote::Remote;
use super::segment::SegmentWriter;
use super::shape::{Shapes, shapes};
use super::{CheckpointError, CheckpointOptions, During, Manifest};
use crate::crash;
use crate::cut::{Cut, Owner};
use crate::spool::SPOOL;

/// How a manifest's file ends.
pub(super) const MANIFEST: &str = "checkpoint";
/// How a state file ends.
const STATE: &str = "state";

/// See the module. Used by one job at a time.
#[derive(Debug)]
pub struct CheckpointFolder {
    folder: PathBuf,
    kept: usize,
    names: Vec<OperatorName>,
    shapes: Shapes,
    parallelism: usize,
    /// The manifests that are kept, oldest first.
    manifests: Vec<Manifest>,
    /// The number of the next cut: above that of every file there is.
    next: u64,
    /// Whether the next cut has to seal all state.
    wants_whole: bool,
    /// Where the checkpoints are in truth, if not here.
    remote: Option<Remote>,
}

/// What was found in a folder.
#[derive(Debug, Default)]
pub struct Found {
    /// The manifests that are whole, oldest first.
    pub manifests: Vec<Manifest>,
    /// What was wrong with others.
    pub damaged: Vec<CheckpointError>,
    remote: Option<Remote>,
}

impl Found {
    /// The newest checkpoint whose state is whole, and what `graph` needs to go on from it.
    ///
    /// # Errors
    /// There are checkpoints, but the state of none is whole: the error of the newest. Or they are of another query.
    pub fn newest(&self, folder: &Path, graph: &Graph) -> Result<Option<(Manifest, Cut)>, CheckpointError> {
        let mut first = None;
        for manifest in self.manifests.iter().rev() {
            match self.cut(manifest, folder, graph) {
                Ok(cut) => return Ok(Some((manifest.clone(), cut))),
                Err(error @ CheckpointError::OtherQuery(_)) => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, number = manifest.number, "the state of a checkpoint is damaged; the one before it is used");
                    first.get_or_insert(error);
                }
            }
        }
        first.map_or(Ok(None), Err)
    }

    /// Reads a checkpoint; from object storage what is not here, or damaged here.
    fn cut(&self, manifest: &Manifest, folder: &Path, graph: &Graph) -> Result<Cut, CheckpointError> {
        let Some(remote) = &self.remote else { return manifest.cut(folder, graph) };
        remote.fetch_files(manifest, folder, false)?;
        match manifest.cut(folder, graph) {
            Err(CheckpointError::Damaged { .. } | CheckpointError::Arrow(_)) => {
                remote.fetch_files(manifest, folder, true)?;
                manifest.cut(folder, graph)
            }
            read => read,
        }
    }
}

/// What writing a checkpoint took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Bytes written now.
    pub bytes: u64,
    /// Bytes of the whole state, changes included.
    pub state_bytes: u64,
}

impl CheckpointFolder {
    /// The folder of a job, made if it is not there; and what is in it. Waits for object storage where there is any, so it is
    /// called on a thread of a runtime that may block.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub fn open(
        options: &CheckpointOptions,
        graph: &Graph,
        parallelism: usize,
    ) -> Result<(Self, Found), CheckpointError> {
        let folder = options.folder.clone();
        fs::create_dir_all(&folder).during("make the folder", &folder)?;
        let remote = options.remote.clone().map(|folder| Remote(folder.calls()));
        if let Some(remote) = &remote {
            remote.mirror(&folder)?;
        }
        let (mut whole, mut damaged, mut other) = (Vec::new(), Vec::new(), None);
        let mut next = 1;
        for (number, path) in numbered(&folder)? {
            next = next.max(number + 1);
            if path.extension().is_some_and(|end| end == MANIFEST) {
                match read_manifest(&path) {
                    Ok(manifest) => {
                        // An older one that cannot be read does not matter any more.
                        other = None;
                        whole.push(manifest);
                    }
                    Err(error @ CheckpointError::OtherFormat { .. }) => other = Some(error),
                    Err(error) => damaged.push(error),
                }
            }
        }
        // Going on from an older one would do again what the newer one has done.
        if let Some(error) = other.or_else(|| damaged.pop_if(|_| whole.is_empty())) {
            return Err(error);
        }
        let found = Found { manifests: whole.clone(), damaged, remote: remote.clone() };
        let (names, shapes) = (names(graph), shapes(graph));
        let kept = options.kept.max(1);
        Ok((
            Self { folder, kept, names, shapes, parallelism, manifests: whole, next, wants_whole: true, remote },
            found,
        ))
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// The job goes on from this checkpoint: what comes after adds to it. Newer ones could not be read, or are not wanted.
    pub fn go_on_from(&mut self, manifest: &Manifest) {
        self.manifests.retain(|known| known.number <= manifest.number);
        // The parts of a subtask can be added to by the same subtask only.
        self.wants_whole = manifest.parallelism != self.parallelism || manifest.shapes != self.shapes;
    }

    /// The number of the next cut.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The next cut was given up: its number is not used again.
    pub fn skip(&mut self) {
        self.next += 1;
    }

    /// Whether the next cut has to seal all state.
    pub fn wants_whole(&self) -> bool {
        self.wants_whole
    }

    /// Makes a cut durable. When this returns, it is.
    ///
    /// # Errors
    /// The disk is full, or does not want; then the checkpoints before stand, and the next cut has to seal all.
    pub fn write(&mut self, cut: &Cut, is_whole: bool) -> Result<Written, CheckpointError> {
        let number = self.next;
        self.next += 1;
        self.wants_whole = true;
        let state = self.folder.join(self.state_name(number));
        let written = self.write_files(cut, is_whole, number, &state);
        if written.is_err() {
            // It is in nobody's manifest; what is left of it is in the way when the disk is full.
            let _ = fs::remove_file(&state);
        }
        let (manifest, bytes) = written?;
        let state_bytes = manifest.size_bytes;
        self.wants_whole = manifest.changes_outweigh();
        self.manifests.push(manifest);
        crash::point("before clean-up");
        self.remove_old();
        Ok(Written { bytes, state_bytes })
    }

    fn write_files(
        &self,
        cut: &Cut,
        is_whole: bool,
        number: u64,
        state: &Path,
    ) -> Result<(Manifest, u64), CheckpointError> {
        let (parts, bytes) = self.write_state(cut, number, state)?;
        let parts = if is_whole { parts } else { self.with_former(cut, parts) };
        let manifest = Manifest::new(cut, (&self.names, &self.shapes), number, self.parallelism, parts);
        let text = manifest.to_text().map_err(|error| CheckpointError::Damaged {
            path: self.folder.clone(),
            reason: format!("the manifest cannot be written: {error}"),
        })?;
        let path = self.folder.join(format!("{number:08}.{MANIFEST}"));
        let part = path.with_extension("part");
        crash::point("before the manifest");
        File::create(&part)
            .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
            .during("write", &part)?;
        self.upload(cut, state, &path, &text)?;
        crash::point("before the manifest's rename");
        fs::rename(&part, &path).during("rename", &part)?;
        crash::point("after the manifest's rename");
        sync_folder(&self.folder)?;
        Ok((manifest, bytes + text.len() as u64))
    }

    /// Writes and syncs the sealed rows.
    fn write_state(&self, cut: &Cut, number: u64, path: &Path) -> Result<(Vec<Part>, u64), CheckpointError> {
        let file = File::create(path).during("create", path)?;
        let mut writer = SegmentWriter::new(self.state_name(number), BufWriter::with_capacity(1 << 20, file));
        let mut parts = Vec::with_capacity(cut.parts.len());
        for sealed in &cut.parts {
            let Some(owner) = self.owner(&sealed.owner) else { continue };
            let rows = writer.write(&sealed.part.rows, path)?;
            let changes = match &sealed.part.extent {
                Extent::Whole => None,
                Extent::Changes { key_count, gone } => Some((*key_count, writer.write(&gone.clone().into(), path)?)),
            };
            parts.push(Part::new(owner, sealed.subtask, &sealed.part, rows, changes));
        }
        crash::point("before the state's sync");
        let bytes = writer.size_bytes();
        let file = writer.into_inner().into_inner().map_err(std::io::IntoInnerError::into_error);
        file.and_then(|file| file.sync_all()).during("sync", path)?;
        crash::point("after the state's sync");
        Ok((parts, bytes))
    }

    /// The name of a state file. In object storage, two processes that believe that they run the pipeline never write the
    /// same one: which of the two counts is decided by the manifest.
    fn state_name(&self, number: u64) -> String {
        match &self.remote {
            None => format!("{number:08}.{STATE}"),
            Some(_) => format!("{number:08}.{}.{STATE}", std::process::id()),
        }
    }

    /// Uploads what belongs to a checkpoint, and last its manifest: from then on it stands.
    fn upload(&self, cut: &Cut, state: &Path, manifest: &Path, text: &str) -> Result<(), CheckpointError> {
        let Some(remote) = &self.remote else { return Ok(()) };
        let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        remote.put(&name(state), &self.folder)?;
        for spool in spools(&cut.staged) {
            remote.put(spool, &self.folder)?;
        }
        remote.commit(&name(manifest), text)
    }

    fn owner(&self, owner: &Owner) -> Option<PartOwner> {
        match owner {
            Owner::Node(node) => self.names.get(*node).cloned().map(PartOwner::Operator),
            Owner::Sink(table) => Some(PartOwner::Sink(table.clone())),
        }
    }

    /// What the last manifest names and this cut has not replaced, each part followed by its changes.
    fn with_former(&self, cut: &Cut, now: Vec<Part>) -> Vec<Part> {
        let takes_part = |former: &Part| match &former.owner {
            PartOwner::Sink(_) => true,
            owner => cut.subtasks.iter().any(|(node, subtask)| {
                *subtask == former.subtask && self.owner(&Owner::Node(*node)).as_ref() == Some(owner)
            }),
        };
        let replaced = |former: &Part| now.iter().any(|part| part.changes.is_none() && part.is_of(former));
        let former = self.manifests.last().map_or(&[] as &[Part], |manifest| manifest.parts.as_slice());
        let mut all: Vec<Part> =
            former.iter().filter(|former| takes_part(former) && !replaced(former)).cloned().collect();
        for part in now {
            let behind = all.iter().rposition(|known| known.is_of(&part)).map_or(all.len(), |last| last + 1);
            all.insert(behind, part);
        }
        all
    }

    /// Removes checkpoints beyond those that are kept, and files that none of those needs. What cannot be removed now is
    /// removed another time.
    fn remove_old(&mut self) {
        let surplus = self.manifests.len().saturating_sub(self.kept);
        self.manifests.drain(..surplus);
        let mut needed: HashSet<String> = HashSet::new();
        for manifest in &self.manifests {
            needed.insert(format!("{:08}.{MANIFEST}", manifest.number));
            needed.extend(manifest.files().map(str::to_owned));
        }
        if let Some(remote) = &self.remote {
            needed.extend(self.manifests.iter().flat_map(Manifest::spools).map(str::to_owned));
            // What cannot be listed now is removed another time.
            let there = remote.names().unwrap_or_default();
            there.iter().filter(|name| !needed.contains(*name)).for_each(|name| remote.remove(name));
        }
        let Ok(files) = numbered(&self.folder) else { return };
        for (_, path) in files {
            let is_needed = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| needed.contains(name));
            if !is_needed && let Err(error) = fs::remove_file(&path) {
                tracing::debug!(path = %path.display(), %error, "an old checkpoint file stays");
            }
        }
    }
}

impl Manifest {
    /// The newest manifest of a folder that is whole.
    pub(crate) fn newest_of(folder: &Path) -> Result<Option<Self>, CheckpointError> {
        let files = match fs::read_dir(folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            _ => numbered(folder)?,
        };
        let manifests = files.iter().rev().filter(|(_, path)| path.extension().is_some_and(|end| end == MANIFEST));
        Ok(manifests.map(|(_, path)| read_manifest(path)).find_map(Result::ok))
    }

    /// Puts the manifest and all that it needs into another folder: as links to the same files, or as copies.
    pub(crate) fn copy_files(&self, from: &Path, to: &Path) -> Result<(), CheckpointError> {
        let needed: HashSet<&str> = self.files().collect();
        for name in needed {
            let (old, new) = (from.join(name), to.join(name));
            if fs::hard_link(&old, &new).is_err() {
                fs::copy(&old, &new).during("copy", &old)?;
                File::open(&new).and_then(|file| file.sync_all()).during("sync", &new)?;
            }
        }
        let name = format!("{:08}.{MANIFEST}", self.number);
        let (old, new) = (from.join(&name), to.join(&name));
        fs::copy(&old, &new).during("copy", &old)?;
        File::open(&new).and_then(|file| file.sync_all()).during("sync", &new)
    }

    /// Whether the changes take more than what they change.
    fn changes_outweigh(&self) -> bool {
        let bytes = |is_change: bool| {
            let parts = self.parts.iter().filter(move |part| part.changes.is_some() == is_change);
            parts.map(|part| part.rows.length).sum::<u64>()
        };
        bytes(true) > bytes(false)
    }
}

fn read_manifest(path: &Path) -> Result<Manifest, CheckpointError> {
    let bytes = fs::read(path).during("read", path)?;
    let path = || path.to_owned();
    let damaged = |reason: String| CheckpointError::Damaged { path: path(), reason };
    let text = std::str::from_utf8(&bytes).map_err(|_| damaged("it is garbled: it is no text".to_owned()))?;
    Manifest::from_text(text).map_err(|unread| match unread {
        Unread::Damaged(reason) => damaged(reason),
        Unread::OtherFormat(reason) => CheckpointError::OtherFormat { path: path(), reason },
    })
}

/// The files of a folder that are named after a cut, with its number, in order.
fn numbered(folder: &Path) -> Result<Vec<(u64, PathBuf)>, CheckpointError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).during("read", folder)? {
        let path = entry.during("read", folder)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.split('.').next().and_then(|number| number.parse().ok());
        files.extend(number.map(|number| (number, path)));
    }
    files.sort();
    Ok(files)
}

/// The files in which rows wait to be published.
pub(super) fn spools(staged: &BTreeMap<String, Vec<String>>) -> impl Iterator<Item = &str> {
    staged
        .values()
        .flatten()
        .map(String::as_str)
        .filter(|name| Path::new(name).extension().is_some_and(|end| end == SPOOL))
}

fn sync_folder(folder: &Path) -> Result<(), CheckpointError> {
    File::open(folder).and_then(|folder| folder.sync_all()).during("sync", folder)
}
