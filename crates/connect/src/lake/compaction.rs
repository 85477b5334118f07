//! Puts the many small files of a streamed table together, beside the stream: whoever reads the table opens every file of it.
//!
//! Files have a *level*, 0 as they are written. So many neighbours of one level, in the order in which they were written, become one of the next: a row
//! is written again once a level, and few files of each level are left (size-tiered compaction; O'Neil et al., *The log-structured
//! merge-tree*, 1996). The new file has the place of the last of them, and its commit changes no data (`dataChange` in Delta's protocol): who reads
//! the table in its order, from a version on or as of a version, notices nothing. What was taken out is removed a week later, so that
//! whoever reads an older version can end.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use deltalake_core::DeltaTable;
use deltalake_core::kernel::Add;
use deltalake_core::operations::vacuum::VacuumMode;
use tokio::sync::mpsc;

use super::data_file::DataFile;
use super::failure::failure;
use super::stage::Stage;
use super::table::{Commit, Replace};
use super::version::{AGAIN, History, Written};
use super::writer::LakeWriter;
use crate::error::ConnectError;

/// So many neighbours become one file.
pub(super) const NEIGHBOURS: usize = 16;

/// What would become larger than this is left.
pub(super) const FILE_BYTES_MAX: u64 = 128 << 20;

/// The tag of a file that says its level.
const LEVEL_TAG: &str = "mulgil.level";

/// Batches read ahead.
const BATCHES_AHEAD: usize = 2;

/// Puts files of the table together, until none are left that should be. Somebody else who does so at this moment is left to it.
///
/// # Errors
/// A file cannot be read, or written. The table is what it was, or has fewer files with the same rows.
pub(super) async fn compact(writer: &LakeWriter) -> Result<(), ConnectError> {
    let Ok(_one_at_a_time) = writer.table.compacting.try_lock() else { return Ok(()) };
    let history = History { table: writer.table.clone(), schema: writer.schema.clone(), takes_back: true };
    let mut takes_out_old_ones = false;
    while let Some(version) = history.latest().await? {
        let Some(files) = history.written_by(version, AGAIN).await? else { break };
        let Some((run, level)) = next_run(files) else { break };
        if !put_together(writer, (&history, version), &run, level + 1).await? {
            break;
        }
        // Not with every commit: it looks through all files in the folder.
        takes_out_old_ones |= level > 0;
    }
    if takes_out_old_ones {
        remove_old(writer).await?;
    }
    Ok(())
}

/// The files that should become one, and their level.
fn next_run(files: Vec<Written>) -> Option<(Vec<Written>, u32)> {
    let mut partitions: BTreeMap<Vec<(String, Option<String>)>, Vec<Written>> = BTreeMap::new();
    for file in files {
        let mut values: Vec<_> = file.change.values.clone().into_iter().collect();
        values.sort();
        partitions.entry(values).or_default().push(file);
    }
    partitions.into_values().find_map(|mut files| {
        let sizes: Vec<_> = files.iter().map(|file| (file.level, file.bytes)).collect();
        let (run, level) = run_of(&sizes)?;
        Some((files.drain(run).collect(), level))
    })
}

/// The first neighbours that should become one file, and their level, among files as they were written: their levels, `None` of those that are to
/// be left alone, and sizes.
fn run_of(files: &[(Option<u32>, u64)]) -> Option<(Range<usize>, u32)> {
    files.windows(NEIGHBOURS).enumerate().find_map(|(first, files)| {
        let level = files.first().and_then(|file| file.0)?;
        let is_run = files.iter().all(|file| file.0 == Some(level));
        let bytes: u64 = files.iter().map(|file| file.1).sum();
        (is_run && bytes <= FILE_BYTES_MAX).then_some((first..first + NEIGHBOURS, level))
    })
}

/// The level of a file with these tags; `None` of one that an append has put in, which may take it out again.
pub(super) fn level_of(tags: &HashMap<String, Option<String>>, append: Option<&str>) -> Option<u32> {
    let level = tags.get(LEVEL_TAG).and_then(|level| level.as_deref());
    append.is_none().then(|| level.and_then(|level| level.parse().ok()).unwrap_or(0))
}

