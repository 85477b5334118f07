//! The files of a checkpoint: the bytes up to the first empty line are a manifest, the rest is its state file. The manifest's
//! checksum is mended, or nothing behind it would ever be reached.

use std::fs;
use std::path::{Path, PathBuf};

use mulgil_dataflow::graph::Graph;
use mulgil_engine::checkpoint::{CheckpointFolder, CheckpointOptions};
use mulgil_sql::session::Session;

use crate::project::Project;

thread_local! {
    static GRAPH: Graph = graph();
}

/// A query with state.
fn graph() -> Graph {
    let topic = "'connector' = 'log', 'topic' = 't', 'format' = 'json'".to_owned();
    let project = Project::new(&[("k VARCHAR, v BIGINT", topic)]);
    let (catalog, connectors) = project.into_parts();
    let session = Session::new(catalog, connectors);
    session.stream_graph("SELECT k, count(*), sum(v) FROM t0 GROUP BY k").expect("a graph")
}

/// Reads the checkpoint.
pub fn check(input: &[u8]) {
    let end = input.windows(2).position(|pair| pair == b"\n\n").unwrap_or(input.len());
    let (manifest, state) = (input.get(..end).unwrap_or_default(), input.get(end + 2..).unwrap_or_default());
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut text = manifest.to_vec();
    text.extend_from_slice(format!("\n{:08x}\n", crc32fast::hash(manifest)).as_bytes());
    let file = |name: &str| -> PathBuf { dir.path().join(name) };
    fs::write(file("00000001.checkpoint"), text).expect("a manifest");
    fs::write(file("00000001.state"), state).expect("a state file");
    GRAPH.with(|graph| read(dir.path(), graph));
}

fn read(folder: &Path, graph: &Graph) {
    let options = CheckpointOptions::new(folder.to_owned());
    let Ok((mut checkpoints, found)) = CheckpointFolder::open(&options, graph, 2) else { return };
    if let Ok(Some((manifest, _))) = found.newest(folder, graph) {
        checkpoints.go_on_from(&manifest);
    }
}
