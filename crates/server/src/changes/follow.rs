//! The changes of a view as server-sent events, over reloads of the project.

use std::convert::Infallible;

use axum::response::sse::{self, KeepAlive, Sse};
use futures::{Stream, StreamExt};
use mulgil_connect::definition::TableName;
use mulgil_serving::views::Views;
use mulgil_serving::views::changes::{Start, Subscription};

use super::{Telling, ViewStep};
use crate::error::ApiError;
use crate::node::Node;

/// The steps that are ready to be sent, written down when they are asked for.
type Ready = Box<dyn Iterator<Item = Result<ViewStep, ApiError>> + Send>;

/// Follows a view for one client, at the client's pace.
struct Follower {
    node: Node,
    view: TableName,
    views: Views,
    subscription: Subscription,
    ready: Option<Ready>,
    cursor: Option<String>,
}

/// Begins to follow a view.
pub(super) fn stream(
    node: Node,
    view: TableName,
    start: Start,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, ApiError> {
    let views = node.loaded().views.clone();
    let subscription = views.changes(&view, start)?;
    let stopping = node.stopping.clone();
    let follower = Follower { node, view, views, subscription, ready: None, cursor: None };
    let events = futures::stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((Ok(event), follower))
    });
    Ok(Sse::new(events.take_until(stopping.cancelled_owned())).keep_alive(KeepAlive::default()))
}

impl Follower {
    /// The next event; `None` ends the stream: the client connects again, and is told what is wrong.
    async fn next(&mut self) -> Option<sse::Event> {
        loop {
            if let Some(ready) = &mut self.ready {
                match ready.next() {
                    Some(Ok(step)) => return event(&step),
                    Some(Err(error)) => {
                        tracing::warn!(view = %self.view, %error, "the changes of a view could not be told");
                        return None;
                    }
                    None => self.ready = None,
                }
                continue;
            }
            match self.subscription.next().await {
                Some(step) => {
                    self.cursor = self.subscription.cursor();
                    let telling = Telling::of(step, self.cursor.clone().unwrap_or_default()).await.ok()?;
                    self.ready = Some(Box::new(telling.steps()));
                }
                None => self.go_over().await?,
            }
        }
    }

    /// The project has been read anew: goes over to its views as they are now.
    async fn go_over(&mut self) -> Option<()> {
        let mut loaded = self.node.reloader.watch();
        let views = loaded.wait_for(|loaded| !loaded.views.are(&self.views)).await.ok()?.views.clone();
        let start = self.cursor.clone().map_or(Start::Snapshot, Start::After);
        self.subscription = views.changes(&self.view, start).ok()?;
        self.views = views;
        Some(())
    }
}

fn event(step: &ViewStep) -> Option<sse::Event> {
    let event = match step {
        ViewStep::Begin(_) => sse::Event::default().event("begin"),
        ViewStep::Rows(_) => sse::Event::default().event("rows"),
        ViewStep::Cut(cut) => sse::Event::default().event("cut").id(&cut.cursor),
    };
    event.json_data(step).ok()
}
