//! What the client asks about views.

use super::{Answer, Client, StepStream, query, segment};
use crate::changes::{ChangesPage, ChangesQuery};
use crate::sql::Rows;
use crate::views::{Drift, ReplayAsk, RowsQuery, Savepoint, SavepointAsk, SwitchAsk, ViewDetail, ViewSummary};

impl Client {
    /// Every view.
    pub fn views(&self) -> Answer<Vec<ViewSummary>> {
        self.get("/views")
    }

    /// One view.
    pub fn view(&self, view: &str) -> Answer<ViewDetail> {
        self.get(&format!("/views/{}", segment(view)))
    }

    /// The rows of a view.
    pub fn view_rows(&self, view: &str, page: &RowsQuery) -> Answer<Rows> {
        self.get(&format!("/views/{}/rows{}", segment(view), query(page)))
    }

    /// The changes of a view, a page.
    ///
    /// # Errors
    /// As all of them.
    pub fn view_changes(&self, view: &str, page: &ChangesQuery) -> Answer<ChangesPage> {
        self.get(&format!("/views/{}/changes{}", segment(view), query(page)))
    }

    /// The changes of a view, as they come. Ends when the server stops.
    ///
    /// # Errors
    /// As all of them.
    pub fn follow_view(&self, view: &str, from: &ChangesQuery) -> Answer<StepStream> {
        let path = format!("/views/{}/changes{}", segment(view), query(from));
        let request = self.agent.get(self.route(&path)).header("Accept", "text/event-stream");
        let response = self.checked(self.with_token(request).call())?;
        let reader = response.into_body().into_with_config().limit(u64::MAX).reader();
        Ok(StepStream::new(Box::new(reader), &self.url))
    }

    /// Builds a view anew, or starts it again from the beginning of its sources.
    ///
    /// # Errors
    /// As all of them.
    pub fn replay_view(&self, view: &str, ask: &ReplayAsk) -> Answer<ViewDetail> {
        self.post(&format!("/views/{}/replay", segment(view)), ask)
    }

    /// Gives up what is being built beside a view.
    ///
    /// # Errors
    /// Nothing is being built; the server refused, or could not be reached.
    pub fn cancel_replay(&self, view: &str) -> Answer<ViewDetail> {
        self.post(&format!("/views/{}/replay/cancel", segment(view)), &())
    }

    /// Lets the former generation of a view take over again.
    ///
    /// # Errors
    /// There is none; the server refused, or could not be reached.
    pub fn roll_back_view(&self, view: &str) -> Answer<ViewDetail> {
        self.post(&format!("/views/{}/rollback", segment(view)), &())
    }

    /// Starts a view that has failed from its last checkpoint.
    ///
    /// # Errors
    /// As all of them.
    pub fn resume_view(&self, view: &str) -> Answer<ViewDetail> {
        self.post(&format!("/views/{}/resume", segment(view)), &())
    }

    /// How far the speed layer of a view had been off.
    ///
    /// # Errors
    /// The view has no layers; the server refused, or could not be reached.
    pub fn drift(&self, view: &str) -> Answer<Vec<Drift>> {
        self.get(&format!("/views/{}/drift", segment(view)))
    }

    /// Changes how a view is kept up to date.
    ///
    /// # Errors
    /// The view would lose its result; the server refused, or could not be reached.
    pub fn switch_view(&self, view: &str, ask: SwitchAsk) -> Answer<ViewDetail> {
        self.post(&format!("/views/{}/switch", segment(view)), &ask)
    }

    /// Keeps the state of a view under a name.
    ///
    /// # Errors
    /// As all of them.
    pub fn make_savepoint(&self, view: &str, ask: &SavepointAsk) -> Answer<Savepoint> {
        self.post(&format!("/views/{}/savepoints", segment(view)), ask)
    }

    /// The savepoints of a view.
    ///
    /// # Errors
    /// As all of them.
    pub fn savepoints(&self, view: &str) -> Answer<Vec<Savepoint>> {
        self.get(&format!("/views/{}/savepoints", segment(view)))
    }

    /// Lets a view go on from a savepoint.
    ///
    /// # Errors
    /// As all of them.
    pub fn restore_view(&self, view: &str, savepoint: &str) -> Answer<ViewDetail> {
        self.post(&format!("/views/{}/savepoints/{}/restore", segment(view), segment(savepoint)), &())
    }

    /// Computes a view anew.
    ///
    /// # Errors
    /// As all of them.
    pub fn refresh_view(&self, view: &str) -> Answer<ViewDetail> {
        self.post(&format!("/views/{}/refresh", segment(view)), &())
    }
}
