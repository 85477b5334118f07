//! `ui/openapi.json` is what the web UI makes its types from: it must be the document of this very server.

use std::path::Path;

#[test]
fn the_checked_in_document_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ui/openapi.json");
    let now = mulgil_server::api::openapi().to_pretty_json().unwrap() + "\n";
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &now).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == now,
        "ui/openapi.json differs from the server's routes; run: UPDATE_OPENAPI=1 cargo test -p mulgil-server --test server openapi"
    );
}
