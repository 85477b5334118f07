//! Before a view's first start: which generation of it answers, which is being built, and whether its definition has been
//! changed since.

use std::sync::Arc;

use mulgil_engine::checkpoint::CheckpointError;
use mulgil_engine::pace::Pace;
use mulgil_sql::catalog::Catalog;
use mulgil_sql::past::PastStatement;
use mulgil_sql::statement::RefreshMode;

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
        if view.mode == RefreshMode::Full {
            return Ok(());
        }
        let _one_at_a_time = slot.turn.lock().await;
        if slot.noted().is_some() {
            return Ok(());
        }
        let found = notes.read(&view.name).await.map_err(|error| slot.not_noted("read", error))?;
        let declared = self.shared.catalog.statements_of(&view.name);
        let noted = match (&found, view.mode) {
            (None, RefreshMode::Kappa) => Generations::first(declared, now_ms()),
            // It has one generation, and needs no note.
            (None, _) => return Ok(()),
            (Some(found), RefreshMode::Kappa) => self.brought_up_to_date(slot, found.clone(), declared),
            // It goes on from the state of the one that answered, with the text as it is now.
            (Some(found), _) => {
                let mut noted = found.clone();
                noted.give_up();
                noted.forgotten.extend(noted.former.take().map(|former| former.number));
                (noted.live.statements, noted.declared) = (declared.clone(), declared);
                noted
            }
        };
        if found.as_ref() != Some(&noted) {
            self.note(slot, noted).await?;
        } else {
            slot.set_noted(noted);
        }
        self.take_up(slot);
        self.forget(slot).await
    }

    /// Notes that the definition is now this one; another one is built, if its rows would be others.
    fn brought_up_to_date(&self, slot: &Slot, mut noted: Generations, declared: Vec<PastStatement>) -> Generations {
        if self.means_the_same(slot, &noted.live.statements) {
            if noted.building.as_ref().is_some_and(|building| building.why == Why::Changed) {
                noted.give_up();
            }
            // How it runs may have been changed.
            noted.live.statements.clone_from(&declared);
        } else if !self.means_the_same(slot, &noted.declared) {
            let building = noted.building.as_ref().filter(|building| building.why != Why::RollBack);
            if !building.is_some_and(|building| self.means_the_same(slot, &building.statements)) {
                noted.begin(declared.clone(), Why::Changed, now_ms());
            }
        }
        noted.declared = declared;
        noted
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
        // Whatever that text said, the view is kept as it says now.
        let view = if view.mode == slot.view.mode { view } else { Arc::new(view.in_mode(slot.view.mode)) };
        let pace = Pace::new(generation.rows_per_second_max);
        ViewCell::new(
            view,
            Origin { number: generation.number, catalog, from_ms: generation.from_ms, pace, archive: None },
        )
    }

    /// Removes the checkpoints of generations that are of no use any more.
    pub(super) async fn forget(&self, slot: &Slot) -> Result<(), ViewError> {
        let Some(mut noted) = slot.noted().filter(|noted| !noted.forgotten.is_empty()) else { return Ok(()) };
        for number in std::mem::take(&mut noted.forgotten) {
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
