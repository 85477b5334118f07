//! Sizes as people write them: `'256 MB'`, `'1.5 GiB'`, `'4096'`.

/// The bytes of a size; `None` where it is none. `MB` is a million bytes, `MiB` 2^20.
pub fn size_of_text(text: &str) -> Option<usize> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(split)?;
    let number: f64 = number.parse().ok()?;
    let unit: f64 = match unit.trim().to_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        "t" | "tb" => 1e12,
        "kib" => 1_024.0,
        "mib" => 1_048_576.0,
        "gib" => 1_073_741_824.0,
        "tib" => 1_099_511_627_776.0,
        _ => return None,
    };
    let bytes = number * unit;
    // Beyond that a number of bytes is none that a machine has.
    (bytes.is_finite() && bytes < 1e18).then_some(bytes as usize)
}

#[cfg(test)]
mod tests {
    use super::size_of_text;

    #[test]
    fn sizes_have_units() {
        let cases = [
            ("256 MB", Some(256_000_000)),
            ("1.5GiB", Some(1_610_612_736)),
            ("4096", Some(4_096)),
            (" 20 kb ", Some(20_000)),
            ("0", Some(0)),
            ("MB", None),
            ("-1 MB", None),
            ("1 parsec", None),
            ("1e3", None),
            ("99999999999 TB", None),
        ];
        for (text, expected) in cases {
            assert_eq!(size_of_text(text), expected, "{text}");
        }
    }
}
