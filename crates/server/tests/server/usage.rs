//! What attempts used, and what broke them, over the API.

use mulgil_server::flows::StartRun;
use mulgil_server::status::RunStatus;

use super::fixture::Fixture;

const FLOW: &str = "flow: used
tasks:
  fill: {shell: cat /proc/version > /dev/full}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_attempt_names_its_bottleneck_and_shows_what_it_used() {
    let fixture = Fixture::start(&[("flows/used.yaml", FLOW)]).await;
    let started = fixture.call(|client| client.start_run("used", &StartRun::default())).await.unwrap();
    let name: &'static str = started.run.name.leak();
    let run = fixture.run_with(name, RunStatus::Failed).await;
    let usage = run.tasks[0].attempts[0].usage.clone().unwrap();
    let found = usage.finding.unwrap();
    assert_eq!(found.bottleneck, "disk_space");
    assert!(found.sentence.contains("No space left on device") && !found.remedy.is_empty(), "{found:?}");
    assert!(usage.tree.is_some() && usage.machine.cores > 0, "{:?}", usage.machine);
    fixture.stop().await;
}
