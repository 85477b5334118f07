//! Parameters in both forms.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use arrow::util::display::array_value_to_string;

use super::*;

fn shown(kind: &Type, bytes: &[u8], binary: bool) -> Result<String, &'static str> {
    let array = value(kind, Some(bytes), binary).map_err(|error| error.code)?;
    assert_eq!(array.len(), 1);
    Ok(array_value_to_string(&array, 0).unwrap())
}

#[test]
fn texts_become_values() {
    let cases = [
        (Type::BOOL, "t", Ok("true")),
        (Type::INT4, " 42 ", Ok("42")),
        (Type::INT2, "40000", Err("22P02")),
        (Type::INT4, "x", Err("22P02")),
        (Type::FLOAT8, "1.5e3", Ok("1500.0")),
        (Type::NUMERIC, "-12.50", Ok("-12.50")),
        (Type::NUMERIC, "1e3", Ok("1000.0")),
        (Type::NUMERIC, "one", Err("22P02")),
        (Type::BYTEA, "\\x00ff", Ok("00ff")),
        (Type::BYTEA, "\\x0", Err("22P02")),
        (Type::DATE, "2013-01-31", Ok("2013-01-31")),
        (Type::TIMESTAMP, "2013-01-31 06:15:00.25", Ok("2013-01-31T06:15:00.250")),
        (Type::TIMESTAMPTZ, "2013-01-31 06:15:00+01", Ok("2013-01-31T05:15:00Z")),
        (Type::TEXT, " as it is ", Ok(" as it is ")),
        (Type::INT4_ARRAY, "{1, NULL,3}", Ok("[1, , 3]")),
        (Type::TEXT_ARRAY, "{\"a b\",\"\",\"null\",\"q\\\"\",물}", Ok("[a b, , null, q\", 물]")),
        (Type::TEXT_ARRAY, "{}", Ok("[]")),
        (Type::INT4_ARRAY, "{1,", Err("22P02")),
        (Type::INT4_ARRAY, "{{1}}", Err("22P02")),
    ];
    for (kind, text, expected) in cases {
        assert_eq!(shown(&kind, text.as_bytes(), false), expected.map(str::to_owned), "{kind} {text}");
    }
}

#[test]
fn binary_values_are_read_and_garbled_ones_refused() {
    let cases: [(Type, &[u8], Result<&str, &str>); 12] = [
        (Type::BOOL, &[1], Ok("true")),
        (Type::INT8, &[0, 0, 0, 0, 0, 0, 1, 0], Ok("256")),
        (Type::INT8, &[0; 4], Err("22P03")),
        (Type::FLOAT4, &1.5_f32.to_be_bytes(), Ok("1.5")),
        (Type::NUMERIC, &[0, 2, 0, 0, 0x40, 0, 0, 2, 0, 12, 19, 136], Ok("-12.50")),
        (Type::NUMERIC, &[0, 2, 0, 0], Err("22P03")),
        (Type::DATE, &4_779_i32.to_be_bytes(), Ok("2013-01-31")),
        (Type::DATE, &i32::MAX.to_be_bytes(), Err("22P03")),
        (Type::TIMESTAMP, &0_i64.to_be_bytes(), Ok("2000-01-01T00:00:00")),
        (Type::UUID, &[0x11; 16], Ok("11111111-1111-1111-1111-111111111111")),
        (Type::TEXT, &[0xff], Err("22021")),
        (Type::INT4_ARRAY, &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 23, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 1], Err("22P03")),
    ];
    for (kind, bytes, expected) in cases {
        assert_eq!(shown(&kind, bytes, true), expected.map(str::to_owned), "{kind} {bytes:?}");
    }
    let items: Vec<u8> = [1, 1, 23, 2, 1, 4, 7, -1].into_iter().flat_map(i32::to_be_bytes).collect();
    assert_eq!(shown(&Type::INT4_ARRAY, &items, true).unwrap(), "[7, ]");
}

#[test]
fn null_has_its_type() {
    let null = value(&Type::INT4, None, false).unwrap();
    assert_eq!((null.data_type(), null.null_count()), (&DataType::Int32, 1));
}
