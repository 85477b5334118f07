//! The rules of parameters: a type that all its values have, and limits that its default keeps.

use serde_json::Value;

use crate::findings::Findings;
use crate::limits::{is_ordered, whole};
use crate::raw::{RawParam, RawParamInFull};
use crate::read::Anything;
use crate::{Limits, Param, ParamType};

/// A declared parameter; `None` where a finding says why not.
pub(super) fn param(raw: RawParam, findings: &mut Findings) -> Option<Param> {
    let raw = match raw {
        RawParam::Default(default) => RawParamInFull { default: Some(default), ..RawParamInFull::default() },
        RawParam::InFull(raw) => *raw,
    };
    let default = raw.default.clone().filter(|default| default.0 != Value::Null);
    let param_type = match (&raw.param_type, &default) {
        (Some(declared), _) => declared.value,
        (None, None) => ParamType::String,
        (None, Some(default)) => match ParamType::of(&default.0) {
            Some(param_type) => param_type,
            None => {
                let remedy = "write a text, a number, true, false or a date".to_owned();
                findings.add(default.1, "a parameter takes a single value", Some(remedy));
                return None;
            }
        },
    };
    let description = raw.description.clone().map(|text| text.value);
    let limits = limits(raw, param_type, findings);
    let Some(default) = default else { return Some(Param { param_type, default: None, limits, description }) };
    let accepted = param_type.accept(&default.0);
    match &accepted {
        None => {
            let message = format!("the default {} is not of type {}", default.0, param_type.word());
            findings.add(default.1, message, Some("change the default or the type".to_owned()));
        }
        Some(value) if !limits.allow(value) => {
            let message = format!("the default {} is not {limits}", default.0);
            findings.add(default.1, message, Some("change the default or the limits".to_owned()));
        }
        Some(_) => {}
    }
    Some(Param { param_type, default: accepted, limits, description })
}

fn limits(raw: RawParamInFull, param_type: ParamType, findings: &mut Findings) -> Limits {
    let value = |what: &str, raw: Anything, findings: &mut Findings| {
        let accepted = param_type.accept(&raw.0);
        if accepted.is_none() {
            let message = format!("{what} {} is not of type {}", raw.0, param_type.word());
            findings.add(raw.1, message, Some("change it, or the type".to_owned()));
        }
        accepted
    };
    let mut limits = Limits::default();
    for choice in raw.choices.into_iter().flatten() {
        limits.choices.extend(value("choice", choice, findings));
    }
    let has_order = matches!(param_type, ParamType::Integer | ParamType::Number | ParamType::Date);
    for (what, given) in [("min", &raw.min), ("max", &raw.max)] {
        if let Some(Anything(_, at)) = given.as_ref().filter(|_| !has_order) {
            let remedy = "numbers and dates have one; a text has a pattern or choices".to_owned();
            findings.add(*at, format!("a {} has no {what}", param_type.word()), Some(remedy));
        }
    }
    if has_order {
        limits.min = raw.min.and_then(|min| value("min", min, findings));
        let at = raw.max.as_ref().map(|max| max.1);
        limits.max = raw.max.and_then(|max| value("max", max, findings));
        if let (Some(min), Some(max), Some(at)) = (&limits.min, &limits.max, at)
            && !is_ordered(min, max)
        {
            findings.add(at, format!("max {max} is before min {min}"), Some("exchange them".to_owned()));
        }
    }
    if let Some(pattern) = raw.pattern {
        match whole(&pattern.value) {
            _ if param_type != ParamType::String => {
                let message = format!("a {} has no pattern", param_type.word());
                findings.add(pattern.at, message, Some("only texts have one".to_owned()));
            }
            Err(_) => {
                let message = format!("{:?} is no regular expression", pattern.value);
                findings.add(pattern.at, message, Some("write for example [A-Z]{3}".to_owned()));
            }
            Ok(_) => limits.pattern = Some(pattern.value),
        }
    }
    limits
}
