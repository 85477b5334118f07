//! Storage that fails: the message names table and place, the table stays as it was, and goes on afterwards.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use futures::stream::BoxStream;
use mulgil_connect::connectors::{Connectors, ConnectorsOptions};
use mulgil_connect::lake::Lake;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::project::{Project, partitioned_by, query, select, table};

/// Local storage on a disk with room for some bytes.
#[derive(Debug)]
struct SmallDisk {
    storage: Arc<dyn ObjectStore>,
    free_bytes: AtomicI64,
}

impl fmt::Display for SmallDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SmallDisk({})", self.storage)
    }
}

#[async_trait]
impl ObjectStore for SmallDisk {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let bytes = payload.content_length() as i64;
        if self.free_bytes.fetch_sub(bytes, Ordering::SeqCst) < bytes {
            let source = io::Error::from(io::ErrorKind::StorageFull);
            return Err(Error::Generic { store: "local", source: source.into() });
        }
        self.storage.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(&self, at: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.storage.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.storage.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.storage.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.storage.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.storage.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.storage.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn a_full_disk_leaves_the_table_as_it_was() {
    let project = Project::new();
    let disk = Arc::new(SmallDisk { storage: Lake::durable_storage(), free_bytes: AtomicI64::new(i64::MAX) });
    let dir = project.dir.path().to_owned();
    let lake = Lake::with_storage(dir.clone(), dir.join("lake"), Arc::clone(&disk) as Arc<dyn ObjectStore>);
    let connectors = Connectors::with_lake(options(&dir), lake);
    let table = partitioned_by(table("raw.t", "x BIGINT, day STRING", &[("connector", "delta")]), &["day"]);
    let writer = connectors.writer(&table).unwrap();
    let one = vec![("day".to_owned(), "one".to_owned())];
    let rows = |to: u32| format!("SELECT value AS x, 'one' AS day FROM generate_series(1, {to})");
    writer.replace_partition(&one, select(&rows(10)).await).await.unwrap();
    let sum = "SELECT sum(x) AS s FROM t";
    let mut refused = 0;
    // With too little room for the file, for the file but not the commit, and at last for both.
    for free_bytes in (0..4000).step_by(250) {
        disk.free_bytes.store(free_bytes, Ordering::SeqCst);
        let written = writer.replace_partition(&one, select(&rows(20)).await).await;
        disk.free_bytes.store(i64::MAX, Ordering::SeqCst);
        let now = query(&connectors, &table, sum).await.unwrap();
        match written {
            Ok(_) => assert!(now.contains("| 210 |"), "{now}"),
            Err(error) => {
                let error = error.to_string().replace(&dir.display().to_string(), "");
                assert!(error.starts_with("lake table raw.t: cannot "), "{error}");
                let words = "no space is left on the disk that holds /lake/raw/t; free some and run it again. The table is unchanged";
                assert!(error.ends_with(words), "{error}");
                assert!(now.contains("| 55 |"), "with {free_bytes} bytes: {now}");
                refused += 1;
            }
        }
    }
    assert!((3..16).contains(&refused), "{refused} of 16 were refused");
}

#[tokio::test]
async fn a_disk_that_is_full_from_the_start_is_said_so() {
    let project = Project::new();
    let disk = Arc::new(SmallDisk { storage: Lake::durable_storage(), free_bytes: AtomicI64::new(0) });
    let dir = project.dir.path().to_owned();
    let connectors = Connectors::with_lake(options(&dir), Lake::with_storage(dir.clone(), dir.join("lake"), disk));
    let table = table("t", "x BIGINT", &[("connector", "delta")]);
    let error = connectors.writer(&table).unwrap().append(select("SELECT 1 AS x").await).await.unwrap_err();
    assert!(error.to_string().contains("lake table t: cannot open the table: no space is left"), "{error}");
    assert!(query(&connectors, &table, "SELECT count(*) AS n FROM t").await.unwrap().contains("| 0 |"));
}

#[tokio::test]
async fn files_that_no_commit_names_are_not_read() {
    let project = Project::new();
    let table = table("t", "x BIGINT", &[("connector", "delta")]);
    project.connectors.writer(&table).unwrap().append(select("SELECT 1 AS x").await).await.unwrap();
    let folder = project.path("lake/public/t");
    let written = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let written = written.into_iter().find(|path| path.extension().is_some_and(|name| name == "parquet")).unwrap();
    std::fs::copy(&written, folder.join("part-00000-killed.snappy.parquet")).unwrap();
    std::fs::write(folder.join("_delta_log/.mulgil-killed"), "half a com").unwrap();
    let count = "SELECT count(*) AS n FROM t";
    assert!(project.query(&table, count).await.unwrap().contains("| 1 |"));
    assert!(query(&project.reopened(), &table, count).await.unwrap().contains("| 1 |"));
    let other = project.reopened();
    other.writer(&table).unwrap().append(select("SELECT 2 AS x").await).await.unwrap();
    assert!(project.query(&table, count).await.unwrap().contains("| 2 |"));
}

fn options(dir: &std::path::Path) -> ConnectorsOptions {
    ConnectorsOptions {
        project_dir: dir.to_owned(),
        lake_dir: dir.join("lake"),
        log: None,
        object_storage: mulgil_connect::object_storage::ObjectStorageOptions::default(),
    }
}
