//! Files in object storage: `'path' = 's3://bucket/folder'`. What is read is fetched first, object by object; what a stream
//! writes is put together here, uploaded under a hidden name when it is sealed, and copied to its own when it is published.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::Files;
use super::listing::DataFile;
use crate::error::ConnectError;
use crate::object_storage::ObjectCalls;

impl Files {
    /// The calls to the bucket, where the files are in one. Made in a tokio runtime.
    pub(super) fn calls(&self) -> Option<ObjectCalls> {
        self.bucket.as_ref().map(|bucket| bucket.calls())
    }

    /// The objects of the table, in the order of their names.
    pub(super) fn list_objects(&self, calls: &ObjectCalls) -> Result<Vec<DataFile>, ConnectError> {
        let mut files = Vec::new();
        for (name, _) in calls.list()? {
            files.extend(self.object(calls, &name)?);
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        if files.is_empty() && self.monitor_interval.is_none() {
            // Object storage has no empty folders: what a URL names that has no object below it may be a slip of the pen.
            return Err(self.refusal(format!("there are no files below {}", calls.url())));
        }
        Ok(files)
    }

    /// The folder or file, for people.
    pub(super) fn place(&self) -> PathBuf {
        self.bucket.as_ref().map_or_else(|| self.path.clone(), |bucket| PathBuf::from(&bucket.url))
    }

    /// The file that an object is; `None` for what is hidden.
    pub(super) fn object(&self, calls: &ObjectCalls, name: &str) -> Result<Option<DataFile>, ConnectError> {
        let mut folders: Vec<&str> = name.split('/').collect();
        if folders.iter().any(|part| part.starts_with(['.', '_'])) {
            return Ok(None);
        }
        folders.pop();
        let path = PathBuf::from(format!("{}/{name}", calls.url()));
        if folders.len() < self.partitioned_by.len() {
            let columns = self.partitioned_by.join(", ");
            let path = path.display();
            return Err(
                self.refusal(format!("{path} is in no partition's folder, as PARTITIONED BY ({columns}) wants it"))
            );
        }
        let named = self.partitioned_by.iter().zip(folders);
        let values = named.map(|(column, folder)| self.partition_value(&path, folder, column));
        Ok(Some(DataFile { values: values.collect::<Result<_, _>>()?, path }))
    }

    /// The name, size and tag of every object.
    pub(super) fn object_stamps(&self, calls: &ObjectCalls) -> Result<String, ConnectError> {
        let mut stamps = String::new();
        for (name, object) in calls.list()? {
            let _ = writeln!(stamps, "{name} {} {:?}", object.size, object.e_tag);
        }
        Ok(stamps)
    }

    /// A local copy of an object; `None` where files are local.
    pub(super) fn fetched(
        &self,
        calls: Option<&ObjectCalls>,
        path: &Path,
    ) -> Result<Option<NamedTempFile>, ConnectError> {
        let Some(calls) = calls else { return Ok(None) };
        let failed =
            |error: std::io::Error| self.refusal(format!("no local copy of {} can be made: {error}", path.display()));
        let mut file = NamedTempFile::new().map_err(failed)?;
        let url = path.to_string_lossy();
        let name = url.strip_prefix(calls.url()).unwrap_or(&url).trim_start_matches('/');
        calls.fetch(name, file.as_file_mut())?;
        Ok(Some(file))
    }
}
