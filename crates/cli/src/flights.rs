//! The bundled project `examples/flights`: laid out in a folder, with the year cut into one landing file a day.
//!
//! One file is damaged on purpose: a line that broke off in the middle, as a transfer that was cut short leaves it. It
//! is the failure that a new user finds, mends and re-runs.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flate2::read::GzDecoder;
use rust_embed::RustEmbed;

use crate::bundle;

#[derive(RustEmbed)]
#[folder = "../../examples/flights"]
#[exclude = "data/landing/*"]
#[exclude = ".mulgil/*"]
#[exclude = "reports/*"]
struct Bundle;

/// The day whose landing file is damaged.
pub(crate) const DAMAGED_DAY: &str = "2013-01-16";
/// After how many lines of that file the broken one stands.
const DAMAGED_AFTER_LINES: usize = 400;
/// What is left of a line when a transfer breaks off.
const BROKEN_LINE: &str = "2013,1,16,11";

/// Lays the project out in `folder`, unless it is there already. Says whether it was new.
///
/// The project's settings are written last, so that a lay-out that was interrupted is done again from the start.
pub(crate) fn lay_out(folder: &Path) -> Result<bool> {
    let settings = folder.join("mulgil.yaml");
    if settings.exists() {
        return Ok(false);
    }
    for name in Bundle::iter().filter(|name| name != "mulgil.yaml") {
        bundle::write::<Bundle>(folder, &name)?;
    }
    land(folder)?;
    bundle::write::<Bundle>(folder, "mulgil.yaml")?;
    Ok(true)
}

/// Cuts the year into `data/landing/departures/flight_date=YYYY-MM-DD/departures.csv`, line by line as it is.
fn land(folder: &Path) -> Result<()> {
    let year = folder.join("data/flights.csv.gz");
    let file = std::fs::File::open(&year).with_context(|| format!("failed to open {}", year.display()))?;
    let mut lines = BufReader::new(GzDecoder::new(file)).lines();
    let header = lines.next().context("flights.csv.gz is empty")??;
    let mut days: BTreeMap<String, String> = BTreeMap::new();
    for line in lines {
        let line = line.with_context(|| format!("failed to read {}", year.display()))?;
        let day = day_of(&line).with_context(|| format!("{}: no date in `{line}`", year.display()))?;
        let text = days.entry(day).or_insert_with(|| format!("{header}\n"));
        text.push_str(&line);
        text.push('\n');
    }
    for (day, text) in days {
        let path = landing_file(folder, &day);
        let parent = path.parent().context("a landing file has a folder")?;
        std::fs::create_dir_all(parent).with_context(|| format!("failed to make {}", parent.display()))?;
        let text = if day == DAMAGED_DAY { damaged(&text) } else { text };
        std::fs::File::create(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(())
}

/// Where the departures of a day land.
pub(crate) fn landing_file(folder: &Path, day: &str) -> PathBuf {
    folder.join(format!("data/landing/departures/flight_date={day}/departures.csv"))
}

fn day_of(line: &str) -> Option<String> {
    let mut fields = line.split(',').map(str::parse::<u16>);
    let (year, month, day) = (fields.next()?.ok()?, fields.next()?.ok()?, fields.next()?.ok()?);
    Some(format!("{year:04}-{month:02}-{day:02}"))
}

fn damaged(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.insert(DAMAGED_AFTER_LINES.min(lines.len()), BROKEN_LINE);
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lays_out_every_day_once_and_damages_one() {
        let folder = tempfile::tempdir().unwrap();
        assert!(lay_out(folder.path()).unwrap());
        let days = std::fs::read_dir(folder.path().join("data/landing/departures")).unwrap().count();
        assert_eq!(days, 365);
        let text = std::fs::read_to_string(landing_file(folder.path(), DAMAGED_DAY)).unwrap();
        assert_eq!(text.lines().nth(DAMAGED_AFTER_LINES), Some(BROKEN_LINE));
        assert!(!lay_out(folder.path()).unwrap(), "a project that is there is left alone");
    }

    #[test]
    fn an_interrupted_lay_out_is_done_again() {
        let folder = tempfile::tempdir().unwrap();
        lay_out(folder.path()).unwrap();
        std::fs::remove_file(folder.path().join("mulgil.yaml")).unwrap();
        std::fs::write(landing_file(folder.path(), "2013-05-01"), "half").unwrap();
        assert!(lay_out(folder.path()).unwrap());
        assert!(
            std::fs::read_to_string(landing_file(folder.path(), "2013-05-01")).unwrap().starts_with("year,month,day")
        );
    }
}
