//! The state format of each released version: checkpoints that were written then are restored now, and go on to the right
//! rows.
//!
//! `tests/formats/<number>` holds a project of views over two topics (`project.sql`), the rows that had been read when the
//! checkpoints were made (`before.sql`), the checkpoints, and the rows that come after (`after.sql`). What is there is never
//! changed. A release that changes the format adds a folder: see CONTRIBUTING.md. `MULGIL_WRITE_FORMAT=2` writes it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mulgil_connect::definition::TableName;
use mulgil_engine::deterministic::Random;
use mulgil_engine::status::JobStatus;
use mulgil_serving::run::collect;
use mulgil_serving::status::ViewState;
use mulgil_serving::views::{Views, ViewsOptions};
use mulgil_sql::problem::SqlError;

use crate::fixture::{Project, sorted, text_rows};

/// Rows of `events` and `rates` in each half.
const ROWS: [usize; 2] = [120, 20];

fn folder(number: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats").join(number)
}

fn read(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{}/{name}: {error}", folder.display()))
}

/// The views of a project, with checkpoints in `checkpoints`.
fn views_of(project: &Project, text: &str, checkpoints: &Path, parallelism: usize) -> Views {
    let options = ViewsOptions {
        parallelism,
        checkpoints_dir: Some(checkpoints.to_owned()),
        news_interval: Duration::from_millis(10),
        ..ViewsOptions::default()
    };
    Views::new(project.catalog(text), project.connectors.clone(), options)
}

fn names(views: &Views) -> Vec<TableName> {
    views.list().into_iter().map(|status| TableName::parse(&status.name)).collect()
}

async fn run(project: &Project, views: &Views, statements: &str) {
    project.batch(views.catalog(), statements).await;
}

/// Waits until a view is as wanted.
async fn until(views: &Views, view: &TableName, mut wanted: impl AsyncFnMut(&JobStatus) -> bool) {
    let mut news = views.subscribe();
    let waiting = async {
        loop {
            let status = views.status(view).unwrap();
            assert_eq!((status.state, &status.error), (ViewState::Running, &None), "{view}");
            if let Some(job) = views.job_status(view).unwrap()
                && wanted(&job).await
            {
                return;
            }
            let _ = tokio::time::timeout(Duration::from_millis(100), news.recv()).await;
        }
    };
    let timely = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    assert!(timely.is_ok(), "{view}: {:#?}", views.job_status(view).unwrap());
}

