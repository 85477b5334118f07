//! The `mulgil` program.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    mulgil_cli::run().await
}
