//! The whole table, as a snapshot: whoever changes the life cycle sees what changes.

use std::fmt::Write;

use super::{AttemptEvent, Life, RunEvent, TaskEvent, next_status};
use crate::status::{AttemptStatus, RunStatus, TaskStatus};

fn table<S: Life + 'static>(statuses: &[S], events: &[S::Event]) -> String {
    let mut text = String::new();
    for &status in statuses {
        for &event in events {
            if let Ok(next) = next_status(status, event) {
                writeln!(text, "{:8} {status:16} {:16} {next}", S::WHAT, format!("{event:?}")).unwrap_or_default();
            }
        }
    }
    text
}

fn whole_table() -> String {
    use AttemptEvent as A;
    use RunEvent as R;
    use TaskEvent as T;
    let run = [
        R::Admitted,
        R::CancelAsked,
        R::TimeUp,
        R::AllSucceeded,
        R::SomeFailed,
        R::SomeCancelled,
        R::RerunAsked,
        R::MarkedSucceeded,
        R::MarkedFailed,
    ];
    let task = [
        T::NeedsMet,
        T::NeedFailed,
        T::Skipped,
        T::FannedOut,
        T::Called,
        T::Leased,
        T::Succeeded,
        T::Failed,
        T::RetryPlanned,
        T::RetryDue,
        T::Lost,
        T::CancelAsked,
        T::Stopped,
        T::RerunAsked,
        T::MarkedSucceeded,
        T::MarkedFailed,
        T::Dropped,
    ];
    let attempt = [A::Started, A::Succeeded, A::Failed, A::TimedOut, A::Stopped, A::Lost];
    [table(RunStatus::ALL, &run), table(TaskStatus::ALL, &task), table(AttemptStatus::ALL, &attempt)].join("\n")
}

#[test]
fn the_table_is_as_agreed() {
    insta::assert_snapshot!(whole_table());
}

#[test]
fn what_is_not_in_the_table_is_refused_with_a_sentence() {
    let refused = next_status(AttemptStatus::Lost, AttemptEvent::Succeeded).map_err(|error| error.to_string());
    assert_eq!(refused, Err("Succeeded cannot happen to an attempt that is lost".to_owned()));
}

#[test]
fn words_are_read_back() {
    for &status in TaskStatus::ALL {
        assert_eq!(TaskStatus::from_word(status.word()), Ok(status));
        assert_eq!(serde_json::to_value(status).ok(), Some(status.word().into()));
    }
    assert!(RunStatus::from_word("gone").is_err());
}
