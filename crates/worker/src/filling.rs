//! Templates in the options of tables: `'url' = 'https://example.org/rates?day={{ ds }}'`, `'path' = 'landing/{{ ds }}.csv'`. A task
//! fills in the values of its run. References to secrets stay: connectors look them up.

use std::sync::Arc;

use mulgil_flow::{Quote, Variables, render};
use mulgil_sql::catalog::Catalog;

/// The tables with the run's values in their options. What has no value in this run, `ds` where it has no interval, stays as it is
/// written: only a task that uses the table has to know.
pub(crate) fn filled(catalog: &Arc<Catalog>, variables: &Variables) -> Arc<Catalog> {
    Catalog::with_options(catalog, |text| text.contains("{{").then(|| fill(text, variables)))
}

/// The text with each template but those of secrets filled in.
fn fill(text: &str, variables: &Variables) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        filled.push_str(before);
        let Some((inner, end)) = after.split_once("}}") else {
            filled.push_str("{{");
            rest = after;
            continue;
        };
        let template = format!("{{{{{inner}}}}}");
        let is_secret = inner.trim().starts_with("secrets.");
        let value = if is_secret { None } else { render(&template, variables, Quote::None).ok() };
        filled.push_str(&value.unwrap_or(template));
        rest = end;
    }
    filled + rest
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use super::*;
    use jiff::tz::TimeZone;

    #[test]
    fn values_are_filled_in_and_secrets_and_what_is_unknown_stay() {
        let mut variables = Variables {
            interval: None,
            timezone: TimeZone::UTC,
            run_id: "f/1".to_owned(),
            params: Default::default(),
            connections: Default::default(),
            secrets: None,
            item: Some("KE".into()),
            results: Default::default(),
        };
        let text = "{{ secrets.key }}/{{ ds }}/{{item}}?a={{ 'x' | upper }}{{ {";
        assert_eq!(fill(text, &variables), "{{ secrets.key }}/{{ ds }}/KE?a=X{{ {");
        let (start, end) = ("2013-03-10T00:00:00Z".parse().unwrap(), "2013-03-11T00:00:00Z".parse().unwrap());
        variables.interval = Some(mulgil_flow::DataInterval { start, end });
        assert_eq!(fill(text, &variables), "{{ secrets.key }}/2013-03-10/KE?a=X{{ {");
    }
}
