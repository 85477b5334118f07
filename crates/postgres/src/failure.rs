//! What the server or the connection said, and whether it passes.

use tokio_postgres::Error;

/// The whole of what was said, in one line.
pub fn words(error: &Error) -> String {
    let mut words = match error.as_db_error() {
        Some(said) => {
            // Where in what was sent it is wrong, and with which value.
            let more = [said.detail(), said.where_().and_then(|place| place.lines().next())];
            let more = more.into_iter().flatten().map(|more| format!("; {more}"));
            more.fold(said.message().to_owned(), |words, more| words + &more)
        }
        None => error.to_string(),
    };
    let mut cause = std::error::Error::source(error).filter(|_| error.as_db_error().is_none());
    while let Some(next) = cause {
        words.push_str(": ");
        words.push_str(&next.to_string());
        cause = next.source();
    }
    words
}

/// Whether it may work later, with nothing changed here: the server is away, starts, stops, is full, or has undone one of two that
/// waited for each other.
pub fn passes(error: &Error) -> bool {
    /// Classes of states: connections, transactions undone, resources, operators who intervene, the system below.
    const CLASSES: [&str; 5] = ["08", "40", "53", "57", "58"];
    /// A statement cancelled by its time limit would be cancelled again; a transaction may only read while a standby takes over, and
    /// is undone where this program stood still in the middle of it.
    const CANCELED: &str = "57014";
    const ALSO: [&str; 3] = ["25006", "25P03", "55P03"];
    if let Some(code) = error.code() {
        let code = code.code();
        return code != CANCELED && (CLASSES.iter().any(|class| code.starts_with(class)) || ALSO.contains(&code));
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(next) = cause {
        // A certificate that is not believed is invalid data to the TLS library.
        if let Some(error) = next.downcast_ref::<std::io::Error>() {
            return error.kind() != std::io::ErrorKind::InvalidData;
        }
        cause = next.source();
    }
    error.is_closed() || error.to_string().starts_with("timeout")
}
