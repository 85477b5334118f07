//! Builds a view anew beside the one that answers, rolls it back to the one before, or gives that up. What is built takes
//! over by itself when it has caught up: see [`super::catch_up`].

use std::sync::Arc;
use std::sync::atomic::Ordering;

use mulgil_connect::definition::TableName;
use mulgil_engine::crash;
use mulgil_sql::statement::RefreshMode;

use super::archive_cut::{ArchiveCuts, Archives};
use super::generation::Why;
use super::slot::{Build, Slot};
use super::{ViewError, Views, now_ms};
use crate::run::sources;
use crate::status::ViewStatus;

/// How a view is built anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayOptions {
    /// Its sources are read from this time on, by the times that they keep themselves, in milliseconds since the epoch; from
    /// the beginning where nothing is said.
    pub from_ms: Option<i64>,
    /// How fast they are read at most, all together, until the view has caught up.
    pub rows_per_second_max: Option<u64>,
}

impl Views {
    /// Reads the sources of a view again: the archives of its tables first, where there are some and no time is given. A `KAPPA` or `LAMBDA` view is built anew beside the one that answers, from the text that the
    /// project declares now, and takes over when it has caught up; this comes back when that has begun. A `CONTINUOUS` view
    /// begins again in its place, and forgets its checkpoints.
    ///
    /// # Errors
    /// See [`ViewError`]; it is being built already, or its sources cannot be read from that time on.
    pub async fn replay(&self, view: &TableName, options: &ReplayOptions) -> Result<ViewStatus, ViewError> {
        let slot = self.slot(view)?;
        match slot.view.mode {
            RefreshMode::Kappa => self.build_anew(slot, options).await?,
            _ if slot.building().is_some() => return Err(slot.is_being_built()),
            RefreshMode::Continuous | RefreshMode::Lambda if *options != ReplayOptions::default() => {
                return Err(slot.live().wrong_mode(
                    "its replay begins at the beginning, in its place, as fast as it can; with REFRESH_MODE = KAPPA it is built \
                     beside the one that answers",
                ));
            }
            RefreshMode::Lambda if self.cannot_be_built(slot).is_none() => self.build_anew(slot, options).await?,
            RefreshMode::Continuous | RefreshMode::Lambda => self.begin_again(slot).await?,
            RefreshMode::Full => {
                return Err(slot.live().wrong_mode("it keeps no state that could be replayed; refresh it"));
            }
        }
        Ok(self.status_of(slot))
    }

    /// Whether all that a view reads can be read a second time, as `KAPPA` needs it.
    ///
    /// # Errors
    /// Something cannot, or the view is unknown.
    pub(super) fn check_replays(&self, view: &TableName) -> Result<(), ViewError> {
        let slot = self.slot(view)?;
        for table in self.shared.catalog.tables_of(view) {
            let failed = |source| ViewError::Sql { name: view.to_string(), source };
            let source = self.shared.connectors.source(&table.definition).map_err(|error| failed(error.into()))?;
            if !source.replays() {
                return Err(slot.refused(&format!("{} cannot be read a second time", table.definition.name)));
            }
        }
        Ok(())
    }

    /// Begins a view again in its place: with the archives of its tables, as another generation that takes over at once.
    async fn begin_again(&self, slot: &Arc<Slot>) -> Result<(), ViewError> {
        let name = &slot.view.name;
        self.prepare(slot).await?;
        let archives = match slot.view.mode {
            RefreshMode::Continuous if self.check_replays(name).is_ok() => {
                self.cut_archives(&self.shared.catalog, name).await?
            }
            _ => ArchiveCuts::new(),
        };
        if !archives.is_empty() {
            self.begin_in_place(slot, archives).await?;
            return self.start(name).await;
        }
        self.stop(name).await?;
        let cell = slot.live();
        if let Some(checkpoints) = self.checkpoints_of(&cell.view, cell.origin.number) {
            let _one_at_a_time = cell.turn.lock().await;
            checkpoints.forget().await.map_err(|error| cell.forgetting_failed(&checkpoints.folder, &error))?;
        }
        self.start(name).await
    }

    async fn begin_in_place(&self, slot: &Arc<Slot>, archives: ArchiveCuts) -> Result<(), ViewError> {
        let _one_at_a_time = slot.turn.lock().await;
        let mut noted = self.free_to_build(slot).await?;
        let statements = self.shared.catalog.statements_of(&slot.view.name);
        let begun = noted.begin(statements, slot.view.mode, Why::Replay, now_ms());
        begun.archives = Archives::Cut(archives);
        let begun = Build::new(self.cell_of(slot, begun), begun.clone());
        noted.swap();
        self.note(slot, noted).await?;
        let former = slot.swap(&begun);
        {
            let _stops = former.turn_to_stop().await;
            former.stop().await;
        }
        self.show(slot);
        self.prepare_layers(slot, &begun.cell).await?;
        self.forget(slot).await
    }

