//! Local storage that keeps its word: a file is on disk before its name appears, and the name is on disk before the write
//! is acknowledged. `object_store`'s own local storage leaves both to the operating system, so that a power cut could
//! leave a commit without its content.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path as FsPath, PathBuf};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

/// The local file system, synced.
#[derive(Debug, Default)]
pub(crate) struct DurableStore {
    files: LocalFileSystem,
}

impl fmt::Display for DurableStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DurableStore({})", self.files)
    }
}

#[async_trait]
impl ObjectStore for DurableStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let is_new = match options.mode {
            PutMode::Create => true,
            PutMode::Overwrite => false,
            PutMode::Update(_) => return self.files.put_opts(location, payload, options).await,
        };
        let path = self.files.path_to_filesystem(location)?;
        blocking(move || put(&path, &payload, is_new)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let path = self.files.path_to_filesystem(location)?;
        let upload = self.files.put_multipart_opts(location, options).await?;
        Ok(Box::new(DurableUpload { upload, path }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.files.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.files.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.files.copy_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct DurableUpload {
    upload: Box<dyn MultipartUpload>,
    path: PathBuf,
}

#[async_trait]
impl MultipartUpload for DurableUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.upload.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let result = self.upload.complete().await?;
        let path = self.path.clone();
        blocking(move || {
            File::open(&path).and_then(|file| file.sync_all()).map_err(|source| error(&path, source))?;
            sync_parent(&path)?;
            Ok(result)
        })
        .await
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await
    }
}

/// Writes a file beside its place, syncs it, and moves it there.
fn put(path: &FsPath, payload: &PutPayload, is_new: bool) -> Result<PutResult> {
    let parent = path.parent().unwrap_or(FsPath::new("/"));
    fs::create_dir_all(parent).map_err(|source| error(parent, source))?;
    let staged = tempfile::Builder::new().prefix(".mulgil-").tempfile_in(parent);
    let mut staged = staged.map_err(|source| error(parent, source))?;
    for part in payload {
        staged.write_all(part).map_err(|source| error(path, source))?;
    }
    staged.as_file().sync_all().map_err(|source| error(path, source))?;
    let moved = if is_new { staged.persist_noclobber(path) } else { staged.persist(path) };
    moved.map_err(|refused| error(path, refused.error))?;
    sync_parent(path)?;
    Ok(PutResult { e_tag: None, version: None })
}

fn sync_parent(path: &FsPath) -> Result<()> {
    let parent = path.parent().unwrap_or(FsPath::new("/"));
    File::open(parent).and_then(|folder| folder.sync_all()).map_err(|source| error(parent, source))
}

fn error(path: &FsPath, source: io::Error) -> Error {
    let path = path.display().to_string();
    match source.kind() {
        io::ErrorKind::AlreadyExists => Error::AlreadyExists { path, source: source.into() },
        io::ErrorKind::NotFound => Error::NotFound { path, source: source.into() },
        _ => Error::Generic { store: "local", source: source.into() },
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}
