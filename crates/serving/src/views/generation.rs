//! The generations of a view: versions of what keeps it up to date, each with the mode, the text that it was built from, and a
//! folder of checkpoints (or a stored result, or a batch view) of its own. At any moment one is *live*: it answers. Another may
//! be *building*, and the one before is *former*: kept, with its state, so that the view can be rolled back to it.
//!
//! Which is which stands in a note a view, beside the folders. It is replaced as a whole, and that is the moment at which
//! one generation takes over from another: what has not come so far never happened, what has come so far stays.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use mulgil_connect::definition::TableName;
use mulgil_connect::object_storage::ObjectFolder;
use mulgil_sql::past::PastStatement;
use mulgil_sql::statement::RefreshMode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::archive_cut::Archives;

/// How the file is written; another number is of another version of Mulgil.
const FORMAT: u32 = 1;

/// Why a generation was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The view is new.
    First,
    /// Somebody asked for a replay.
    Replay,
    /// Its definition has been changed.
    Changed,
    /// Somebody rolled the view back to it.
    RollBack,
}

/// A generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Generation {
    /// Its number, from 1. No number is given twice.
    pub(crate) number: u64,
    /// How it is kept up to date, whatever the project says meanwhile.
    #[serde(default = "kappa")]
    pub(crate) mode: RefreshMode,
    /// What it is built from: its view's statement is the last.
    pub(crate) statements: Vec<PastStatement>,
    /// When it was begun, in milliseconds since the epoch.
    pub(crate) begun_ms: i64,
    /// Why it was built.
    pub(crate) why: Why,
    /// It has read its sources from this time on, in milliseconds since the epoch; from the beginning where nothing is said.
    pub(crate) from_ms: Option<i64>,
    /// How fast it may read while it is built.
    pub(crate) rows_per_second_max: Option<u64>,
    /// What it has read before its sources.
    #[serde(default)]
    pub(crate) archives: Archives,
}

/// Views of this mode alone had a note before notes said the mode.
const fn kappa() -> RefreshMode {
    RefreshMode::Kappa
}

/// The generations of one view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Generations {
    format: u32,
    /// What the project said last: something else is a change.
    pub(crate) declared: Vec<PastStatement>,
    /// The one that answers.
    pub(crate) live: Generation,
    /// The one that is to take over when it has caught up.
    pub(crate) building: Option<Generation>,
    /// The one that answered before.
    pub(crate) former: Option<Generation>,
    /// The number of the next one.
    next: u64,
    /// Those whose folders are of no use any more.
    pub(crate) forgotten: Vec<u64>,
}

impl Generations {
    /// The state that stands in the folder named like the view is that of its first generation.
    pub(crate) fn first(statements: Vec<PastStatement>, mode: RefreshMode, now_ms: i64) -> Self {
        let live = Generation {
            number: 1,
            mode,
            statements: statements.clone(),
            begun_ms: now_ms,
            why: Why::First,
            from_ms: None,
            rows_per_second_max: None,
            archives: Archives::None,
        };
        Self { format: FORMAT, declared: statements, live, building: None, former: None, next: 2, forgotten: vec![] }
    }

    /// Begins another one.
    pub(crate) fn begin(
        &mut self,
        statements: Vec<PastStatement>,
        mode: RefreshMode,
        why: Why,
        now_ms: i64,
    ) -> &mut Generation {
        self.give_up();
        let number = self.next;
        self.next += 1;
        let (from_ms, rows_per_second_max, archives) = (None, None, Archives::None);
        let begun =
            Generation { number, mode, statements, begun_ms: now_ms, why, from_ms, rows_per_second_max, archives };
        self.building.insert(begun)
    }

    /// Lets the former one take over again, when it has caught up.
    pub(crate) fn begin_roll_back(&mut self, now_ms: i64) -> Option<&Generation> {
        self.give_up();
        let former = self.former.take()?;
        // It goes on from where it has come to, whatever it began with.
        let building = Generation { why: Why::RollBack, begun_ms: now_ms, rows_per_second_max: None, ..former };
        Some(self.building.insert(building))
    }

