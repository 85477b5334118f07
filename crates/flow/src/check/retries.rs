//! The rules of `retries:`.

use jiff::SignedDuration;

use super::value::duration;
use crate::findings::Findings;
use crate::raw::retries::RawRetries;
use crate::read::OneOrMany;
use crate::{ErrorKind, FaultPattern, Retries};

/// More retries than this are an accident.
const RETRIES_MAX: u32 = 100;

/// Retries with their defaults.
pub(super) fn retries(raw: RawRetries, findings: &mut Findings) -> Retries {
    let raw = raw.in_full();
    match &raw.limit {
        None if raw.broken => {}
        None => findings.add(raw.at, "retries need a limit", Some("write retries: {limit: 2, delay: 5m}".to_owned())),
        Some(limit) if limit.value > RETRIES_MAX => {
            let remedy = format!("at most {RETRIES_MAX}");
            findings.add(limit.at, format!("{} retries are too many", limit.value), Some(remedy));
        }
        Some(_) => {}
    }
    let delay = raw.delay.and_then(|text| duration(&text, "delay", findings)).unwrap_or(SignedDuration::from_mins(1));
    let backoff = raw.backoff.map_or(2.0, |backoff| {
        if !(1.0..=100.0).contains(&backoff.value) {
            findings.add(backoff.at, format!("backoff {} is out of range", backoff.value), Some("1 to 100".to_owned()));
        }
        backoff.value
    });
    let delay_max = raw.delay_max.and_then(|text| {
        let longest = duration(&text, "delay_max", findings)?;
        if longest < delay {
            let remedy = "make it at least as long as the delay".to_owned();
            findings.add(text.at, "delay_max is shorter than the first pause", Some(remedy));
        }
        Some(longest)
    });
    let jitter = raw.jitter.map_or(0.0, |jitter| {
        if !(0.0..=1.0).contains(&jitter.value) {
            findings.add(jitter.at, format!("jitter {} is out of range", jitter.value), Some("0 to 1".to_owned()));
        }
        jitter.value
    });
    let limit = raw.limit.map_or(0, |limit| limit.value);
    let (on, never) = (patterns(raw.on, findings), patterns(raw.never, findings));
    Retries { limit, delay, backoff, delay_max, jitter, on, never }
}

/// The errors that a list names.
fn patterns(raw: Option<OneOrMany>, findings: &mut Findings) -> Vec<FaultPattern> {
    let mut patterns = Vec::new();
    for text in raw.map_or_else(Vec::new, |raw| raw.0) {
        match text.value.parse() {
            Ok(pattern) => patterns.push(pattern),
            Err(_) => {
                let words = ErrorKind::ALL.iter().map(|kind| kind.word()).chain(["exit 75", "exit 64-78", "http 5xx"]);
                findings.unknown(text.at, "kind of error", &text.value, words);
            }
        }
    }
    patterns
}
