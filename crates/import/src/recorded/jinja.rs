//! Airflow's templates: most variables have the same name here; a few mean nearly the same; the rest is said.

use super::Reader;
use crate::shell::{self, Piece};

/// The same, under the same name.
const SAME: [&str; 3] = ["ds", "ds_nodash", "run_id"];
/// Nearly the same: theirs, ours, and what is different.
const NEARLY: [(&str, &str, &str); 10] = [
    ("data_interval_start", "data_interval_start", "written as 2013-01-01T00:00:00Z, not with +00:00"),
    ("data_interval_end", "data_interval_end", "written as 2013-01-01T00:00:00Z, not with +00:00"),
    ("logical_date", "data_interval_start", "the start of the data interval"),
    ("execution_date", "data_interval_start", "the start of the data interval"),
    ("ts", "data_interval_start", "written as 2013-01-01T00:00:00Z, not with +00:00"),
    ("data_interval_start | ds", "ds", "in the flow's time zone"),
    ("logical_date | ds", "ds", "in the flow's time zone"),
    ("execution_date | ds", "ds", "in the flow's time zone"),
    ("dag_run.run_id", "run_id", "a name such as flow/2013-01-01"),
    ("dag_run.logical_date", "data_interval_start", "the start of the data interval"),
];

impl Reader<'_> {
    /// The pieces of a template, and what is different; the error is what cannot be translated.
    pub(super) fn translated(&mut self, text: &str) -> Result<(Vec<Piece>, Option<String>), String> {
        if text.contains("{%") {
            return Err("statements of a template ({% ... %}) are not translated".to_owned());
        }
        let (mut different, mut params) = (Vec::new(), Vec::new());
        let pieces = shell::pieces(text, ("{{", '}'), |inner| {
            let inner = inner.trim().trim_matches('-').trim();
            if SAME.contains(&inner) {
                return Some(Piece::Value(inner.to_owned()));
            }
            if let Some((theirs, ours, why)) = NEARLY.iter().find(|(theirs, ..)| *theirs == inner) {
                different.push(format!("{theirs}: {why}"));
                return Some(Piece::Value((*ours).to_owned()));
            }
            let name = |prefix: &str| inner.strip_prefix(prefix).filter(|name| is_name(name)).map(str::to_owned);
            if let Some(name) = name("params.") {
                params.push(name);
                return Some(Piece::Value(inner.to_owned()));
            }
            let name = name("var.value.").or_else(|| name("dag_run.conf."))?;
            different.push(format!("{inner}: it is the parameter {name} now"));
            params.push(name.clone());
            Some(Piece::Value(format!("params.{name}")))
        })
        .map_err(|what| {
            format!("{} is not translated: write it by hand", what.trim_end_matches('}').to_owned() + "}}")
        })?;
        for name in params {
            if !self.draft.has_in("params", &name) {
                self.draft.set_in("params", &name, "");
            }
        }
        // The second brace of `}}` is left at the front of the text that follows.
        let mut after_value = false;
        let pieces = pieces.into_iter().filter_map(|piece| {
            let was_value = std::mem::replace(&mut after_value, matches!(piece, Piece::Value(_)));
            match piece {
                Piece::Text(text) if was_value => {
                    let text = text.strip_prefix('}').map(str::to_owned).unwrap_or(text);
                    (!text.is_empty()).then_some(Piece::Text(text))
                }
                other => Some(other),
            }
        });
        Ok((pieces.collect(), (!different.is_empty()).then(|| different.join("; "))))
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