    /// Builds no longer.
    pub(crate) fn give_up(&mut self) {
        match self.building.take() {
            // Its state is as good as before.
            Some(building) if building.why == Why::RollBack => self.former = Some(building),
            Some(building) => self.forgotten.push(building.number),
            None => {}
        }
    }

    /// The one that was built takes over. The one before is kept where both are `KAPPA`: one of another mode is not what the
    /// project says.
    pub(crate) fn swap(&mut self) {
        if let Some(building) = self.building.take() {
            let before = std::mem::replace(&mut self.live, building);
            let is_kept = before.mode == RefreshMode::Kappa && self.live.mode == RefreshMode::Kappa;
            self.forget_former();
            if is_kept {
                self.former = Some(before);
            } else {
                self.forgotten.push(before.number);
            }
        }
    }

    /// There is nothing to roll back to any more.
    pub(crate) fn forget_former(&mut self) {
        self.forgotten.extend(self.former.take().map(|former| former.number));
    }
}

/// The folder of a generation's checkpoints, and the beginning of the names of its files.
pub(crate) fn folder_name(view: &TableName, number: u64) -> String {
    match number {
        1 => format!("{}.{}", view.namespace, view.name),
        number => format!("{}.{}@{number}", view.namespace, view.name),
    }
}

/// The ending of the notes of generations.
const ENDING: &str = "generations";

fn note_name(view: &TableName, ending: &str) -> String {
    format!("{}.{ending}", folder_name(view, 1))
}

/// Where the notes of all views are: beside the folders of their checkpoints.
#[derive(Clone, Debug)]
pub(crate) struct Notes {
    /// The folder of all checkpoints.
    pub(crate) dir: PathBuf,
    /// Where it is in truth, if it is not to be lost with this machine.
    pub(crate) remote: Option<ObjectFolder>,
}

/// Why a note could not be read or written: the file, and what is wrong.
#[derive(Debug)]
pub(crate) struct NoteError {
    pub(crate) path: PathBuf,
    pub(crate) reason: String,
}

impl Notes {
    /// The generations of a view; `None` where nothing was ever noted.
    pub(crate) async fn read(&self, view: &TableName) -> Result<Option<Generations>, NoteError> {
        let found: Option<Generations> = self.read_as(view, ENDING).await?;
        match found {
            Some(found) if found.format != FORMAT => Err(NoteError {
                path: self.dir.join(note_name(view, ENDING)),
                reason: format!("it has format {}, and this version knows {FORMAT}", found.format),
            }),
            found => Ok(found),
        }
    }

    /// Notes the generations of a view in place of what was noted before. When this returns, it stands.
    pub(crate) async fn write(&self, view: &TableName, generations: &Generations) -> Result<(), NoteError> {
        self.write_as(view, ENDING, generations).await
    }

