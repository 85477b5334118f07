//! Rows in a state file: an Arrow IPC stream at an offset, with its length and checksum.

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek, SeekFrom, Write};
use std::path::Path;

use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use mulgil_dataflow::state::StateRows;
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

/// Reads the rows of a segment back, and sees that they are what was written.
pub(super) fn read_segment(folder: &Path, segment: &Segment) -> Result<StateRows, CheckpointError> {
    let path = folder.join(&segment.file);
    let damaged = |reason: String| CheckpointError::Damaged { path: path.clone(), reason };
    let mut file = File::open(&path).during("open", &path)?;
    let held = file.metadata().during("read", &path)?.len();
    if segment.offset.saturating_add(segment.length) > held {
        return Err(damaged(format!(
            "it has {held} bytes, and should have {} at least",
            segment.offset + segment.length
        )));
    }
    file.seek(SeekFrom::Start(segment.offset)).during("read", &path)?;
    let mut bytes = Vec::new();
    BufReader::new(file).take(segment.length).read_to_end(&mut bytes).during("read", &path)?;
    if crc32fast::hash(&bytes) != segment.crc32 {
        return Err(damaged(format!("the {} bytes from {} are not what was written", segment.length, segment.offset)));
    }
    let stream = StreamReader::try_new(Cursor::new(bytes), None)?;
    let schema = stream.schema();
    let mut rows = StateRows::none(schema);
    for batch in stream {
        rows.append(batch?.into());
    }
    Ok(rows)
}
