//! Which files a table has, and to which partition each belongs: Hive's layout, `column=value` folders.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::Files;
use crate::error::ConnectError;

/// The value that stands for NULL in the name of a folder.
const NULL_PARTITION: &str = "__HIVE_DEFAULT_PARTITION__";

/// Characters that the name of a partition's folder cannot have, as Hive escapes them.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'/').add(b'%').add(b'=').add(b':').add(b'\\').add(b'"').add(b'?').add(b'*');

/// A file of a table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DataFile {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// The value of each partition column, as text; `None` for NULL.
    pub(crate) values: Vec<Option<String>>,
}

impl Files {
    /// The files there are now, in the order of their paths.
    pub(crate) async fn list(&self) -> Result<Vec<DataFile>, ConnectError> {
        let table = self.clone();
        let listed = tokio::task::spawn_blocking(move || table.list_blocking()).await;
        listed.map_err(|error| self.refusal(format!("listing its files failed: {error}")))?
    }

    /// The path, size and time of last change of every file there is now.
    pub(crate) async fn stamps(&self) -> Result<String, ConnectError> {
        let table = self.clone();
        let stamped = tokio::task::spawn_blocking(move || {
            if let Some(calls) = table.calls() {
                return table.object_stamps(&calls);
            }
            let mut stamps = String::new();
            for file in table.list_blocking()? {
                let metadata = fs::metadata(&file.path).map_err(file_error("open", &file.path))?;
                let _ = writeln!(stamps, "{} {} {:?}", file.path.display(), metadata.len(), metadata.modified().ok());
            }
            Ok(stamps)
        });
        stamped.await.map_err(|error| self.refusal(format!("listing its files failed: {error}")))?
    }

    pub(super) fn list_blocking(&self) -> Result<Vec<DataFile>, ConnectError> {
        if let Some(calls) = self.calls() {
            return self.list_objects(&calls);
        }
        let metadata = fs::metadata(&self.path).map_err(file_error("open", &self.path))?;
        if metadata.is_file() {
            if !self.partitioned_by.is_empty() {
                return Err(self.refusal(format!(
                    "'path' {} is a file, but a table that is PARTITIONED BY needs a folder",
                    self.path.display()
                )));
            }
            return Ok(vec![DataFile { path: self.path.clone(), values: vec![] }]);
        }
        let mut files = Vec::new();
        self.walk(&self.path, &mut Vec::new(), &mut files)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    fn walk(
        &self,
        folder: &Path,
        values: &mut Vec<Option<String>>,
        files: &mut Vec<DataFile>,
    ) -> Result<(), ConnectError> {
        for entry in fs::read_dir(folder).map_err(file_error("list", folder))? {
            let entry = entry.map_err(file_error("list", folder))?;
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(['.', '_']) {
                continue;
            }
            let is_folder = fs::metadata(&path).map_err(file_error("open", &path))?.is_dir();
            match (is_folder, self.partitioned_by.get(values.len())) {
                (true, Some(column)) => {
                    values.push(self.partition_value(&path, &name, column)?);
                    self.walk(&path, values, files)?;
                    values.pop();
                }
                (true, None) => self.walk(&path, values, files)?,
                (false, Some(column)) => {
                    return Err(self.refusal(format!(
                        "file {} is not in a folder {column}=<value>, as PARTITIONED BY ({column}) wants it",
                        path.display()
                    )));
                }
                (false, None) => files.push(DataFile { path, values: values.clone() }),
            }
        }
        Ok(())
    }

    pub(super) fn partition_value(
        &self,
        path: &Path,
        name: &str,
        column: &str,
    ) -> Result<Option<String>, ConnectError> {
        let value = name.strip_prefix(column).and_then(|rest| rest.strip_prefix('='));
        match value {
            Some(NULL_PARTITION) => Ok(None),
            Some(value) => Ok(Some(percent_decode_str(value).decode_utf8_lossy().into_owned())),
            None => Err(self.refusal(format!(
                "folder {} is not named {column}=<value>, as PARTITIONED BY ({column}) wants it",
                path.display()
            ))),
        }
    }
}

/// `day=2013-01-01`.
pub(crate) fn folder_name(column: &str, value: Option<&str>) -> String {
    match value {
        None | Some("") => format!("{column}={NULL_PARTITION}"),
        Some(value) => format!("{column}={}", utf8_percent_encode(value, ESCAPED)),
    }
}

/// Turns the operating system's word into an error about a file.
pub(crate) fn file_error(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> ConnectError {
    let path = path.to_owned();
    move |source| ConnectError::File { action, path, source }
}
