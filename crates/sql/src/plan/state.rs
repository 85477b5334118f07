//! DataFusion's session state, set up for our dialect.

use std::sync::{Arc, LazyLock};

use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{FunctionRegistry, SessionState, SessionStateBuilder};
use datafusion::prelude::SessionConfig;

use super::{functions, processing_time};

/// What a session may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StateOptions {
    pub(crate) memory_limit_bytes: usize,
    pub(crate) target_partitions: usize,
    pub(crate) batch_size_rows: usize,
}

fn config() -> SessionConfig {
    let mut config = SessionConfig::new().with_information_schema(false);
    let options = config.options_mut();
    options.sql_parser.collect_spans = true;
    options.sql_parser.map_string_types_to_utf8view = false;
    config
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
    static STATE: LazyLock<SessionState> = LazyLock::new(|| {
        with_functions(SessionStateBuilder::new().with_config(config()).with_default_features().build())
    });
    &STATE
}

/// A state that runs queries within its limits; what does not fit into memory goes to temporary files.
pub(crate) fn session_state(options: StateOptions) -> Result<SessionState, DataFusionError> {
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(options.memory_limit_bytes)))
        .build_arc()?;
    let config = config().with_target_partitions(options.target_partitions).with_batch_size(options.batch_size_rows);
    let state =
        SessionStateBuilder::new().with_config(config).with_runtime_env(runtime).with_default_features().build();
    Ok(with_functions(state))
}