/// Makes one file of several; whether that is in the table.
async fn put_together(
    writer: &LakeWriter,
    (history, version): (&History, u64),
    run: &[Written],
    level: u32,
) -> Result<bool, ConnectError> {
    let table = &writer.table;
    let mut stage = Stage::new(table.clone(), &table.for_writing(&writer.schema).await?)?;
    let columns: Vec<usize> = (0..writer.schema.declared.fields().len()).collect();
    for file in run {
        let data = DataFile::new(history, version, &file.change, &columns)?;
        let (sender, mut pieces) = mpsc::channel(BATCHES_AHEAD);
        tokio::task::spawn_blocking(move || data.read(0, 0, &sender));
        while let Some(piece) = pieces.recv().await {
            let (rows, _) = piece?;
            if rows.num_rows() > 0 {
                stage.write(writer.conform(&rows, None)?).await?;
            }
        }
    }
    let (adds, _) = stage.close().await?;
    let (Some(last), Ok([add])) = (run.last(), <[Add; 1]>::try_from(adds)) else {
        // Its rows take more room together than apart; files that no commit names are removed like old ones.
        return Ok(false);
    };
    let tags = Some(HashMap::from([(LEVEL_TAG.to_owned(), Some(level.to_string()))]));
    let add = Add { modification_time: last.written_ms, data_change: false, tags, ..add };
    let paths: HashSet<String> = run.iter().map(|file| file.change.path.clone()).collect();
    let commit = Commit { adds: vec![add], replace: Replace::Together(paths), epoch: None };
    Ok(table.commit(&writer.schema, commit).await?.is_some())
}

/// Removes files that have not been in the table for as long as it keeps them: a week, or its property `delta.deletedFileRetentionDuration`. They
/// are looked for in its folder, because a checkpoint names those no more that were taken out so long ago.
async fn remove_old(writer: &LakeWriter) -> Result<(), ConnectError> {
    let table: DeltaTable = writer.table.loaded().await?;
    let removed = table.vacuum().with_mode(VacuumMode::Full).await;
    let failed = |error| failure(&writer.table.name, &writer.table.path, "remove old files", &error);
    removed.map(|_| ()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files of a megabyte.
    fn files(levels: &[u32]) -> Vec<(Option<u32>, u64)> {
        levels.iter().map(|level| (Some(*level), 1 << 20)).collect()
    }

    #[test]
    fn neighbours_of_one_level_become_one_file() {
        assert_eq!(run_of(&files(&[0; 15])), None);
        assert_eq!(run_of(&files(&[0; 40])), Some((0..16, 0)));
        let behind = [&[2, 1, 1][..], &[0; 16], &[0]].concat();
        assert_eq!(run_of(&files(&behind)), Some((3..19, 0)));
        let of_next = [&[1; 16][..], &[0; 3]].concat();
        assert_eq!(run_of(&files(&of_next)), Some((0..16, 1)));
        let parted = [&[0; 9][..], &[1], &[0; 9]].concat();
        assert_eq!(run_of(&files(&parted)), None, "they are no neighbours");
    }

    #[test]
    fn large_files_and_those_of_appends_are_left() {
        let mut files = files(&[0; 31]);
        files[15].1 = FILE_BYTES_MAX;
        assert_eq!(run_of(&files), None);
        files[15].1 = 1;
        assert!(run_of(&files).is_some());
        files[15].0 = level_of(&HashMap::new(), Some("an append"));
        assert_eq!(run_of(&files), None);
    }

    #[test]
    fn each_row_is_written_again_once_a_level() {
        // A file with each commit, put together whenever there is something to put together.
        let (mut files, mut written_again) = (Vec::new(), 0);
        for _ in 0..NEIGHBOURS.pow(3) {
            files.push((Some(0), 1_u64));
            while let Some((run, level)) = run_of(&files) {
                written_again += run.len() as u64 * files[run.start].1;
                let bytes = files[run.clone()].iter().map(|file| file.1).sum();
                files.splice(run, [(Some(level + 1), bytes)]);
            }
            assert!(files.len() < 3 * NEIGHBOURS, "{}", files.len());
        }
        assert_eq!(files, [(Some(3), 4_096)]);
        assert_eq!(written_again, 3 * 4_096);
    }
}
