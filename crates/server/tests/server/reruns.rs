//! Runs that did not end as they should: marked by hand, run again in bulk, with the latest definition; each foretold.

use mulgil_server::flows::StartRun;
use mulgil_server::reruns::{Mark, MarkAsk, RerunAsk, RerunPreview, RerunScope, RerunsAsk};
use mulgil_server::runs::RunDetail;
use mulgil_server::status::{RunStatus, TaskStatus};
use mulgil_server::stretches::Stretch;
use mulgil_server::versions::{DifferenceKind, DifferenceQuery};

use super::fixture::{DAILY, Fixture, refusal};

fn on(date: &str) -> StartRun {
    StartRun { date: Some(date.parse().unwrap()), ..StartRun::default() }
}

fn names(preview: &RerunPreview) -> Vec<&str> {
    preview.tasks.iter().map(|task| task.name.as_str()).collect()
}

fn statuses(run: &RunDetail) -> Vec<(&str, TaskStatus)> {
    run.tasks.iter().map(|task| (task.name.as_str(), task.status)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_counts_as_somebody_says_and_what_never_ran_for_it_runs() {
    use TaskStatus as S;
    let fixture = Fixture::start(&[DAILY]).await;
    fixture.write("broken-2013-01-03", "");
    fixture.call(|client| client.start_run("daily", &on("2013-01-03"))).await.unwrap();
    let id = fixture.run_with("daily/2013-01-03", RunStatus::Failed).await.summary.id;
    let ask = |mark, preview| MarkAsk { mark, by: "kim".to_owned(), why: "checked by hand".to_owned(), preview };

    let foretold = fixture.call(move |client| client.mark(id, "check", &ask(Mark::Succeeded, true))).await.unwrap();
    assert_eq!(names(&foretold), ["publish"]);
    let run = fixture.call(move |client| client.run(id)).await.unwrap();
    assert_eq!(run.summary.status, RunStatus::Failed, "a preview changes nothing");
    let done = fixture.call(move |client| client.mark(id, "check", &ask(Mark::Succeeded, false))).await.unwrap();
    assert_eq!(done, foretold);
    let run = fixture.run_with("daily/2013-01-03", RunStatus::Succeeded).await;
    assert_eq!(statuses(&run), [("land", S::Succeeded), ("check", S::Succeeded), ("publish", S::Succeeded)]);
    assert_eq!(run.tasks[1].note.as_deref(), Some("marked as succeeded by kim: checked by hand"));
    assert_eq!(run.tasks[1].attempts.len(), 1, "it did not run again");

    let done = fixture.call(move |client| client.mark(id, "land", &ask(Mark::Failed, false))).await.unwrap();
    assert!(done.tasks.is_empty());
    let run = fixture.call(move |client| client.run(id)).await.unwrap();
    assert_eq!((run.summary.status, run.tasks[0].status), (RunStatus::Failed, S::Failed));
    let (status, _, message) =
        refusal(fixture.call(move |client| client.mark(id, "lend", &ask(Mark::Failed, false))).await);
    assert_eq!((status, message.contains("its tasks are land, check, publish")), (404, true), "{message}");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_runs_follow_the_latest_definition_or_none_of_them_does() {
    use TaskStatus as S;
    let text = "flow: daily\nschedule: {cron: '0 6 * * *', start: 2013-01-01, end: 2013-02-01, catchup: none}\ntasks:\n  land: {shell: test -e mended}\n  tell: {needs: [land], shell: 'true'}\n";
    let fixture = Fixture::start(&[("flows/daily.yaml", text)]).await;
    let mut ids = Vec::new();
    for (date, name) in [("2013-01-03", "daily/2013-01-03"), ("2013-01-04", "daily/2013-01-04")] {
        fixture.call(move |client| client.start_run("daily", &on(date))).await.unwrap();
        ids.push(fixture.run_with(name, RunStatus::Failed).await.summary.id);
    }
    let (runs, first, second) = (ids.clone(), ids[0], ids[1]);
    let failed =
        |latest, preview| RerunsAsk { runs: runs.clone(), ask: RerunAsk { latest, ..RerunAsk::default() }, preview };
    // The flow changes: a task is new, another is gone.
    let later =
        text.replace("  tell: {needs", "  check: {needs: [land], group: after, shell: 'true'}\n  report: {needs");
    fixture.write("flows/daily.yaml", &later);
    fixture.call(|client| client.reload()).await.unwrap();
    fixture.write("mended", "");
    let (original, latest) = (failed(false, true), failed(true, true));
    let foretold = fixture.call(move |client| client.rerun_many(&original)).await.unwrap();
    assert_eq!(foretold.runs.iter().map(names).collect::<Vec<_>>(), [["land", "tell"]; 2]);
    let foretold = fixture.call(move |client| client.rerun_many(&latest)).await.unwrap();
    assert_eq!(foretold.runs.iter().map(names).collect::<Vec<_>>(), [["land", "check", "report"]; 2]);

    // One of them cannot: then none does.
    let mut unknown = failed(true, false);
    unknown.runs.push(999);
    assert_eq!(refusal(fixture.call(move |client| client.rerun_many(&unknown)).await).0, 404);
    let run = fixture.call(move |client| client.run(first)).await.unwrap();
    assert_eq!((run.summary.status, run.is_latest), (RunStatus::Failed, false));

    let latest = failed(true, false);
    let done = fixture.call(move |client| client.rerun_many(&latest)).await.unwrap();
    assert_eq!(done, foretold);
    for name in ["daily/2013-01-03", "daily/2013-01-04"] {
        let run = fixture.run_with(name, RunStatus::Succeeded).await;
        let expected =
            [("land", S::Succeeded), ("tell", S::Skipped), ("check", S::Succeeded), ("report", S::Succeeded)];
        assert_eq!(statuses(&run), expected);
        assert_eq!(run.tasks[1].note.as_deref(), Some("the flow has no such task any more"));
        assert!(run.is_latest);
    }
    let group = RerunAsk { scope: RerunScope::Group, group: Some("after".to_owned()), ..RerunAsk::default() };
    let foretold = fixture.call(move |client| client.preview_rerun(second, &group)).await.unwrap();
    assert_eq!(names(&foretold), ["check"]);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_will_run_in_a_called_run_is_foretold_and_confirmed_with_the_rerun() {
    let caller = "flow: caller\ntasks: {sub: {flow: called}}";
    let called = "flow: called\ntasks: {send: {shell: test -e mended, idempotent: false}}";
    let fixture = Fixture::start(&[("flows/caller.yaml", caller), ("flows/called.yaml", called)]).await;
    let started = fixture.call(|client| client.start_run("caller", &StartRun::default())).await.unwrap();
    fixture.run_with("caller/manual", RunStatus::Failed).await;
    let (id, ask) = (started.run.id, RerunAsk::default());
    let foretold = fixture.call(move |client| client.preview_rerun(id, &ask)).await.unwrap();
    assert_eq!((names(&foretold), foretold.needs_confirmation), (vec!["sub"], true));
    let [run] = foretold.called.as_slice() else { panic!("{foretold:?}") };
    let place = (run.name.as_str(), run.parent.as_str(), run.task.as_str());
    assert_eq!(place, ("called/manual", "caller/manual", "sub"));
    let [send] = run.tasks.as_slice() else { panic!("{foretold:?}") };
    assert_eq!((send.name.as_str(), send.attempts, send.idempotent), ("send", 1, false));
    let calling = fixture.call(move |client| client.run(id)).await.unwrap().tasks.remove(0);
    let child = calling.child.unwrap().id;
    assert_eq!(run.run, Some(child));
    let child = fixture.call(move |client| client.run(child)).await.unwrap().summary;
    let worked = Stretch { started_at: child.started_at.unwrap(), ended_at: child.ended_at };
    assert_eq!(calling.worked, [worked]);

    let (status, code, message) = refusal(fixture.call(move |client| client.rerun(id, &RerunAsk::default())).await);
    assert_eq!((status, code.as_str()), (409, "needs_confirmation"));
    assert!(message.starts_with("send of called/manual would run again"), "{message}");
    fixture.write("mended", "");
    let ask = RerunAsk { confirm: true, ..RerunAsk::default() };
    fixture.call(move |client| client.rerun(id, &ask)).await.unwrap();
    fixture.run_with("caller/manual", RunStatus::Succeeded).await;
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_have_versions_by_content_and_a_difference_says_what_changed() {
    let text = "flow: little\ntasks:\n  a: {shell: echo one}\n";
    let fixture = Fixture::start(&[("flows/little.yaml", text)]).await;
    let started = fixture.call(|client| client.start_run("little", &StartRun::default())).await.unwrap();
    let id = started.run.id;
    let old = fixture.call(move |client| client.run(id)).await.unwrap().version;
    // The same content in another dress is the same version.
    fixture.write("flows/little.yaml", "# a comment\nflow: little\ntasks: {a: {shell: 'echo one'}}\n");
    fixture.call(|client| client.reload()).await.unwrap();
    let versions = fixture.call(|client| client.flow_versions("little")).await.unwrap();
    assert_eq!(versions.iter().map(|v| (&v.version, v.runs, v.current)).collect::<Vec<_>>(), [(&old, 1, true)]);

    fixture.write("flows/little.yaml", &text.replace("one", "two"));
    fixture.call(|client| client.reload()).await.unwrap();
    let versions = fixture.call(|client| client.flow_versions("little")).await.unwrap();
    assert_eq!(versions.iter().map(|v| (v.runs, v.current)).collect::<Vec<_>>(), [(0, true), (1, false)]);
    let query = DifferenceQuery { from: old[..8].to_owned(), to: None };
    let difference = fixture.call(move |client| client.flow_difference("little", &query)).await.unwrap();
    assert_eq!((&difference.from, &difference.to), (&old, &versions[0].version));
    let changed: Vec<_> = difference.lines.iter().filter(|line| line.kind != DifferenceKind::Same).collect();
    let changed: Vec<_> = changed.iter().filter(|line| line.kind != DifferenceKind::Gap).collect();
    let changed: Vec<_> = changed.iter().map(|line| (line.kind, line.text.trim())).collect();
    assert_eq!(changed, [(DifferenceKind::Removed, "command: echo one"), (DifferenceKind::Added, "command: echo two")]);
    let unknown = DifferenceQuery { from: "zz".to_owned(), to: None };
    assert_eq!(refusal(fixture.call(move |client| client.flow_difference("little", &unknown)).await).0, 404);
    assert_eq!(refusal(fixture.call(|client| client.flow_versions("lottle")).await).0, 404);
    fixture.stop().await;
}
