//! A caller's key: whoever asks again with it, also after a restart, is told of the same run.

use super::fixture::{House, PATIENCE};
use crate::{SchedulerError, TriggerRequest};

const FLOW: &str = "flow: f\nschedule: {every: 1h, start: 2013-01-01, end: 2013-01-02, catchup: none}\nparams: {n: 0}\n\
                    tasks: {t: {shell: 'true'}}";

fn ask(n: i64, key: Option<&str>) -> TriggerRequest {
    let params = [("n".to_owned(), n.into())].into();
    TriggerRequest { flow: "f".to_owned(), params, key: key.map(str::to_owned), ..TriggerRequest::default() }
}

#[tokio::test]
async fn the_same_key_is_the_same_run_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let house = House::open(folder.path(), &[FLOW]).await;
    let first = house.handle.trigger(ask(1, Some("a"))).await.unwrap();
    assert!(first.created);
    let again = house.handle.trigger(ask(1, Some("a"))).await.unwrap();
    assert_eq!((again.run, &again.name, again.created), (first.run, &first.name, false));
    // Another key for the same thing is the same run, since that is what a run is, and stands for it from then on.
    let other = house.handle.trigger(ask(1, Some("b"))).await.unwrap();
    assert_eq!((other.run, other.created), (first.run, false));
    house.close(PATIENCE).await;

    // An hour more: without the key it would be another interval.
    let longer = FLOW.replace("2013-01-02,", "2013-01-02T01:00,");
    let house = House::open(folder.path(), &[&longer]).await;
    assert!(house.handle.trigger(ask(1, None)).await.unwrap().created);
    for key in ["a", "b"] {
        let again = house.handle.trigger(ask(1, Some(key))).await.unwrap();
        assert_eq!((again.run, &again.name, again.created), (first.run, &first.name, false), "{key}");
    }
    let misused = house.handle.trigger(ask(2, Some("a"))).await.unwrap_err();
    assert!(matches!(&misused, SchedulerError::KeyUsed { run, .. } if *run == first.run), "{misused}");
    for wrong in ["", "a\nb", &"x".repeat(256)] {
        assert!(matches!(house.handle.trigger(ask(2, Some(wrong))).await, Err(SchedulerError::Key)), "{wrong:?}");
    }
    house.close(PATIENCE).await;
}
