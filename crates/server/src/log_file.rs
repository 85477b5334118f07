//! The file of an attempt's log: read in pieces that never cut a character in two.

use std::io::SeekFrom;
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncSeekExt};

/// The most bytes of one piece.
pub(crate) const PIECE_BYTES_MAX: u64 = 256 * 1024;

/// A piece of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Its text.
    pub(crate) text: String,
    /// Where the next piece begins, in bytes.
    pub(crate) next_offset: u64,
    /// Whether the file held no more.
    pub(crate) at_end: bool,
}

/// Reads from `offset` on. A file that is not there yet is empty. While the file may `grow`, half a character at its
/// end is left for the next piece.
pub(crate) async fn read(path: &Path, offset: u64, grows: bool) -> std::io::Result<Piece> {
    let mut file = match tokio::fs::File::open(path).await {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Piece { text: String::new(), next_offset: offset, at_end: true });
        }
        file => file?,
    };
    file.seek(SeekFrom::Start(offset)).await?;
    let mut bytes = Vec::new();
    file.take(PIECE_BYTES_MAX).read_to_end(&mut bytes).await?;
    let filled = bytes.len() as u64 == PIECE_BYTES_MAX;
    let whole = if filled || grows { whole_characters(&bytes) } else { bytes.len() };
    let text = String::from_utf8_lossy(bytes.get(..whole).unwrap_or_default()).into_owned();
    Ok(Piece { text, next_offset: offset + whole as u64, at_end: !filled })
}

/// How many of the bytes do not belong to a character that is cut off at the end.
fn whole_characters(bytes: &[u8]) -> usize {
    // A character has at most four bytes: its first is among the last four, or it is whole.
    let tail = bytes.len().saturating_sub(4);
    let starts = (tail..bytes.len()).rev().find(|&at| bytes.get(at).is_some_and(|byte| byte & 0xC0 != 0x80));
    let Some(start) = starts else { return bytes.len() };
    match std::str::from_utf8(bytes.get(start..).unwrap_or_default()) {
        Err(error) if error.error_len().is_none() => start,
        _ => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[tokio::test]
    async fn half_a_character_waits_for_its_other_half() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        assert_eq!(read(&path, 0, true).await.unwrap().text, "");
        let water = "물길\n".as_bytes();
        std::fs::write(&path, &water[..4]).unwrap();
        let piece = read(&path, 0, true).await.unwrap();
        assert_eq!((piece.text.as_str(), piece.next_offset, piece.at_end), ("물", 3, true));
        std::fs::write(&path, water).unwrap();
        let piece = read(&path, piece.next_offset, true).await.unwrap();
        assert_eq!((piece.text.as_str(), piece.next_offset), ("길\n", 7));
    }

    #[tokio::test]
    async fn bytes_that_are_no_text_are_replaced_and_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, b"a\xFFb\xEB").unwrap();
        assert_eq!(
            read(&path, 0, false).await.unwrap(),
            Piece { text: "a\u{FFFD}b\u{FFFD}".into(), next_offset: 4, at_end: true }
        );
        assert_eq!(read(&path, 0, true).await.unwrap().next_offset, 3);
    }

    #[tokio::test]
    async fn a_long_log_comes_in_pieces_that_join_to_the_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let whole = "a길".repeat(150_000);
        std::fs::write(&path, &whole).unwrap();
        let (mut joined, mut offset) = (String::new(), 0);
        loop {
            let piece = read(&path, offset, false).await.unwrap();
            joined.push_str(&piece.text);
            offset = piece.next_offset;
            if piece.at_end {
                break;
            }
        }
        assert!(joined == whole);
    }
}
