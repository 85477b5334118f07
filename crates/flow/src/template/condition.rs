//! Conditions (`when: results.check.rows > 0`), and which results a text reads.

use std::collections::{BTreeMap, BTreeSet};

use super::{Names, TemplateError, Variables, environment, errors_in, findings_in, located};
use crate::{Param, Quote};

/// Whether a condition is true: an expression as it stands between `{{` and `}}`, which may be written around it.
///
/// Of other values than true and false those are true that are not empty and not zero, as in Jinja.
pub fn holds(condition: &str, variables: &Variables) -> Result<bool, TemplateError> {
    let template = as_template(condition);
    let environment = environment(Quote::None);
    let compiled = environment.template_from_str(&template).map_err(|error| shifted(located(&template, &error)))?;
    if let Some(error) = findings_in(&template, &compiled, &variables.names(), Quote::None).into_iter().next() {
        return Err(shifted(error));
    }
    let expression = environment.compile_expression(bare(condition));
    let value = expression.and_then(|expression| expression.eval(variables.context()));
    value.map(|value| value.is_true()).map_err(|error| located(condition, &error))
}

/// Everything that is wrong with a condition, as far as can be known before a run.
pub(crate) fn errors_in_condition(
    condition: &str,
    names: &Names,
    params: &BTreeMap<String, Param>,
) -> Vec<TemplateError> {
    errors_in(&as_template(condition), names, params, Quote::None).into_iter().map(shifted).collect()
}

/// The expression without braces around it.
fn bare(condition: &str) -> &str {
    let inner = condition.trim().strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
    inner.unwrap_or(condition).trim()
}

/// In exactly two braces before it, so that places can be told.
fn as_template(condition: &str) -> String {
    let blank = bare(condition).len() != condition.trim().len();
    let inner = if blank { condition.trim_end().replacen("{{", "  ", 1) } else { condition.to_owned() };
    let inner = if blank { inner.trim_end_matches('}') } else { &inner };
    format!("{{{{{inner}}}}}")
}

/// The place in the condition of a place in its template.
fn shifted(mut error: TemplateError) -> TemplateError {
    if error.line == 1 {
        error.column = error.column.saturating_sub(2).max(1);
    }
    error
}

/// Which results a text reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResultsRead {
    /// Those of these tasks: maybe of none.
    Of(BTreeSet<String>),
    /// It cannot be told: maybe all.
    All,
}

impl ResultsRead {
    /// What two texts read together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Of(mut one), Self::Of(other)) => {
                one.extend(other);
                Self::Of(one)
            }
            _ => Self::All,
        }
    }
}

/// Which results a template or a condition reads.
#[must_use]
pub fn results_read(text: &str) -> ResultsRead {
    if !text.contains("results") {
        return ResultsRead::Of(BTreeSet::new());
    }
    let template = if text.contains("{{") || text.contains("{%") { text.to_owned() } else { as_template(text) };
    let environment = environment(Quote::None);
    let Ok(compiled) = environment.template_from_str(&template) else { return ResultsRead::All };
    let mut read = BTreeSet::new();
    for name in compiled.undeclared_variables(true) {
        match name.split_once('.') {
            Some(("results", rest)) => {
                read.insert(rest.split('.').next().unwrap_or(rest).to_owned());
            }
            None if name == "results" => return ResultsRead::All,
            _ => {}
        }
    }
    ResultsRead::Of(read)
}