    async fn build_anew(&self, slot: &Arc<Slot>, options: &ReplayOptions) -> Result<(), ViewError> {
        self.prepare(slot).await?;
        let _one_at_a_time = slot.turn.lock().await;
        let mut noted = self.free_to_build(slot).await?;
        let name = &slot.view.name;
        let archives = match options.from_ms {
            Some(_) => Archives::None,
            None => Archives::Cut(self.cut_archives(&self.shared.catalog, name).await?),
        };
        let building = noted.begin(self.shared.catalog.statements_of(name), slot.view.mode, Why::Replay, now_ms());
        building.from_ms = options.from_ms;
        building.archives = archives;
        building.rows_per_second_max = options.rows_per_second_max;
        let build = Build::new(self.cell_of(slot, building), building.clone());
        if options.from_ms.is_some() {
            let failed = |source| ViewError::Sql { name: name.to_string(), source };
            let session = self.session_of(&build.cell);
            let plan = session.stream_view(name).map_err(failed)?;
            build.cell.starts(&sources(&session, &plan).map_err(failed)?).await?;
        }
        self.note(slot, noted).await?;
        self.begin_build(slot, build).await
    }

    /// Lets the generation before the one that answers take over again, when it has caught up from its last checkpoint; this
    /// comes back when that has begun.
    ///
    /// # Errors
    /// See [`ViewError`]; there is none, or another one is being built.
    pub async fn roll_back(&self, view: &TableName) -> Result<ViewStatus, ViewError> {
        let slot = self.slot(view)?;
        if slot.view.mode != RefreshMode::Kappa {
            return Err(slot.live().wrong_mode("it keeps no former generation; use REFRESH_MODE = KAPPA"));
        }
        self.prepare(slot).await?;
        let _one_at_a_time = slot.turn.lock().await;
        let mut noted = self.free_to_build(slot).await?;
        let Some(building) = noted.begin_roll_back(now_ms()).cloned() else {
            return Err(slot.refused("it has no former generation: one is kept when another takes over from it"));
        };
        let build = Build::new(self.cell_of(slot, &building), building);
        self.note(slot, noted).await?;
        self.begin_build(slot, build).await?;
        Ok(slot.status())
    }

    /// Gives up what is being built; the one that answers goes on.
    ///
    /// # Errors
    /// See [`ViewError`]; nothing is being built. Views that shut down keep it for the next start.
    pub async fn cancel_replay(&self, view: &TableName) -> Result<ViewStatus, ViewError> {
        let slot = self.slot(view)?;
        if self.shared.closing.load(Ordering::Acquire) {
            return Err(ViewError::ShutDown);
        }
        self.prepare(slot).await?;
        let _one_at_a_time = slot.turn.lock().await;
        let Some(build) = slot.building() else { return Err(slot.refused("nothing is being built beside it")) };
        let former = slot.live().view.mode;
        if build.cell.view.mode != former {
            let name = &slot.view.name;
            let reason = format!("it is on its way there: `mulgil view switch {name} --to {former}` goes back");
            return Err(slot.refused(&reason));
        }
        self.give_up_build(slot).await?;
        self.shared.changed.notify_one();
        Ok(slot.status())
    }

    async fn give_up_build(&self, slot: &Slot) -> Result<(), ViewError> {
        let (Some(build), Some(mut noted)) = (slot.building(), slot.noted()) else { return Ok(()) };
        noted.give_up();
        self.note(slot, noted).await?;
        slot.set_building(None);
        let _stops = build.cell.turn_to_stop().await;
        build.cell.stop().await;
        self.forget(slot).await
    }

    /// What is noted of a view, where nothing is being built; what has failed is given up.
    async fn free_to_build(&self, slot: &Slot) -> Result<super::generation::Generations, ViewError> {
        if self.shared.closing.load(Ordering::Acquire) {
            return Err(ViewError::ShutDown);
        }
        match slot.building() {
            Some(build) if build.cell.has_failed() => self.give_up_build(slot).await?,
            Some(_) => return Err(slot.is_being_built()),
            None => {}
        }
        slot.noted().ok_or_else(|| slot.refused("it makes no checkpoints, so nothing can be built beside it"))
    }

    async fn begin_build(&self, slot: &Arc<Slot>, build: Arc<Build>) -> Result<(), ViewError> {
        crash::point("after the build is noted");
        self.prepare_layers(slot, &build.cell).await?;
        slot.set_building(Some(build));
        self.go_on_building(slot);
        self.shared.changed.notify_one();
        Ok(())
    }
}

impl Slot {
    fn is_being_built(&self) -> ViewError {
        let name = &self.view.name;
        let number = self.building().map_or(0, |build| build.generation.number);
        self.refused(&format!(
            "generation {number} is being built already: wait for it, or `mulgil view replay {name} --cancel`"
        ))
    }

    pub(super) fn refused(&self, reason: &str) -> ViewError {
        ViewError::Mode {
            name: self.view.name.to_string(),
            mode: self.view.mode.to_string(),
            reason: reason.to_owned(),
        }
    }
}
