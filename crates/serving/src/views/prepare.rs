//! Before a view's first start: which generation of it answers, which is being built, and whether its definition has been
//! changed since.

use std::sync::Arc;

use mulgil_connect::definition::TableName;
use mulgil_engine::checkpoint::CheckpointError;
use mulgil_engine::pace::Pace;
use mulgil_sql::catalog::Catalog;
use mulgil_sql::past::PastStatement;
use mulgil_sql::statement::RefreshMode;

use super::archive_cut::{Archives, PastOfTables};
use super::cell::{Origin, ViewCell};
use super::generation::{Generation, Generations, NoteError, Notes, Why};
use super::slot::{Build, Slot};
use super::{ViewError, Views, now_ms};

impl Views {
    /// Where the generations of views are noted; `None` where nothing is kept.
    pub(super) fn notes(&self) -> Option<Notes> {
        let options = &self.shared.options;
        Some(Notes { dir: options.checkpoints_dir.clone()?, remote: options.checkpoints_remote.clone() })
    }

    /// Finds out which generations of a view there are. Does nothing the second time.
    pub(super) async fn prepare(&self, slot: &Arc<Slot>) -> Result<(), ViewError> {
        let (view, Some(notes)) = (&slot.view, self.notes()) else { return Ok(()) };
        let _one_at_a_time = slot.turn.lock().await;
        if slot.noted().is_some() {
            return Ok(());
        }
        let found = notes.read(&view.name).await.map_err(|error| slot.not_noted("read", error))?;
        let declared = self.shared.catalog.statements_of(&view.name);
        let noted = match &found {
            None => Generations::first(declared, view.mode, now_ms()),
            Some(found) => self.brought_up_to_date(slot, found.clone(), declared),
        };
        if found.as_ref() != Some(&noted) {
            self.note(slot, noted).await?;
        } else {
            slot.set_noted(noted);
        }
        self.take_up(slot);
        self.forget(slot).await
    }

    /// Notes that the definition and the mode are now these. What answers goes on with them, if it can; else another one is built.
    fn brought_up_to_date(&self, slot: &Slot, mut noted: Generations, declared: Vec<PastStatement>) -> Generations {
        let mode = slot.view.mode;
        if noted.building.as_ref().is_some_and(|building| building.mode != mode) {
            noted.give_up();
        }
        if mode != RefreshMode::Kappa {
            noted.forget_former();
        }
        if self.goes_on(slot, &noted.live) {
            if noted.building.as_ref().is_some_and(|building| building.why == Why::Changed) {
                noted.give_up();
            }
            // How it runs may have been changed.
            noted.live.statements.clone_from(&declared);
            noted.live.mode = mode;
        } else if noted.live.mode != mode || !self.means_the_same(slot, &noted.declared) {
            let building = noted.building.as_ref().filter(|building| building.why != Why::RollBack);
            if !building.is_some_and(|building| self.means_the_same(slot, &building.statements)) {
                let building = noted.begin(declared.clone(), mode, Why::Changed, now_ms());
                if mode != RefreshMode::Full && slot.view.archive {
                    building.archives = Archives::Wanted;
                }
            }
        }
        noted.declared = declared;
        noted
    }

    /// Whether a generation goes on as the project declares the view now: its state, or its result, is one of this view.
    fn goes_on(&self, slot: &Slot, live: &Generation) -> bool {
        use RefreshMode::{Continuous, Full, Kappa, Lambda};
        match (live.mode, slot.view.mode) {
            // A stored result says by itself of what it is, and a stream tells when its state does not fit.
            (Full, Full) | (Continuous | Kappa, Continuous) => true,
            (Kappa, Kappa) => self.means_the_same(slot, &live.statements),
            (Continuous, Kappa) | (Lambda, Lambda) => {
                self.means_the_same(slot, &live.statements) || self.cannot_be_built(slot).is_some()
            }
            (Continuous | Kappa, Lambda) => {
                (self.has_windows(slot) && self.means_the_same(slot, &live.statements))
                    || self.cannot_be_built(slot).is_some()
            }
            // A stream has forgotten windows of which batch speaks, and there is none beside a stored result.
            (Lambda, Continuous | Kappa) | (Full, _) => self.cannot_be_built(slot).is_some(),
            (_, Full) => false,
        }
    }

    /// Whether a view's layers hold windows, so that its stream is one like any other until batch speaks; without windows they
    /// hold states in place of results.
    fn has_windows(&self, slot: &Slot) -> bool {
        matches!(self.shared.catalog.layers(&slot.view.name), Ok((_, None)))
    }

