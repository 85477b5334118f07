//! Secrets in the options of tables: `'password' = '{{ secrets.db }}'`. The definition keeps the reference; what it stands for is
//! looked up when the table is used.

use std::borrow::Cow;
use std::sync::Arc;

use crate::definition::TableDefinition;
use crate::error::ConnectError;
use crate::options::refusal;

/// Finds the value of a secret by its name, or says why not.
pub type SecretLookup = Arc<dyn Fn(&str) -> Result<String, String> + Send + Sync>;

/// The definition with its secrets in place.
pub(crate) fn resolved<'a>(
    table: Cow<'a, TableDefinition>,
    lookup: Option<&SecretLookup>,
) -> Result<Cow<'a, TableDefinition>, ConnectError> {
    if !table.options.values().any(|value| value.contains("{{")) {
        return Ok(table);
    }
    let mut table = table.into_owned();
    let mut options = table.options.clone();
    for (option, value) in &mut options {
        *value = value_of(value, lookup).map_err(|reason| refusal(&table, format!("option '{option}': {reason}")))?;
    }
    table.options = options;
    Ok(Cow::Owned(table))
}

/// The text with each `{{ secrets.NAME }}` replaced. Other braces are left as they are.
fn value_of(text: &str, lookup: Option<&SecretLookup>) -> Result<String, String> {
    let mut value = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        value.push_str(before);
        let inner = after.split_once("}}").and_then(|(inner, end)| Some((inner.trim().strip_prefix("secrets.")?, end)));
        match (inner, lookup) {
            (Some((name, end)), Some(lookup)) => {
                value.push_str(&lookup(name.trim())?);
                rest = end;
            }
            (Some((name, _)), None) => return Err(format!("secret {name} is not known here: there is no project")),
            (None, _) => {
                value.push_str("{{");
                rest = after;
            }
        }
    }
    value.push_str(rest);
    Ok(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use super::*;

    #[test]
    fn a_reference_becomes_its_secret_and_other_braces_stay() {
        let lookup: SecretLookup = Arc::new(|name| match name {
            "db" => Ok("hunter{{2}}".to_owned()),
            other => Err(format!("there is no secret {other}")),
        });
        let value = |text| value_of(text, Some(&lookup));
        assert_eq!(value("a {{ secrets.db }}{{secrets.db}} z").unwrap(), "a hunter{{2}}hunter{{2}} z");
        assert_eq!(value("{{ ds }} {{ {").unwrap(), "{{ ds }} {{ {");
        assert_eq!(value("{{ secrets.other }}").unwrap_err(), "there is no secret other");
        assert!(value_of("{{ secrets.db }}", None).is_err());
    }
}
