//! Lengths of time as people write them: `INTERVAL '1' HOUR`, `INTERVAL '10 seconds'`, `'1 d'`.

use datafusion::sql::sqlparser::ast::{DateTimeField, Expr, Value};

/// The milliseconds of an interval literal, or `None` where it is none, or is not a fixed length of time.
pub(crate) fn duration_of_interval(expression: &Expr) -> Option<i64> {
    let Expr::Interval(interval) = expression else { return None };
    if interval.last_field.is_some() {
        return None;
    }
    let text = match interval.value.as_ref() {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => text.clone(),
            Value::Number(number, _) => number.to_string(),
            _ => return None,
        },
        _ => return None,
    };
    match &interval.leading_field {
        None => duration_of_text(&text),
        Some(field) => scaled(&text, field_ms(field)?),
    }
}

fn field_ms(field: &DateTimeField) -> Option<i64> {
    unit_ms(&field.to_string())
}

/// The milliseconds of one unit.
fn unit_ms(unit: &str) -> Option<i64> {
    Some(match unit.to_lowercase().as_str() {
        "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1,
        "s" | "sec" | "secs" | "second" | "seconds" => 1_000,
        "m" | "min" | "mins" | "minute" | "minutes" => 60_000,
        "h" | "hour" | "hours" => 3_600_000,
        "d" | "day" | "days" => 86_400_000,
        "w" | "week" | "weeks" => 604_800_000,
        _ => return None,
    })
}

fn scaled(number: &str, unit_ms: i64) -> Option<i64> {
    if let Ok(whole) = number.trim().parse::<i64>() {
        return whole.checked_mul(unit_ms);
    }
    let (negative, digits) = match number.trim().strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number.trim()),
    };
    let (whole, fraction) = digits.split_once('.')?;
    let places = u32::try_from(fraction.len()).ok().filter(|places| (1..=9).contains(places))?;
    let whole = whole.parse::<i64>().ok()?.checked_mul(unit_ms)?;
    let fraction = fraction.parse::<i64>().ok()?.checked_mul(unit_ms)? / 10_i64.pow(places);
    let total = whole.checked_add(fraction)?;
    Some(if negative { -total } else { total })
}

/// The milliseconds of text such as `1 d`, `10 min`, `1 hour 30 minutes`, `250ms`.
pub(crate) fn duration_of_text(text: &str) -> Option<i64> {
    let mut total: i64 = 0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-'))?;
        let (number, after) = rest.split_at(number_end);
        let after = after.trim_start();
        let unit_end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        total = total.checked_add(scaled(number, unit_ms(unit)?)?)?;
        rest = after.trim_start();
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;
    use crate::text::{parser, split_statements};

    fn interval(text: &str) -> Option<i64> {
        duration_of_interval(&parser(split_statements(text).unwrap().remove(0)).parse_expr().unwrap())
    }

    #[test]
    fn reads_lengths_of_time() {
        for (text, expected) in [
            ("1 d", Some(86_400_000)),
            ("250ms", Some(250)),
            ("1 hour 30 minutes", Some(5_400_000)),
            ("0 s", Some(0)),
            ("1.5 min", Some(90_000)),
            ("1 month", None),
            ("hour", None),
            ("", None),
            ("9999999999999999 d", None),
        ] {
            assert_eq!(duration_of_text(text), expected, "{text}");
        }
    }

    #[test]
    fn reads_intervals_in_both_spellings() {
        for (text, expected) in [
            ("INTERVAL '1' HOUR", Some(3_600_000)),
            ("INTERVAL '10 seconds'", Some(10_000)),
            ("INTERVAL '0.25' SECOND", Some(250)),
            ("INTERVAL '-30' MINUTE", Some(-1_800_000)),
            ("INTERVAL '1' MONTH", None),
            ("1", None),
        ] {
            assert_eq!(interval(text), expected, "{text}");
        }
    }
}
