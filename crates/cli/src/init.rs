//! `mulgil init`: a new project with one table, one view and one flow that run as they are.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::arguments::Example;
use crate::output::remark;
use crate::{bundle, flights};

const FILES: [(&str, &str); 6] = [
    ("mulgil.yaml", include_str!("../templates/mulgil.yaml")),
    ("sources/orders.sql", include_str!("../templates/orders.sql")),
    ("views/orders_per_day.sql", include_str!("../templates/orders_per_day.sql")),
    ("flows/report.yaml", include_str!("../templates/report.yaml")),
    ("data/orders.csv", include_str!("../templates/orders.csv")),
    (".gitignore", ".mulgil/\nreports/\n"),
];

/// Makes a project in `folder`, which must be new or empty.
pub(crate) fn execute(folder: &Path, example: Option<Example>) -> Result<()> {
    let is_taken = folder.read_dir().is_ok_and(|mut entries| entries.next().is_some());
    ensure!(!is_taken, "{} is not empty: name a new folder", folder.display());
    match example {
        Some(Example::Flights) => return flights::lay_out(folder).map(drop),
        Some(Example::AbTest) => {
            bundle::write_all::<bundle::AbTest>(folder)?;
            remark(&format!("{} is a project now; its README.md says what to do with it", folder.display()));
            return Ok(());
        }
        None => {}
    }
    for (name, text) in FILES {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).with_context(|| format!("failed to make {}", parent.display()))?;
        }
        std::fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))?;
    }
    remark(&format!(
        "{0} is a project now. Next:\n  mulgil server --project {0}\n  mulgil sql --project {0} -c \"SELECT * FROM orders_per_day\"",
        folder.display()
    ));
    Ok(())
}
