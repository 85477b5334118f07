//! `${...}`: session times, parameters, variables of loops.

use super::Reader;
use crate::shell::{self, Piece, SafeCommand};

/// What Digdag calls the session is the time at which a schedule fires; a Mulgil run is about the interval before it.
const SESSION: [(&str, &str); 9] = [
    ("session_date", "ds"),
    ("session_date_compact", "ds_nodash"),
    ("session_local_time", "ds"),
    ("session_time", "data_interval_end"),
    ("session_uuid", "run_id"),
    ("session_id", "run_id"),
    ("last_session_date", "ds"),
    ("last_session_date_compact", "ds_nodash"),
    ("last_session_time", "data_interval_start"),
];

impl Reader<'_> {
    /// The text with its variables as templates; `None` where one of them is an expression that nobody here computes.
    pub(super) fn template(&mut self, text: &str) -> Option<String> {
        let pieces = self.pieces(text).ok()?;
        Some(
            pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Text(text) => shell::verbatim(text),
                    Piece::Value(expression) => format!("{{{{ {expression} }}}}"),
                })
                .collect(),
        )
    }

    /// A shell command; the error is the expression that cannot be translated.
    pub(super) fn command(&mut self, text: &str) -> Result<SafeCommand, String> {
        self.pieces(text).map(|pieces| shell::join(&pieces))
    }

    fn pieces(&mut self, text: &str) -> Result<Vec<Piece>, String> {
        let constants = self.constants.clone();
        let mut sessions = Vec::new();
        let cut = shell::pieces(text, ("${", '}'), |inner| {
            if let Some(constant) = constants.get(inner) {
                let expression = constant.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
                return Some(match expression.filter(|inner| !inner.contains("{{")) {
                    Some(expression) => Piece::Value(expression.trim().to_owned()),
                    None => Piece::Text(constant.clone()),
                });
            }
            if let Some((name, ours)) = SESSION.iter().find(|(name, _)| *name == inner) {
                sessions.push(*name);
                return Some(Piece::Value((*ours).to_owned()));
            }
            super::is_param(inner).then(|| Piece::Value(format!("params.{inner}")))
        })?;
        for name in sessions.into_iter().filter(|name| !name.starts_with("last_")) {
            self.sessions.insert(name.to_owned());
        }
        for piece in &cut {
            if let Piece::Value(expression) = piece
                && let Some(name) = expression.strip_prefix("params.")
            {
                self.asked.insert(name.to_owned());
            }
        }
        Ok(cut)
    }
}