    /// What is noted of a view in a file with this ending; `None` where nothing is.
    pub(crate) async fn read_as<T: DeserializeOwned + Send + 'static>(
        &self,
        view: &TableName,
        ending: &str,
    ) -> Result<Option<T>, NoteError> {
        self.off_thread(note_name(view, ending), |path, name, remote| {
            let text = match remote {
                Some(remote) => remote.read(name).map_err(|error| error.to_string())?.map(|bytes| bytes.to_vec()),
                None => match std::fs::read(path) {
                    Err(error) if error.kind() == ErrorKind::NotFound => None,
                    read => Some(read.map_err(|error| error.to_string())?),
                },
            };
            let Some(text) = text else { return Ok(None) };
            serde_json::from_slice(&text).map(Some).map_err(|error| error.to_string())
        })
        .await
    }

    /// Notes something of a view in a file with this ending, in place of what was noted there before.
    pub(crate) async fn write_as<T: Serialize>(
        &self,
        view: &TableName,
        ending: &str,
        noted: &T,
    ) -> Result<(), NoteError> {
        let text = serde_json::to_vec_pretty(noted);
        self.off_thread(note_name(view, ending), move |path, name, remote| {
            let text = text.map_err(|error| error.to_string())?;
            match remote {
                Some(remote) => remote.put(name, text.into()).map_err(|error| error.to_string()),
                None => replace(path, &text).map_err(|error| error.to_string()),
            }
        })
        .await
    }

    /// Removes what is noted of a view in a file with this ending.
    pub(crate) async fn remove(&self, view: &TableName, ending: &str) -> Result<(), NoteError> {
        self.off_thread(note_name(view, ending), |path, name, remote| match remote {
            Some(remote) => remote.remove(name).map_err(|error| error.to_string()),
            None => match std::fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error.to_string()),
                _ => Ok(()),
            },
        })
        .await
    }

    async fn off_thread<T: Send + 'static>(
        &self,
        name: String,
        work: impl FnOnce(&Path, &str, Option<&mulgil_connect::object_storage::ObjectCalls>) -> Result<T, String>
        + Send
        + 'static,
    ) -> Result<T, NoteError> {
        let (path, remote) = (self.dir.join(&name), self.remote.as_ref().map(ObjectFolder::calls));
        let at = path.clone();
        let done = tokio::task::spawn_blocking(move || work(&at, &name, remote.as_ref())).await;
        let failed = |reason: String| NoteError { path, reason };
        match done {
            Ok(done) => done.map_err(failed),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

/// Puts a file in place of another, as a whole.
fn replace(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir)?;
    let part = path.with_extension("part");
    let mut file = File::create(&part)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&part, path)?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    fn numbers(generations: &Generations) -> (u64, Option<u64>, Option<u64>, Vec<u64>) {
        let number = |generation: &Option<Generation>| generation.as_ref().map(|generation| generation.number);
        let Generations { live, building, former, forgotten, .. } = generations;
        (live.number, number(building), number(former), forgotten.clone())
    }

    #[test]
    fn one_is_live_one_is_former_and_no_number_is_given_twice() {
        let mut generations = Generations::first(Vec::new(), RefreshMode::Kappa, 0);
        assert_eq!(numbers(&generations), (1, None, None, vec![]));
        assert!(generations.begin_roll_back(1).is_none());
        generations.begin(Vec::new(), RefreshMode::Kappa, Why::Replay, 1);
        assert_eq!(numbers(&generations), (1, Some(2), None, vec![]));
        generations.give_up();
        assert_eq!(numbers(&generations), (1, None, None, vec![2]));
        generations.begin(Vec::new(), RefreshMode::Kappa, Why::Changed, 2);
        generations.swap();
        assert_eq!(numbers(&generations), (3, None, Some(1), vec![2]));

        // Back, and forth again; a roll-back that is given up loses nothing.
        generations.begin_roll_back(3);
        assert_eq!(numbers(&generations), (3, Some(1), None, vec![2]));
        generations.give_up();
        assert_eq!(numbers(&generations), (3, None, Some(1), vec![2]));
        generations.begin_roll_back(4);
        generations.swap();
        assert_eq!(numbers(&generations), (1, None, Some(3), vec![2]));
        generations.begin(Vec::new(), RefreshMode::Kappa, Why::Replay, 5);
        generations.swap();
        assert_eq!(numbers(&generations), (4, None, Some(1), vec![2, 3]));

        // Nothing is kept of another mode.
        generations.begin(Vec::new(), RefreshMode::Full, Why::Changed, 6);
        generations.swap();
        assert_eq!(numbers(&generations), (5, None, None, vec![2, 3, 1, 4]));
    }

    #[tokio::test]
    async fn a_note_is_replaced_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let notes = Notes { dir: dir.path().join("checkpoints"), remote: None };
        let view = TableName::parse("v");
        assert_eq!(notes.read(&view).await.unwrap(), None);
        let mut generations = Generations::first(Vec::new(), RefreshMode::Kappa, 7);
        for _ in 0..2 {
            notes.write(&view, &generations).await.unwrap();
            assert_eq!(notes.read(&view).await.unwrap().as_ref(), Some(&generations));
            generations.begin(Vec::new(), RefreshMode::Kappa, Why::Replay, 8).from_ms = Some(9);
        }
        let path = dir.path().join("checkpoints/public.v.generations");
        std::fs::write(&path, "{}").unwrap();
        let error = notes.read(&view).await.unwrap_err();
        assert_eq!(error.path, path);
        assert!(error.reason.contains("missing field"), "{}", error.reason);
    }
}