async fn rows(views: &Views, sql: &str) -> Result<Vec<Vec<String>>, SqlError> {
    Ok(sorted(text_rows(&collect(views.query(sql).await?).await.unwrap().1)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checkpoints_of_released_versions_are_restored() {
    let numbers = fs::read_dir(folder("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut numbers: Vec<String> = numbers.collect();
    numbers.sort();
    assert_eq!(numbers.first().map(String::as_str), Some("1"));
    for number in numbers {
        goes_on(&folder(&number)).await;
    }
}

async fn goes_on(stored: &Path) {
    let project = Project::new();
    let checkpoints = project.dir.path().join("checkpoints");
    copy(&stored.join("checkpoints"), &checkpoints, |_| true);
    let views = views_of(&project, &read(stored, "project.sql"), &checkpoints, 3);
    run(&project, &views, &read(stored, "before.sql")).await;
    run(&project, &views, &read(stored, "after.sql")).await;
    views.start_all().await;
    for view in names(&views) {
        let query = &views.catalog().view(&view).unwrap().query_text;
        // The last rows bring time past all windows; their own stay open.
        let expected = project.batch(views.catalog(), &format!("SELECT * FROM ({query}) WHERE k <> 'end'")).await;
        let expected = sorted(expected);
        assert!(!expected.is_empty(), "{view}");
        let (mut found, shown) = (Vec::new(), format!("SELECT * FROM {view} WHERE k <> 'end'"));
        let mut tries = 0;
        until(&views, &view, async |job| {
            found = rows(&views, &shown).await.unwrap();
            tries += 1;
            assert!(tries < 500, "{view} of {}: {expected:?}\n{found:?}\n{job:#?}", stored.display());
            found == expected
        })
        .await;
        let job = views.job_status(&view).unwrap().unwrap();
        let most = |table: &str| if table.contains("events") { ROWS[0] } else { ROWS[1] };
        // One row more brings time to its end.
        let is_new = |partition: &mulgil_engine::status::PartitionStatus| {
            partition.rows > 0 && partition.rows as usize <= most(&partition.table) + 1
        };
        assert!(job.partitions.iter().all(is_new), "{view} reads what is new only: {:#?}", job.partitions);
    }
    views.shutdown().await;
}

/// Copies the files of each folder in a folder.
fn copy(from: &Path, to: &Path, wanted: impl Fn(&Path) -> bool) {
    for folder in fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
        let own = to.join(folder.file_name().unwrap());
        fs::create_dir_all(&own).unwrap();
        for file in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if wanted(&file) {
                fs::copy(&file, own.join(file.file_name().unwrap())).unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_format_that_is_not_known_is_refused() {
    let (project, stored) = (Project::new(), folder("1"));
    let checkpoints = project.dir.path().join("checkpoints");
    copy(&stored.join("checkpoints"), &checkpoints, |_| true);
    for folder in fs::read_dir(&checkpoints).unwrap().map(|entry| entry.unwrap().path()) {
        for manifest in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if manifest.extension().is_some_and(|end| end == "checkpoint") {
                let text = fs::read_to_string(&manifest).unwrap();
                let json = text.lines().next().unwrap();
                let json = json.replacen("{\"version\":1,", "{\"version\":999,\"what is\":\"not known\",", 1);
                fs::write(&manifest, format!("{json}\n{:08x}\n", crc32(json.as_bytes()))).unwrap();
            }
        }
    }
    let views = views_of(&project, &read(&stored, "project.sql"), &checkpoints, 1);
    run(&project, &views, &read(&stored, "before.sql")).await;
    views.start_all().await;
    for view in names(&views) {
        let status = views.status(&view).unwrap();
        let error = status.error.unwrap_or_default();
        assert_eq!(status.state, ViewState::Failed, "{view}");
        assert!(error.contains("it is of format 999") && error.contains("mulgil view replay"), "{error}");
    }
    views.shutdown().await;
}

/// The checksum of a manifest (IEEE 802.3, reflected).
fn crc32(bytes: &[u8]) -> u32 {
    let step = |sum: u32, _| if sum & 1 == 1 { (sum >> 1) ^ 0xEDB8_8320 } else { sum >> 1 };
    !bytes.iter().fold(!0, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), step))
}

/// Statements that insert a half of the rows. Time goes on from row to row, out of order by less than the watermark allows.
fn half(which: usize, random: &mut Random) -> String {
    let time = |ms: usize| {
        let (minutes, seconds) = (ms / 60_000, ms / 1_000 % 60);
        format!("TIMESTAMP '2024-01-01 00:{minutes:02}:{seconds:02}.{:03}'", ms % 1_000)
    };
    let last = "TIMESTAMP '2024-01-02 00:00:00'";
    let [events, rates] = ROWS;
    let mut text = String::from("INSERT INTO events VALUES ");
    for row in 0..events {
        let (id, key) = (which * events + row, random.below(6));
        // No two rows of one time.
        let at = time(id * 1_000 + 4_000 - random.below(4) * 1_000 + id % 1_000);
        let (n, d) = (random.below(12), random.below(64));
        let _ = write!(text, "('k{key}', {id}, {n}, {}, {at}), ", d as f64 / 8.0);
    }
    let end = |columns: &str| if which == 1 { format!("('end', {columns}, {last})") } else { String::new() };
    text.push_str(&end("1000, 1, 1.0"));
    let mut text = text.trim_end_matches(", ").to_owned() + ";\nINSERT INTO rates VALUES ";
    for row in 0..rates {
        let number = which * rates + row;
        let _ = write!(text, "('k{}', {}, {}), ", random.below(7), random.below(15), time(number * 6_000 + 2 * number));
    }
    text.push_str(&end("1"));
    text.trim_end_matches(", ").to_owned() + ";\n"
}

/// Writes a folder, where it is asked to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_is_written_when_it_is_asked_for() {
    let Ok(number) = std::env::var("MULGIL_WRITE_FORMAT") else { return };
    let (stored, project) = (folder(&number), Project::new());
    let mut random = Random::new(7);
    fs::write(stored.join("before.sql"), half(0, &mut random)).unwrap();
    fs::write(stored.join("after.sql"), half(1, &mut random)).unwrap();
    let checkpoints = project.dir.path().join("checkpoints");
    let views = views_of(&project, &read(&stored, "project.sql"), &checkpoints, 2);
    run(&project, &views, &read(&stored, "before.sql")).await;
    views.start_all().await;
    for view in names(&views) {
        until(&views, &view, async |job| {
            let all = |partition: &mulgil_engine::status::PartitionStatus| {
                partition.rows as usize == if partition.table.contains("events") { ROWS[0] } else { ROWS[1] }
            };
            let covered = job.checkpoints.as_ref().map_or(0, |made| made.covered_rows);
            job.partitions.iter().all(all) && covered == job.rows_in
        })
        .await;
    }
    views.shutdown().await;
    let kept = stored.join("checkpoints");
    let _ = fs::remove_dir_all(&kept);
    // Of each view the last one.
    let last_of = |file: &Path| {
        let files = fs::read_dir(file.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|end| end == "checkpoint")).max().unwrap()
    };
    copy(&checkpoints, &kept, |file| {
        let last = last_of(file);
        file == last || fs::read_to_string(&last).unwrap().contains(file.file_name().unwrap().to_str().unwrap())
    });
}