    /// Why no stream of a view can be built beside what answers.
    pub(super) fn cannot_be_built(&self, slot: &Slot) -> Option<ViewError> {
        if !slot.view.stream.late_rows.is_empty() {
            return Some(
                slot.refused("it has the option 'late-rows', and the late rows of the past would be written again"),
            );
        }
        self.check_replays(&slot.view.name).err()
    }

    /// Whether a view can be kept up to date in another way from now on, without a gap in its answers.
    ///
    /// # Errors
    /// It cannot, and why; or it is unknown.
    pub fn check_switch(&self, view: &TableName, to: RefreshMode) -> Result<(), ViewError> {
        use RefreshMode::{Continuous, Full, Lambda};
        let slot = self.slot(view)?;
        match (slot.live().view.mode, to) {
            (_, Full) | (Continuous | RefreshMode::Kappa, Continuous) | (Lambda, Lambda) => Ok(()),
            (Continuous | RefreshMode::Kappa, Lambda) if self.has_windows(slot) => Ok(()),
            _ => self.cannot_be_built(slot).map_or(Ok(()), Err),
        }
    }

    /// Whether a view of these statements has the same rows as the one that the project declares.
    fn means_the_same(&self, slot: &Slot, statements: &[PastStatement]) -> bool {
        let (catalog, name) = (&self.shared.catalog, &slot.view.name);
        catalog.past(statements).is_ok_and(|past| past.meaning_of(name) == catalog.meaning_of(name))
    }

    /// Notes the generations of a view: when this returns, they are these.
    pub(super) async fn note(&self, slot: &Slot, noted: Generations) -> Result<(), ViewError> {
        let view = &slot.view.name;
        let Some(notes) = self.notes() else { return Ok(()) };
        if let Err(error) = notes.write(view, &noted).await {
            // Object storage may have taken it, and its answer may have been lost.
            let stands = notes.read(view).await.is_ok_and(|found| found.as_ref() == Some(&noted));
            if !stands {
                return Err(slot.not_noted("write", error));
            }
        }
        slot.set_noted(noted);
        Ok(())
    }

    /// Puts what is noted in its place; nothing of it runs yet.
    fn take_up(&self, slot: &Slot) {
        let Some(noted) = slot.noted() else { return };
        slot.set_live(self.cell_of(slot, &noted.live));
        self.show(slot);
        slot.set_building(noted.building.map(|building| Build::new(self.cell_of(slot, &building), building)));
    }

    /// A generation that does not run yet. One whose text cannot be read any more gets that of the project.
    pub(super) fn cell_of(&self, slot: &Slot, generation: &Generation) -> ViewCell {
        let name = &slot.view.name;
        let is_declared = slot.noted().is_some_and(|noted| noted.declared == generation.statements);
        let past = if is_declared { None } else { Some(self.shared.catalog.past(&generation.statements)) };
        let catalog: Arc<Catalog> = match past {
            Some(Ok(past)) => Arc::new(past),
            Some(Err(problem)) => {
                tracing::warn!(view = %name, generation = generation.number, %problem, "its former text is of no use");
                Arc::clone(&self.shared.catalog)
            }
            None => Arc::clone(&self.shared.catalog),
        };
        let view = catalog.view(name).cloned().unwrap_or_else(|| Arc::clone(&slot.view));
        // Whatever that text said, it is kept as it was built.
        let view = if view.mode == generation.mode { view } else { Arc::new(view.in_mode(generation.mode)) };
        let pace = Pace::new(generation.rows_per_second_max);
        ViewCell::new(
            view,
            Origin {
                number: generation.number,
                catalog,
                from_ms: generation.from_ms,
                archives: PastOfTables::new(generation.archives.clone()),
                pace,
                archive: None,
            },
        )
    }

    /// Removes what is kept of generations that are of no use any more.
    pub(super) async fn forget(&self, slot: &Slot) -> Result<(), ViewError> {
        let Some(mut noted) = slot.noted().filter(|noted| !noted.forgotten.is_empty()) else { return Ok(()) };
        for number in std::mem::take(&mut noted.forgotten) {
            self.forget_stored(&slot.view.name, number);
            self.forget_batch(slot, number).await?;
            let Some(checkpoints) = self.checkpoints_of(&slot.view, number) else { continue };
            let failed = |error: CheckpointError| slot.live().forgetting_failed(&checkpoints.folder, &error);
            checkpoints.forget().await.map_err(failed)?;
        }
        self.note(slot, noted).await
    }
}

impl Slot {
    pub(super) fn not_noted(&self, action: &'static str, error: NoteError) -> ViewError {
        let NoteError { path, reason } = error;
        ViewError::Store { name: self.view.name.to_string(), action, path, reason }
    }
}
