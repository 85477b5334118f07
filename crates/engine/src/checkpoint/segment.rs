//! Rows in a state file: an Arrow IPC stream at an offset, with its length and checksum.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, SeekFrom, Take, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use mulgil_dataflow::state::{ReadRows, StateRows, StoreError, StoredRows};
use serde::{Deserialize, Serialize};

use super::{CheckpointError, During};

/// Where rows stand in a state file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Segment {
    /// The file, beside the manifest.
    pub(super) file: String,
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) crc32: u32,
}

/// Writes rows one behind the other, and counts.
pub(super) struct SegmentWriter<W> {
    file: String,
    out: W,
    offset: u64,
}

impl<W: Write> SegmentWriter<W> {
    pub(super) fn new(file: String, out: W) -> Self {
        Self { file, out, offset: 0 }
    }

    pub(super) fn write(&mut self, rows: &StateRows, path: &Path) -> Result<Segment, CheckpointError> {
        let mut summed = Summed { out: &mut self.out, length: 0, crc32: crc32fast::Hasher::new(), error: None };
        let written = write_batches(&mut summed, rows);
        // The disk's own word says more than Arrow's.
        if let Some(error) = summed.error.take() {
            return Err(error).during("write", path);
        }
        written?;
        let (length, crc32) = (summed.length, summed.crc32.finalize());
        let segment = Segment { file: self.file.clone(), offset: self.offset, length, crc32 };
        self.offset += length;
        Ok(segment)
    }

    pub(super) fn into_inner(self) -> W {
        self.out
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.offset
    }
}

/// Rows that are put away are read batch by batch.
fn write_batches(out: impl Write, rows: &StateRows) -> Result<(), CheckpointError> {
    let mut stream = StreamWriter::try_new(out, rows.schema())?;
    for batch in rows.batches() {
        stream.write(&batch?)?;
    }
    Ok(stream.finish()?)
}

/// Passes bytes on, and sums them up.
struct Summed<'a, W> {
    out: &'a mut W,
    length: u64,
    crc32: crc32fast::Hasher,
    error: Option<std::io::Error>,
}

impl<W: Write> Write for Summed<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self.out.write_all(bytes) {
            Ok(()) => {
                self.length += bytes.len() as u64;
                self.crc32.update(bytes);
                Ok(bytes.len())
            }
            Err(error) => {
                let kind = error.kind();
                self.error = Some(error);
                Err(kind.into())
            }
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// Segments up to this length are read as a whole; longer ones batch by batch, when they are wanted.
const HELD_BYTES_MAX: u64 = 4 << 20;

/// Reads the rows of a segment back, and sees that they are what was written. Rows of a long segment stay where they are.
pub(super) fn read_segment(folder: &Path, segment: &Segment) -> Result<StateRows, CheckpointError> {
    let place = Place { path: folder.join(&segment.file), offset: segment.offset, length: segment.length };
    let path = place.path.as_path();
    let damaged = |reason: String| CheckpointError::Damaged { path: path.to_owned(), reason };
    let held = fs::metadata(path).during("open", path)?.len();
    if segment.offset.saturating_add(segment.length) > held {
        return Err(damaged(format!(
            "it has {held} bytes, and should have {} at least",
            segment.offset + segment.length
        )));
    }
    let others = || damaged(format!("the {} bytes from {} are not what was written", segment.length, segment.offset));
    if segment.length <= HELD_BYTES_MAX {
        let mut bytes = Vec::new();
        place.open().and_then(|mut file| file.read_to_end(&mut bytes)).during("read", path)?;
        if crc32fast::hash(&bytes) != segment.crc32 {
            return Err(others());
        }
        let stream = StreamReader::try_new(Cursor::new(bytes), None)?;
        let mut rows = StateRows::none(stream.schema());
        for batch in stream {
            rows.append(batch?.into());
        }
        return Ok(rows);
    }
    if place.crc32().during("read", path)? != segment.crc32 {
        return Err(others());
    }
    let stream = StreamReader::try_new(place.open().during("read", path)?, None)?;
    let schema = stream.schema();
    let mut row_count = 0;
    for batch in stream {
        row_count += batch?.num_rows();
    }
    Ok(StateRows::stored(schema, Arc::new(SegmentRows { place, row_count })))
}

/// Where a segment is.
#[derive(Clone, Debug)]
struct Place {
    path: PathBuf,
    offset: u64,
    length: u64,
}

impl Place {
    fn open(&self) -> io::Result<Take<BufReader<File>>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.offset))?;
        Ok(BufReader::with_capacity(1 << 16, file).take(self.length))
    }

    fn crc32(&self) -> io::Result<u32> {
        let (mut file, mut sum) = (self.open()?, crc32fast::Hasher::new());
        loop {
            let bytes = file.fill_buf()?;
            if bytes.is_empty() {
                return Ok(sum.finalize());
            }
            sum.update(bytes);
            let length = bytes.len();
            file.consume(length);
        }
    }
}

/// Rows that stay in a checkpoint's file until they are wanted.
#[derive(Debug)]
struct SegmentRows {
    place: Place,
    row_count: usize,
}

impl StoredRows for SegmentRows {
    fn read(&self) -> Result<ReadRows, StoreError> {
        let path = self.place.path.clone();
        let failed = move |error: ArrowError| StoreError(format!("cannot read {}: {error}", path.display()));
        let file = self.place.open().map_err(|error| failed(error.into()))?;
        let stream = StreamReader::try_new(file, None).map_err(&failed)?;
        Ok(Box::new(stream.map(move |rows| rows.map_err(&failed))))
    }

    fn row_count(&self) -> usize {
        self.row_count
    }

    fn size_bytes(&self) -> usize {
        usize::try_from(self.place.length).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use arrow::array::{ArrayRef, Int64Array, RecordBatch};

    use super::*;

    #[test]
    fn long_segments_are_read_batch_by_batch_and_damage_is_seen_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("00000001.state");
        let rows = |begin: i64, count: i64| {
            let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(begin..begin + count));
            RecordBatch::try_from_iter([("number", numbers)]).unwrap()
        };
        let batches = [rows(0, 400_000), rows(400_000, 400_000)];
        let mut all = StateRows::from(batches[0].clone());
        all.append(batches[1].clone().into());
        let mut writer = SegmentWriter::new("00000001.state".to_owned(), File::create(&path).unwrap());
        let short = writer.write(&rows(7, 3).into(), &path).unwrap();
        let long = writer.write(&all, &path).unwrap();
        assert!(short.length < HELD_BYTES_MAX && long.length > HELD_BYTES_MAX);
        let short_rows = read_segment(folder.path(), &short).unwrap();
        assert_eq!((short_rows.stored_bytes(), short_rows.to_batch().unwrap()), (0, rows(7, 3)));
        let long_rows = read_segment(folder.path(), &long).unwrap();
        assert_eq!((long_rows.memory_bytes(), long_rows.row_count()), (0, 800_000));
        assert_eq!(long_rows.batches().map(Result::unwrap).collect::<Vec<_>>(), batches);

        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(matches!(read_segment(folder.path(), &long), Err(CheckpointError::Damaged { .. })));
        assert!(read_segment(folder.path(), &short).is_ok());
    }
}
