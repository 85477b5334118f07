//! What a task gives to those after it: a small JSON value. Large data goes through a table.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::log::AttemptLog;

/// The environment variable that names the file for the result.
pub(crate) const RESULT_VARIABLE: &str = "MULGIL_RESULT";
/// Larger results would make the history the place for data.
pub(crate) const RESULT_BYTES_MAX: usize = 64 * 1024;
/// A list may have more, since a task may go over it.
pub(crate) const LIST_BYTES_MAX: usize = 1024 * 1024;

/// The file in which a process leaves its result: beside the attempt's log, and gone once it was read.
pub(crate) struct ResultFile {
    path: PathBuf,
    /// Of how many items, each of which has a file of its own.
    items: Option<usize>,
}

impl ResultFile {
    /// The file for the attempt with this log.
    pub(crate) fn beside(log: &Path) -> Self {
        Self { path: log.with_extension("result"), items: None }
    }

    /// The files for so many items.
    pub(crate) fn of_items(self, items: Option<usize>) -> Self {
        Self { path: self.path.clone(), items }
    }

    /// The file for the item with this number.
    pub(crate) fn of_item(&self, number: usize) -> PathBuf {
        self.path.with_extension(format!("{number}.result"))
    }

    /// Its path, for the process.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What the process left in it; nothing is no result. Of several items, the list of what each left.
    pub(crate) fn take(&self) -> Result<Option<Value>, String> {
        let Some(items) = self.items else { return take(&self.path) };
        let taken = (0..items).map(|number| take(&self.of_item(number))).collect::<Result<Vec<_>, _>>()?;
        let list: Option<Value> =
            taken.iter().any(Option::is_some).then(|| taken.into_iter().map(Option::unwrap_or_default).collect());
        check_size(list.as_ref().map_or(0, |list| list.to_string().len()), true)?;
        Ok(list)
    }

    /// Takes the file away.
    pub(crate) fn remove(&self) {
        // An error only means that there is none, or that the next look will say what is wrong.
        let _ = std::fs::remove_file(&self.path);
        (0..self.items.unwrap_or(0)).for_each(|number| drop(std::fs::remove_file(self.of_item(number))));
    }
}

impl Drop for ResultFile {
    fn drop(&mut self) {
        self.remove();
    }
}

/// The result without secrets: it is kept and shown.
pub(crate) fn masked(result: Value, log: &AttemptLog) -> Value {
    match result {
        Value::String(text) => Value::String(log.masked(&text)),
        Value::Array(items) => items.into_iter().map(|item| masked(item, log)).collect(),
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(name, value)| (log.masked(&name), masked(value, log))).collect())
        }
        other => other,
    }
}

fn take(path: &Path) -> Result<Option<Value>, String> {
    let found = match std::fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot read the result {}: {error}", path.display())),
    };
    let bytes = usize::try_from(found.len()).unwrap_or(usize::MAX);
    // What is too large is not even read.
    let text = if bytes > LIST_BYTES_MAX { Ok(String::new()) } else { std::fs::read_to_string(path) };
    // An error only means that the next look will say what is wrong.
    let _ = std::fs::remove_file(path);
    let text = text.map_err(|error| format!("cannot read the result {}: {error}", path.display()))?;
    check_size(bytes, text.trim_start().starts_with('['))?;
    match text.trim() {
        "" => Ok(None),
        text => serde_json::from_str(text).map(Some).map_err(|error| {
            format!("the result that the task wrote to ${RESULT_VARIABLE} is no JSON: {error}; a text stands in double quotes")
        }),
    }
}

/// Refuses a result that is too large.
pub(crate) fn check_size(bytes: usize, is_list: bool) -> Result<(), String> {
    let most = if is_list { LIST_BYTES_MAX } else { RESULT_BYTES_MAX };
    if bytes <= most {
        return Ok(());
    }
    Err(format!(
        "the task's result has {bytes} bytes, and at most {most} are kept: write large data to a table, and give \
         its name or a count as the result"
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use super::{RESULT_BYTES_MAX, ResultFile};

    #[test]
    fn a_result_is_small_json_or_an_error_that_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let file = ResultFile::beside(&folder.path().join("1.log"));
        let take = |text: &str| {
            std::fs::write(file.path(), text).unwrap();
            let taken = file.take();
            assert!(!file.path().exists());
            taken
        };
        assert_eq!(file.take(), Ok(None));
        assert_eq!(take("\n"), Ok(None));
        assert_eq!(take("{\"rows\": 3}\n"), Ok(Some(serde_json::json!({"rows": 3}))));
        assert!(take("hello").unwrap_err().contains("is no JSON"));
        let most = format!("\"{}\"", "x".repeat(RESULT_BYTES_MAX - 2));
        assert!(take(&most).unwrap().is_some());
        assert!(take(&format!("{most} ")).unwrap_err().contains("65537 bytes"));
        assert!(take(&format!("[{most}, 1]")).unwrap().is_some(), "a task may go over a longer list");
        assert!(take(&format!("[{}1]", "1, ".repeat(400_000))).unwrap_err().contains("1200003 bytes"));
        let items = ResultFile::beside(&folder.path().join("1.log")).of_items(Some(3));
        std::fs::write(items.of_item(1), "7").unwrap();
        assert_eq!(items.take(), Ok(Some(serde_json::json!([null, 7, null]))));
        assert_eq!(items.take(), Ok(None), "none gave any");
    }
}
