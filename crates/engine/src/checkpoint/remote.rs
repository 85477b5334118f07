//! Checkpoints in object storage. The local folder is where a checkpoint is put together and read; the storage is what
//! counts: what belongs to a checkpoint is uploaded first, and the upload of its manifest is the commit point.
//!
//! A machine that knows nothing fetches what the newest manifest names. One that was cut off and still believes that the
//! pipeline is its own is stopped by the manifest's name, which can be written once.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use futures::TryStreamExt;
use mulgil_connect::object_storage::ObjectFolder;
use object_store::{ObjectStoreExt, PutMode, WriteMultipart};
use tokio::runtime::Handle;

use super::folder::MANIFEST;
use super::{CheckpointError, During, Manifest};

/// How much of a file is uploaded at a time.
const UPLOAD_BYTES: usize = 8 * 1024 * 1024;
/// How many of those are on their way at once.
const UPLOADS_MAX: usize = 4;

/// A folder in object storage as plain calls that wait: made for threads that may block.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    folder: ObjectFolder,
    io: Handle,
}

impl Remote {
    pub(super) fn new(folder: ObjectFolder, io: Handle) -> Self {
        Self { folder, io }
    }

    fn path(&self, name: &str) -> object_store::path::Path {
        self.folder.prefix.clone().join(name)
    }

    fn failed(&self, action: &'static str, name: &str, error: &object_store::Error) -> CheckpointError {
        CheckpointError::Storage { action, url: format!("{}/{name}", self.folder.url), reason: error.to_string() }
    }

    /// The names of the files that are there.
    pub(super) fn names(&self) -> Result<HashSet<String>, CheckpointError> {
        let listed = async {
            let mut names = HashSet::new();
            let mut objects = self.folder.store.list(Some(&self.folder.prefix));
            while let Some(object) = objects.try_next().await? {
                names.extend(object.location.filename().map(str::to_owned));
            }
            Ok(names)
        };
        self.io.block_on(listed).map_err(|error| self.failed("list", "", &error))
    }

    /// Lets the local `folder` have the manifests that are there, and no others. Where there are none yet, those of the local
    /// folder are uploaded, with all they need: a pipeline that moves to object storage goes on.
    pub(super) fn mirror(&self, folder: &Path) -> Result<(), CheckpointError> {
        let there = self.names()?;
        let is_manifest = |name: &String| name.ends_with(&format!(".{MANIFEST}"));
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
        there
            .iter()
            .filter(|name| is_manifest(name) && !here.contains(name))
            .try_for_each(|name| self.fetch(name, folder))
    }

    /// Brings the files of a checkpoint into the local `folder`; all of them with `anew`, else those that are missing. What a
    /// sink has published since may be gone.
    pub(super) fn fetch_files(&self, manifest: &Manifest, folder: &Path, anew: bool) -> Result<(), CheckpointError> {
        let state: HashSet<&str> = manifest.files().collect();
        let is_wanted = |name: &str| anew || !folder.join(name).exists();
        state.into_iter().filter(|name| is_wanted(name)).try_for_each(|name| self.fetch(name, folder))?;
        let there = self.names()?;
        let spools = manifest.spools().filter(|name| there.contains(*name) && is_wanted(name));
        spools.map(str::to_owned).collect::<Vec<String>>().iter().try_for_each(|name| self.fetch(name, folder))
    }

    /// Brings a file into the local `folder`, in place of one of the same name.
    pub(super) fn fetch(&self, name: &str, folder: &Path) -> Result<(), CheckpointError> {
        let part = folder.join(format!("{name}.part"));
        let mut file = File::create(&part).during("create", &part)?;
        let read = self.io.block_on(async { self.folder.store.get(&self.path(name)).await });
        let mut bytes = read.map_err(|error| self.failed("read", name, &error))?.into_stream();
        while let Some(piece) = self.io.block_on(bytes.try_next()).map_err(|error| self.failed("read", name, &error))? {
            file.write_all(&piece).during("write", &part)?;
        }
        file.sync_all().during("sync", &part)?;
        fs::rename(&part, folder.join(name)).during("rename", &part)
    }

    /// Uploads a file of the local `folder`.
    pub(super) fn put(&self, name: &str, folder: &Path) -> Result<(), CheckpointError> {
        let path = folder.join(name);
        let mut file = File::open(&path).during("open", &path)?;
        let failed = |error: object_store::Error| self.failed("write", name, &error);
        let mut piece = read_up_to(&mut file, UPLOAD_BYTES).during("read", &path)?;
        if piece.len() < UPLOAD_BYTES {
            let put = self.io.block_on(async { self.folder.store.put(&self.path(name), piece.into()).await });
            return put.map(|_| ()).map_err(failed);
        }
        let started = self.io.block_on(async { self.folder.store.put_multipart(&self.path(name)).await });
        let mut upload = WriteMultipart::new(started.map_err(failed)?);
        // Its parts are uploaded by tasks of their own.
        let _runtime = self.io.enter();
        while !piece.is_empty() {
            let sent = self.io.block_on(upload.wait_for_capacity(UPLOADS_MAX));
            if let Err(error) = sent {
                let _ = self.io.block_on(upload.abort());
                return Err(failed(error));
            }
            upload.write(&piece);
            piece = read_up_to(&mut file, UPLOAD_BYTES).during("read", &path)?;
        }
        self.io.block_on(upload.finish()).map(|_| ()).map_err(failed)
    }

    /// Writes a manifest, whose name must be new. When this returns, the checkpoint stands.
    pub(super) fn commit(&self, name: &str, text: &str) -> Result<(), CheckpointError> {
        let options = PutMode::Create.into();
        let put = self
            .io
            .block_on(async { self.folder.store.put_opts(&self.path(name), text.to_owned().into(), options).await });
        match put {
            Ok(_) => Ok(()),
            // Its answer to a first attempt may have been lost: then it is our own.
            Err(object_store::Error::AlreadyExists { .. }) if self.holds(name, text)? => Ok(()),
            Err(object_store::Error::AlreadyExists { .. }) => {
                Err(CheckpointError::Taken { url: format!("{}/{name}", self.folder.url) })
            }
            Err(error) => Err(self.failed("write", name, &error)),
        }
    }

    fn holds(&self, name: &str, text: &str) -> Result<bool, CheckpointError> {
        let read = async { self.folder.store.get(&self.path(name)).await?.bytes().await };
        let held = self.io.block_on(read).map_err(|error| self.failed("read", name, &error))?;
        Ok(held == text.as_bytes())
    }

    /// Removes everything, manifests first: what is left of an attempt that broke off is nobody's.
    pub(super) fn remove_all(&self) -> Result<(), CheckpointError> {
        let mut names: Vec<String> = self.names()?.into_iter().collect();
        names.sort_by_key(|name| !name.ends_with(&format!(".{MANIFEST}")));
        names.iter().try_for_each(|name| {
            let store = Arc::clone(&self.folder.store);
            let removed = self.io.block_on(async { store.delete(&self.path(name)).await });
            removed.map_err(|error| self.failed("remove", name, &error))
        })
    }

    /// Removes a file. One that stays is removed another time.
    pub(super) fn remove(&self, name: &str) {
        let store = Arc::clone(&self.folder.store);
        if let Err(error) = self.io.block_on(async { store.delete(&self.path(name)).await }) {
            tracing::debug!(url = %self.folder.url, name, %error, "an old checkpoint file stays");
        }
    }
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

/// The next bytes of a file, fewer at its end.
fn read_up_to(file: &mut File, byte_count: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(byte_count);
    file.take(byte_count as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}
