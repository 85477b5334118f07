//! Brings what is to be read onto this machine: files stay where they are, what a URL answers and standard input are put into
//! a file, and the files of a pattern come together in a folder of links.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use flate2::read::MultiGzDecoder;
use futures::StreamExt;
use tempfile::TempDir;

use super::{Kind, is_url};

/// How long a server may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A file or folder to be read.
pub(super) struct Fetched {
    /// Where it is.
    pub(super) path: PathBuf,
    /// One of its files: itself, unless it is a folder.
    pub(super) sample: PathBuf,
    /// What it holds.
    pub(super) kind: Kind,
    /// What goes with the query.
    _dir: Option<TempDir>,
}

impl Fetched {
    /// Fetches what a place names.
    pub(super) async fn of(place: &str) -> Result<Self> {
        if is_url(place) {
            let dir = TempDir::new()?;
            let path = dir.path().join("answer");
            download(place, &path).await?;
            // The ending of a URL stands before its question mark.
            let named = Kind::of(place.split(['?', '#']).next().unwrap_or(place));
            return Self::put(dir, &path, named);
        }
        if place == "-" {
            let dir = TempDir::new()?;
            let path = dir.path().join("input");
            std::io::copy(&mut std::io::stdin().lock(), &mut File::create(&path)?)?;
            return Self::put(dir, &path, None);
        }
        let kind = Kind::of(place).context("its ending is none of csv, tsv, json, jsonl, ndjson and parquet")?;
        if place.contains(['*', '?', '[']) && !Path::new(place).exists() {
            return Self::linked(place, kind);
        }
        let path = std::path::absolute(place)?;
        if !path.is_file() {
            bail!("there is no such file");
        }
        if kind == Kind::Json && begins_as_array(&path)? {
            let dir = TempDir::new()?;
            let lines = dir.path().join("lines.json");
            array_into_lines(&path, &lines)?;
            return Ok(Self { sample: lines.clone(), path: lines, kind, _dir: Some(dir) });
        }
        Ok(Self { sample: path.clone(), path, kind, _dir: None })
    }

    /// A file that has come; what it holds is told by its name, or else by its beginning.
    fn put(dir: TempDir, path: &Path, named: Option<Kind>) -> Result<Self> {
        let kind = match named {
            Some(kind) => kind,
            None => told_by_beginning(path)?,
        };
        let place = dir.path().join(format!("data.{}", kind.ending()));
        if kind == Kind::Json && begins_as_array(path)? {
            array_into_lines(path, &place)?;
        } else {
            std::fs::rename(path, &place)?;
        }
        Ok(Self { path: place.clone(), sample: place, kind, _dir: Some(dir) })
    }

    /// The files of a pattern, in the order of their names.
    fn linked(pattern: &str, kind: Kind) -> Result<Self> {
        let dir = TempDir::new()?;
        let mut sample = None;
        for (number, file) in glob::glob(pattern).context("it is no pattern of files")?.enumerate() {
            let file = std::path::absolute(file?)?;
            let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let link = dir.path().join(format!("{number:08}-{name}"));
            std::os::unix::fs::symlink(&file, &link)?;
            sample.get_or_insert(link);
        }
        let sample = sample.context("no file has such a name")?;
        Ok(Self { path: dir.path().to_owned(), sample, kind, _dir: Some(dir) })
    }
}

async fn download(url: &str, to: &Path) -> Result<()> {
    let client = reqwest::Client::builder().connect_timeout(SILENCE_MAX).read_timeout(SILENCE_MAX).build()?;
    let answer = client.get(url).send().await?.error_for_status()?;
    let mut file = File::create(to)?;
    let mut pieces = answer.bytes_stream();
    while let Some(piece) = pieces.next().await {
        file.write_all(&piece?)?;
    }
    Ok(())
}

/// A file, unpacked where it is packed.
pub(super) fn open(path: &Path) -> Result<Box<dyn Read>> {
    let mut begin = [0; 4];
    let length = File::open(path)?.read(&mut begin)?;
    let file = File::open(path)?;
    Ok(match begin.get(..length).unwrap_or_default() {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(file)),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::Decoder::new(file)?),
        _ => Box::new(file),
    })
}

/// The first sign of a file that is no blank, and the first four bytes.
fn beginning(path: &Path) -> Result<(Option<u8>, Vec<u8>)> {
    let mut begin = Vec::new();
    open(path)?.take(4_096).read_to_end(&mut begin)?;
    let sign = begin.iter().copied().find(|byte| !byte.is_ascii_whitespace());
    begin.truncate(4);
    Ok((sign, begin))
}

fn told_by_beginning(path: &Path) -> Result<Kind> {
    let (sign, begin) = beginning(path)?;
    Ok(match sign {
        _ if begin == b"PAR1" => Kind::Parquet,
        Some(b'{' | b'[') => Kind::Json,
        _ => Kind::Csv,
    })
}

fn begins_as_array(path: &Path) -> Result<bool> {
    Ok(beginning(path)?.0 == Some(b'['))
}

/// Writes the objects of a JSON array down as lines.
fn array_into_lines(from: &Path, to: &Path) -> Result<()> {
    let objects: Vec<serde_json::Value> = serde_json::from_reader(std::io::BufReader::new(open(from)?))?;
    let mut lines = std::io::BufWriter::new(File::create(to)?);
    for object in objects {
        writeln!(lines, "{object}")?;
    }
    lines.flush()?;
    Ok(())
}
