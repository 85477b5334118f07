//! The examples that the program brings along, written into a project's folder.

use std::path::Path;

use anyhow::{Context, Result};
use rust_embed::RustEmbed;

/// `examples/ab-test`.
#[derive(RustEmbed)]
#[folder = "../../examples/ab-test"]
#[exclude = ".mulgil/*"]
#[exclude = "__pycache__/*"]
pub(crate) struct AbTest;

/// Writes one of the files of an example.
pub(crate) fn write<B: RustEmbed>(folder: &Path, name: &str) -> Result<()> {
    let file = B::get(name).with_context(|| format!("the program was built without {name}"))?;
    let path = folder.join(name);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).with_context(|| format!("failed to make {}", parent.display()))?;
    }
    std::fs::write(&path, &file.data).with_context(|| format!("failed to write {}", path.display()))?;
    if file.data.starts_with(b"#!") {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))
            .with_context(|| format!("failed to make {} executable", path.display()))?;
    }
    Ok(())
}

/// Writes all files of an example.
pub(crate) fn write_all<B: RustEmbed>(folder: &Path) -> Result<()> {
    B::iter().try_for_each(|name| write::<B>(folder, &name))
}
