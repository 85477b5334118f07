//! What storage and Delta say when they fail, in a sentence that names the table and the place.

use std::error::Error;
use std::io;
use std::path::Path;

use deltalake_core::DeltaTableError;

use crate::error::ConnectError;

/// Says what was tried on which table, why it failed and that the table is as it was.
pub(super) fn failure(table: &str, path: &Path, action: &str, error: &DeltaTableError) -> ConnectError {
    let place = path.display();
    let reason = if is_disk_full(error) {
        format!(
            "cannot {action}: no space is left on the disk that holds {place}; free some and run it again. \
             The table is unchanged"
        )
    } else {
        format!("cannot {action} at {place}: {}. The table is unchanged", chain(error))
    };
    ConnectError::Lake { table: table.to_owned(), reason }
}

fn is_disk_full(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| {
        let io = cause.downcast_ref::<io::Error>();
        io.is_some_and(|io| matches!(io.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    })
}

/// The error and what is behind it, each once: many wrappers repeat their cause.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    for cause in causes(error) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&cause);
        }
    }
    text
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| cause(*error))
}

fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    // An `io::Error` made from another error has it inside, but gives that one's source as its own.
    let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    inside.map(|inside| inside as &(dyn Error + 'static)).or_else(|| error.source())
}
