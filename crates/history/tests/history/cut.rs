//! A door before PostgreSQL that can be slammed while a commit passes through it: before it has reached the server, or after, when
//! only the answer is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

/// When to slam it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    Never = 0,
    BeforeTheCommit = 1,
    AfterTheCommit = 2,
    /// Not slammed, but nothing passes any more: as if the program stood still.
    HoldTheCommit = 3,
}

/// The door.
pub(crate) struct Door {
    folder: TempDir,
    cut: Arc<AtomicU8>,
}

impl Door {
    /// Before the server whose URL this is.
    pub(crate) fn before(url: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("mulgil-door-").tempdir_in("/tmp").unwrap();
        let listener = UnixListener::bind(folder.path().join(".s.PGSQL.5432")).unwrap();
        let behind = format!("{}/.s.PGSQL.5432", host_of(url).replace("%2F", "/"));
        let cut = Arc::new(AtomicU8::new(Cut::Never as u8));
        let told = Arc::clone(&cut);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = UnixStream::connect(&behind).await.unwrap();
                tokio::spawn(pass(client, server, Arc::clone(&told)));
            }
        });
        Self { folder, cut }
    }

    /// The URL of the same database through the door.
    pub(crate) fn url(&self, url: &str) -> String {
        url.replace(host_of(url), &self.folder.path().display().to_string().replace('/', "%2F"))
    }

    /// Slams it at the next commit, once.
    pub(crate) fn slam(&self, cut: Cut) {
        self.cut.store(cut as u8, Ordering::SeqCst);
    }
}

fn host_of(url: &str) -> &str {
    let (_, rest) = url.split_once('@').unwrap();
    rest.split_once('/').unwrap().0
}

async fn pass(mut client: UnixStream, mut server: UnixStream, cut: Arc<AtomicU8>) {
    let (mut asked, mut answered) = (vec![0; 65536], vec![0; 65536]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(length @ 1..) = read else { return };
                let is_commit = asked[..length].windows(6).any(|window| window == b"COMMIT");
                let told = if is_commit { cut.swap(Cut::Never as u8, Ordering::SeqCst) } else { Cut::Never as u8 };
                if told == Cut::BeforeTheCommit as u8 {
                    return;
                }
                if told == Cut::HoldTheCommit as u8 {
                    std::future::pending::<()>().await;
                }
                server.write_all(&asked[..length]).await.unwrap();
                if told == Cut::AfterTheCommit as u8 {
                    // The server has done it; what it says is read and kept.
                    let _ = server.read(&mut answered).await;
                    return;
                }
            }
            read = server.read(&mut answered) => {
                let Ok(length @ 1..) = read else { return };
                if client.write_all(&answered[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}
