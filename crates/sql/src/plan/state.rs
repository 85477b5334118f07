//! DataFusion's session state, set up for our dialect.

use std::sync::{Arc, LazyLock};

use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{FunctionRegistry, SessionState, SessionStateBuilder};
use datafusion::prelude::SessionConfig;

use super::{above_totals, functions, processing_time};

/// What a session may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StateOptions {
    pub(crate) memory_limit_bytes: usize,
    pub(crate) target_partitions: usize,
    pub(crate) batch_size_rows: usize,
}

/// A partition with less memory is not worth having: what sorts there has to hold some batches, and others share it.
const PARTITION_BYTES_MIN: usize = 64 * 1_024 * 1_024;
/// A partition's memory is cut into so many pieces: a batch of wide rows takes about one, and what a sort keeps aside for merging
/// its files another.
const PIECES: usize = 32;
/// The bytes of a wide row.
const WIDE_ROW_BYTES: usize = 1_024;
/// Fewer rows in a batch are not worth its making.
const BATCH_ROWS_MIN: usize = 64;

fn config() -> SessionConfig {
    let mut config = SessionConfig::new().with_information_schema(false);
    let options = config.options_mut();
    options.sql_parser.collect_spans = true;
    options.sql_parser.map_string_types_to_utf8view = false;
    config
}

fn builder() -> SessionStateBuilder {
    SessionStateBuilder::new().with_default_features().with_optimizer_rules(above_totals::rules())
}

fn with_functions(mut state: SessionState) -> SessionState {
    for function in functions::scalar_functions(&state) {
        state.register_udf(function).ok();
    }
    state.register_udf(Arc::new(processing_time::function())).ok();
    for function in functions::aggregate_functions(&state) {
        state.register_udaf(function).ok();
    }
    state
}

/// The state that plans and checks, and runs nothing. Made once.
pub(crate) fn planning_state() -> &'static SessionState {
    static STATE: LazyLock<SessionState> = LazyLock::new(|| with_functions(builder().with_config(config()).build()));
    &STATE
}

/// A state that runs queries within its limits; what does not fit into memory goes to temporary files. With little memory there are
/// fewer partitions and smaller batches, so that a sort can hold some and write the others.
pub(crate) fn session_state(options: StateOptions) -> Result<SessionState, DataFusionError> {
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(options.memory_limit_bytes)))
        .build_arc()?;
    let partitions = options.target_partitions.min(options.memory_limit_bytes / PARTITION_BYTES_MIN).max(1);
    let piece_bytes = options.memory_limit_bytes / partitions / PIECES;
    let batch_rows = options.batch_size_rows.min((piece_bytes / WIDE_ROW_BYTES).max(BATCH_ROWS_MIN));
    let mut config = config().with_target_partitions(partitions).with_batch_size(batch_rows);
    let kept_aside_bytes = &mut config.options_mut().execution.sort_spill_reservation_bytes;
    *kept_aside_bytes = piece_bytes.min(*kept_aside_bytes);
    Ok(with_functions(builder().with_config(config).with_runtime_env(runtime).build()))
}
