//! Views whose jobs fail: started again by themselves while that may help, and then by a person.

use std::time::Duration;

use mulgil_connect::definition::TableName;
use mulgil_engine::checkpoint::CheckpointOptions;
use mulgil_serving::run::{Mode, RunOptions, collect};
use mulgil_serving::status::{ViewState, ViewStatus};
use mulgil_serving::views::{Views, ViewsOptions};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::fixture::{Project, text_rows};

const TIMEOUT: Duration = Duration::from_secs(60);

/// A view over lines from a socket.
fn views(project: &Project, port: u16, options: &str) -> Views {
    let declared = format!(
        "CREATE TABLE lines (line STRING) WITH ('connector' = 'socket', 'hostname' = '127.0.0.1', 'port' = '{port}');
         CREATE MATERIALIZED TABLE counted WITH ({options} 'checkpoint-interval' = '1 ms')
         REFRESH_MODE = CONTINUOUS AS SELECT line, count(*) AS n FROM lines GROUP BY line;"
    );
    let options = ViewsOptions {
        checkpoints_dir: Some(project.dir.path().join("checkpoints")),
        news_interval: Duration::from_millis(5),
        ..ViewsOptions::default()
    };
    Views::new(project.catalog(&declared), project.connectors.clone(), options)
}

fn counted() -> TableName {
    TableName::parse("counted")
}

async fn until(views: &Views, what: &str, wanted: impl Fn(&ViewStatus) -> bool) -> ViewStatus {
    let mut news = views.subscribe();
    let waiting = async {
        loop {
            let status = views.status(&counted()).unwrap();
            if wanted(&status) {
                return status;
            }
            let _ = news.recv().await;
        }
    };
    let found = tokio::time::timeout(TIMEOUT, waiting).await;
    found.unwrap_or_else(|_| panic!("no {what}: {:?}", views.status(&counted())))
}

async fn rows(views: &Views) -> Vec<Vec<String>> {
    text_rows(&collect(views.query("SELECT line, n FROM counted").await.unwrap()).await.unwrap().1)
}

const FAST: &str = "'restart-strategy.exponential-delay.initial-backoff' = '1 ms',
                    'restart-strategy.exponential-delay.max-backoff' = '20 ms',";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_waits_for_what_is_away_and_goes_on_when_it_comes() {
    let project = Project::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let views = views(&project, port, FAST);
    // Nobody listens.
    views.start(&counted()).await.ok();
    let status = until(&views, "tries", |status| status.restarts.tries > 3).await;
    assert_eq!(status.state, ViewState::Restarting);
    let error = status.restarts.last_error.unwrap();
    assert!(error.contains("refused"), "{error}");

    // Somebody listens, gives a line, and is gone again: the result stays readable.
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let (mut connection, _) = listener.accept().await.unwrap();
    connection.write_all(b"a\na\nb\n").await.unwrap();
    let covered = |status: &ViewStatus| status.checkpoints.as_ref().is_some_and(|made| made.covered_rows >= 3);
    let running = until(&views, "rows", |status| status.rows == 2 && covered(status)).await;
    assert_eq!(running.state, ViewState::Running);
    let mut found = rows(&views).await;
    found.sort();
    assert_eq!(found, [["a", "2"], ["b", "1"]]);
    views.shutdown().await;
    let status = views.status(&counted()).unwrap();
    assert_eq!(status.state, ViewState::Stopped);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_too_many_tries_a_view_waits_for_a_person() {
    let project = Project::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let few = format!("{FAST} 'restart-strategy.exponential-delay.attempts-before-reset-backoff' = '4',");
    let views = views(&project, port, &few);
    views.start(&counted()).await.ok();
    let status = until(&views, "end", |status| status.state == ViewState::Failed).await;
    assert_eq!((status.restarts.count, status.restarts.next_try_ms), (4, None));
    let error = status.error.unwrap();
    assert!(error.contains("started again 4 times in vain") && error.contains("mulgil view resume counted"), "{error}");

    // It stays so until a person comes.
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    assert_eq!(views.resume(&counted()).await.unwrap().state, ViewState::Running);
    let (mut connection, _) = listener.accept().await.unwrap();
    connection.write_all(b"a\n").await.unwrap();
    let status = until(&views, "rows", |status| status.rows == 1).await;
    assert_eq!((status.restarts.count, status.error), (0, None));
    views.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_that_is_not_to_be_started_again_is_not() {
    let project = Project::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let views = views(&project, port, "'restart-strategy.type' = 'none',");
    views.start(&counted()).await.ok();
    let status = until(&views, "end", |status| status.state == ViewState::Failed).await;
    assert_eq!(status.restarts.count, 0);
    // A stop ends waiting.
    views.stop(&counted()).await.unwrap();
    views.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_insert_that_follows_is_started_again_as_often_as_it_says() {
    let project = Project::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let sql = format!(
        "CREATE TABLE lines (line STRING) WITH ('connector' = 'socket', 'hostname' = '127.0.0.1', 'port' = '{port}');
         CREATE TABLE kept (line STRING) WITH ('connector' = 'log', 'topic' = 'kept', 'format' = 'json');
         SET 'restart-strategy.exponential-delay.initial-backoff' = '1 ms';
         SET 'restart-strategy.exponential-delay.max-backoff' = '2 ms';
         SET 'restart-strategy.exponential-delay.attempts-before-reset-backoff' = '{{tries}}';
         INSERT INTO kept SELECT line FROM lines"
    );
    let options = RunOptions {
        mode: Mode::Stream,
        follow: true,
        checkpoints: Some(CheckpointOptions::new(project.dir.path().join("checkpoints"))),
        ..RunOptions::default()
    };
    let catalog = project.catalog("");
    let few = project.run(&catalog, &sql.replace("{tries}", "3"), &options).await.unwrap_err().to_string();
    assert!(few.contains("refused"), "{few}");
    // With more tries it is still there when somebody listens.
    let listen = async {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let _connected = tokio::time::timeout(TIMEOUT, listener.accept()).await.unwrap().unwrap();
    };
    let many = sql.replace("{tries}", "1000000");
    tokio::select! {
        ended = project.run(&catalog, &many, &options) => panic!("it ended: {ended:?}"),
        () = listen => {}
    }
}
