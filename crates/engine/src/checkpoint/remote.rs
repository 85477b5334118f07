//! Checkpoints in object storage. The local folder is where a checkpoint is put together and read; the storage is what
//! counts: what belongs to a checkpoint is uploaded first, and the upload of its manifest is the commit point.
//!
//! A machine that knows nothing fetches what the newest manifest names. One that was cut off and still believes that the
//! pipeline is its own is stopped by the manifest's name, which can be written once.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::Path;

use bytes::Bytes;
use mulgil_connect::object_storage::ObjectCalls;

use super::folder::MANIFEST;
use super::{CheckpointError, During, Manifest};

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Remote(pub(super) ObjectCalls);

impl Remote {
    /// The names of the files that are there.
    pub(super) fn names(&self) -> Result<HashSet<String>, CheckpointError> {
        Ok(self.0.list()?.into_iter().map(|(name, _)| name).collect())
    }

    /// Lets the local `folder` have the manifests that are there, and no others. Where there are none yet, those of the local
    /// folder are uploaded, with all they need: a pipeline that moves to object storage goes on.
    pub(super) fn mirror(&self, folder: &Path) -> Result<(), CheckpointError> {
        let there = self.names()?;
        let here: Vec<String> = local_names(folder)?;
        if !there.iter().any(is_manifest) {
            let (manifests, others): (Vec<&String>, Vec<&String>) = here.iter().partition(|name| is_manifest(name));
            if manifests.is_empty() {
                return Ok(());
            }
            return others.into_iter().chain(manifests).try_for_each(|name| self.put(name, folder));
        }
        for name in here.iter().filter(|name| is_manifest(name) && !there.contains(*name)) {
            let path = folder.join(name);
            fs::remove_file(&path).during("remove", &path)?;
        }
        let missing = there.iter().filter(|name| is_manifest(name) && !here.contains(name));
        missing.into_iter().try_for_each(|name| self.fetch(name, folder))
    }

    /// Brings the files of a checkpoint into the local `folder`; all of them with `anew`, else those that are missing. What a
    /// sink has published since may be gone.
    pub(super) fn fetch_files(&self, manifest: &Manifest, folder: &Path, anew: bool) -> Result<(), CheckpointError> {
        let state: HashSet<&str> = manifest.files().collect();
        let is_wanted = |name: &str| anew || !folder.join(name).exists();
        state.into_iter().filter(|name| is_wanted(name)).try_for_each(|name| self.fetch(name, folder))?;
        let there = self.names()?;
        let mut spools = manifest.spools().filter(|name| there.contains(*name) && is_wanted(name));
        spools.try_for_each(|name| self.fetch(name, folder))
    }

    /// Brings a file into the local `folder`, in place of one of the same name.
    fn fetch(&self, name: &str, folder: &Path) -> Result<(), CheckpointError> {
        let part = folder.join(format!("{name}.part"));
        let mut file = File::create(&part).during("create", &part)?;
        self.0.fetch(name, &mut file)?;
        file.sync_all().during("sync", &part)?;
        fs::rename(&part, folder.join(name)).during("rename", &part)
    }

    /// Uploads a file of the local `folder`.
    pub(super) fn put(&self, name: &str, folder: &Path) -> Result<(), CheckpointError> {
        Ok(self.0.put_file(name, &folder.join(name))?)
    }

    /// Writes a manifest, whose name must be new. When this returns, the checkpoint stands.
    pub(super) fn commit(&self, name: &str, text: &str) -> Result<(), CheckpointError> {
        if self.0.put_new(name, &Bytes::copy_from_slice(text.as_bytes()))? {
            return Ok(());
        }
        Err(CheckpointError::Taken { url: format!("{}/{name}", self.0.url()) })
    }

    /// Removes everything, manifests first: what is left of an attempt that broke off is nobody's.
    pub(super) fn remove_all(&self) -> Result<(), CheckpointError> {
        let mut names: Vec<String> = self.names()?.into_iter().collect();
        names.sort_by_key(|name| !is_manifest(name));
        names.iter().try_for_each(|name| Ok(self.0.remove(name)?))
    }

    /// Removes a file. One that stays is removed another time.
    pub(super) fn remove(&self, name: &str) {
        if let Err(error) = self.0.remove(name) {
            tracing::debug!(%error, "an old checkpoint file stays");
        }
    }
}

fn is_manifest(name: &String) -> bool {
    Path::new(name).extension().is_some_and(|end| end == MANIFEST)
}

/// The names of the checkpoint files in a local folder.
fn local_names(folder: &Path) -> Result<Vec<String>, CheckpointError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).during("read", folder)? {
        let path = entry.during("read", folder)?.path();
        let is_part = path.extension().is_some_and(|end| end == "part");
        let name = path.file_name().and_then(|name| name.to_str()).filter(|_| path.is_file() && !is_part);
        names.extend(name.map(str::to_owned));
    }
    Ok(names)
}
