//! Errors on their way to the client.

use pgwire::error::{ErrorInfo, PgWireError};

use crate::service::QueryError;

const ERROR: &str = "ERROR";

impl From<QueryError> for PgWireError {
    fn from(error: QueryError) -> Self {
        let mut info = ErrorInfo::new(ERROR.to_owned(), error.code.to_owned(), error.message);
        // Clients that translate the severity read this one.
        info.severity_nonlocalized = Some(ERROR.to_owned());
        info.hint = error.hint;
        info.position = error.position.map(|position| position.to_string());
        PgWireError::UserError(Box::new(info))
    }
}

/// An error that ends the connection.
pub(crate) fn fatal(code: &str, message: impl Into<String>) -> PgWireError {
    let mut info = ErrorInfo::new("FATAL".to_owned(), code.to_owned(), message.into());
    info.severity_nonlocalized = Some("FATAL".to_owned());
    PgWireError::UserError(Box::new(info))
}

/// The query was ended from outside: by its client, or by its time limit.
pub(crate) fn cancelled(reason: &str) -> PgWireError {
    QueryError::new("57014", format!("canceling statement due to {reason}")).into()
}
