//! The tables over the files, as `CREATE TABLE` declares them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, anyhow};
use mulgil_connect::connectors::{Connectors, ConnectorsOptions};
use mulgil_sql::catalog::Catalog;
use mulgil_sql::statement::parse_statements;

use crate::query::Query;

const PERSON: &str = "id BIGINT, name VARCHAR, email_address VARCHAR, credit_card VARCHAR, city VARCHAR, state VARCHAR, \
                      date_time TIMESTAMP(3), extra VARCHAR";
const AUCTION: &str = "id BIGINT, item_name VARCHAR, description VARCHAR, initial_bid BIGINT, reserve BIGINT, \
                       date_time TIMESTAMP(3), expires TIMESTAMP(3), seller BIGINT, category BIGINT, extra VARCHAR";
const BID: &str = "auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR, \
                   date_time TIMESTAMP(3), extra VARCHAR";
const WATERMARK: &str = "WATERMARK FOR date_time AS date_time - INTERVAL '4' SECOND";

/// The connectors over a folder of files.
pub fn connectors(dir: &Path) -> Arc<Connectors> {
    let options = ConnectorsOptions {
        project_dir: dir.to_owned(),
        lake_dir: dir.join("lake"),
        log: None,
        object_storage: Default::default(),
    };
    Arc::new(Connectors::new(options))
}

/// The tables that a query needs.
///
/// # Errors
/// A table cannot be declared.
pub fn catalog(query: &Query, connectors: &Connectors) -> Result<Catalog> {
    let mut catalog = Catalog::default();
    for (name, columns, path) in [
        ("person", format!("{PERSON}, {WATERMARK}"), "person"),
        ("auction", format!("{AUCTION}, {WATERMARK}"), "auction"),
        ("bid", format!("{BID}, {WATERMARK}"), "bid"),
        ("bid_now", format!("{BID}, p_time AS PROCTIME()"), "bid"),
        ("side_input", "id BIGINT, word VARCHAR".to_owned(), "side_input"),
    ] {
        if query.text.contains(name) || name == "bid" {
            let table = format!("CREATE TABLE {name} ({columns}) {}", files(path));
            declare(&mut catalog, &table, connectors)?;
        }
    }
    if let Some(sink) = query.file_sink {
        declare(&mut catalog, &sink.replace("{files}", &files("written")), connectors)?;
    }
    Ok(catalog)
}

fn files(path: &str) -> String {
    format!("WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'parquet')")
}

fn declare(catalog: &mut Catalog, table: &str, connectors: &Connectors) -> Result<()> {
    let file = PathBuf::from("tables.sql");
    let (statements, problems) = parse_statements(&file, table);
    if let Some(problem) = problems.into_iter().next() {
        return Err(anyhow!("{problem}"));
    }
    for statement in &statements {
        catalog.declare(statement, &file, connectors).map_err(|problem| anyhow!("{problem}"))?;
    }
    Ok(())
}
