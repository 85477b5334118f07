//! A folder in object storage as plain calls that wait: for threads that may block.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path as LocalPath;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt, PutMode, WriteMultipart};
use tokio::runtime::Handle;

use super::ObjectFolder;
use crate::error::ConnectError;

/// How much of a file is uploaded at a time.
const UPLOAD_BYTES: usize = 8 * 1024 * 1024;
/// How many of those are on their way at once.
const UPLOADS_MAX: usize = 4;

/// See the module. Names are relative to the folder, with `/` between their parts.
#[derive(Clone, Debug)]
pub struct ObjectCalls {
    folder: ObjectFolder,
    io: Handle,
}

impl ObjectFolder {
    /// The folder as calls that wait, made in a tokio runtime. They are called on threads that may block.
    pub fn calls(&self) -> ObjectCalls {
        ObjectCalls { folder: self.clone(), io: Handle::current() }
    }
}

impl ObjectCalls {
    /// The folder, for people.
    pub fn url(&self) -> &str {
        &self.folder.url
    }

    fn path(&self, name: &str) -> Path {
        name.split('/').filter(|part| !part.is_empty()).fold(self.folder.prefix.clone(), |path, part| {
            // Names that come from a listing are encoded already.
            Path::parse(format!("{path}/{part}")).unwrap_or_else(|_| path.join(part))
        })
    }

    fn failed(&self, action: &str, name: &str, error: &object_store::Error) -> ConnectError {
        let url = if name.is_empty() { self.folder.url.clone() } else { format!("{}/{name}", self.folder.url) };
        ConnectError::Storage { url, reason: format!("cannot {action}: {error}") }
    }

    /// The objects below the folder, with their names.
    ///
    /// # Errors
    /// The storage cannot be reached, or refuses.
    pub fn list(&self) -> Result<Vec<(String, ObjectMeta)>, ConnectError> {
        let prefix = self.folder.prefix.as_ref();
        let listed =
            self.io.block_on(self.folder.store.list(Some(&self.folder.prefix)).try_collect::<Vec<ObjectMeta>>());
        let listed = listed.map_err(|error| self.failed("list", "", &error))?;
        let named = listed.into_iter().filter_map(|object| {
            let name = object.location.as_ref().strip_prefix(prefix)?.trim_start_matches('/').to_owned();
            Some((name, object))
        });
        Ok(named.filter(|(name, _)| !name.is_empty()).collect())
    }

    /// Writes an object into a local file.
    ///
    /// # Errors
    /// The object is not there, the storage cannot be reached, or the file cannot be written.
    pub fn fetch(&self, name: &str, file: &mut File) -> Result<(), ConnectError> {
        let failed = |error: object_store::Error| self.failed("read", name, &error);
        let read = self.io.block_on(async { self.folder.store.get(&self.path(name)).await });
        let mut bytes = read.map_err(failed)?.into_stream();
        while let Some(piece) = self.io.block_on(bytes.try_next()).map_err(failed)? {
            file.write_all(&piece).map_err(|error| self.local(name, &error))?;
        }
        Ok(())
    }

    fn local(&self, name: &str, error: &std::io::Error) -> ConnectError {
        ConnectError::Storage { url: format!("{}/{name}", self.folder.url), reason: format!("its local copy: {error}") }
    }

    /// An object's content; `None` where there is none.
    ///
    /// # Errors
    /// The storage cannot be reached, or refuses.
    pub fn read(&self, name: &str) -> Result<Option<Bytes>, ConnectError> {
        let read = async { self.folder.store.get(&self.path(name)).await?.bytes().await };
        match self.io.block_on(read) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("read", name, &error)),
        }
    }

    /// Uploads a local file, in place of an object of that name.
    ///
    /// # Errors
    /// The storage cannot be reached or refuses, or the file cannot be read.
    pub fn put_file(&self, name: &str, path: &LocalPath) -> Result<(), ConnectError> {
        let mut file = File::open(path).map_err(|error| self.local(name, &error))?;
        let failed = |error: object_store::Error| self.failed("write", name, &error);
        let mut read = || read_up_to(&mut file, UPLOAD_BYTES).map_err(|error| self.local(name, &error));
        let mut piece = read()?;
        if piece.len() < UPLOAD_BYTES {
            return self.put(name, piece.into());
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
            piece = read()?;
        }
        self.io.block_on(upload.finish()).map(|_| ()).map_err(failed)
    }

    /// Writes an object, in place of one of that name.
    ///
    /// # Errors
    /// The storage cannot be reached, or refuses.
    pub fn put(&self, name: &str, content: Bytes) -> Result<(), ConnectError> {
        let put = self.io.block_on(async { self.folder.store.put(&self.path(name), content.into()).await });
        put.map(|_| ()).map_err(|error| self.failed("write", name, &error))
    }

    /// Writes an object that is not there yet; whether it was so. One with the same content is this one: the answer to a
    /// first attempt may have been lost.
    ///
    /// # Errors
    /// The storage cannot be reached, or refuses.
    pub fn put_new(&self, name: &str, content: &Bytes) -> Result<bool, ConnectError> {
        let payload = content.clone().into();
        let put = async { self.folder.store.put_opts(&self.path(name), payload, PutMode::Create.into()).await };
        match self.io.block_on(put) {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(self.read(name)?.as_ref() == Some(content)),
            Err(error) => Err(self.failed("write", name, &error)),
        }
    }

    /// Gives an object another name; one that has it already stays. Whether the object was there under either.
    ///
    /// # Errors
    /// The storage cannot be reached, or refuses.
    pub fn rename(&self, from: &str, to: &str) -> Result<bool, ConnectError> {
        let store = &self.folder.store;
        let copied = self.io.block_on(async { store.copy(&self.path(from), &self.path(to)).await });
        match copied {
            Ok(()) => self.remove(from).map(|()| true),
            Err(object_store::Error::NotFound { .. }) => {
                let head = self.io.block_on(async { store.head(&self.path(to)).await });
                match head {
                    Ok(_) => Ok(true),
                    Err(object_store::Error::NotFound { .. }) => Ok(false),
                    Err(error) => Err(self.failed("read", to, &error)),
                }
            }
            Err(error) => Err(self.failed("copy", from, &error)),
        }
    }

    /// Removes an object; one that is not there is removed already.
    ///
    /// # Errors
    /// The storage cannot be reached, or refuses.
    pub fn remove(&self, name: &str) -> Result<(), ConnectError> {
        match self.io.block_on(async { self.folder.store.delete(&self.path(name)).await }) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed("remove", name, &error)),
        }
    }
}

/// The next bytes of a file, fewer at its end.
fn read_up_to(file: &mut File, byte_count: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(byte_count);
    file.take(byte_count as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}
