//! Which type of PostgreSQL stands for which type of Arrow, and back.

use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use pgwire::api::Type;

/// How clients know a column's type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WireType {
    /// The type.
    pub(crate) kind: Type,
    /// The bytes of a binary value; -1 where values differ.
    pub(crate) size: i16,
    /// Digits of a `numeric`; -1 for none.
    pub(crate) modifier: i32,
}

/// The type by which a column goes out. What PostgreSQL has no type for goes out as `json`.
pub(crate) fn wire_type(data_type: &DataType) -> WireType {
    let plain = |kind: Type, size: i16| WireType { kind, size, modifier: -1 };
    match data_type {
        DataType::Boolean => plain(Type::BOOL, 1),
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => plain(Type::INT2, 2),
        DataType::Int32 | DataType::UInt16 => plain(Type::INT4, 4),
        DataType::Int64 | DataType::UInt32 => plain(Type::INT8, 8),
        DataType::UInt64 => plain(Type::NUMERIC, -1),
        DataType::Float16 | DataType::Float32 => plain(Type::FLOAT4, 4),
        DataType::Float64 => plain(Type::FLOAT8, 8),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => {
            let modifier = (i32::from(*precision) << 16) | (i32::from(*scale) & 0x7ff);
            WireType { kind: Type::NUMERIC, size: -1, modifier: modifier + 4 }
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            plain(Type::BYTEA, -1)
        }
        DataType::Date32 | DataType::Date64 => plain(Type::DATE, 4),
        DataType::Time32(_) | DataType::Time64(_) => plain(Type::TIME, 8),
        DataType::Timestamp(_, None) => plain(Type::TIMESTAMP, 8),
        DataType::Timestamp(_, Some(_)) => plain(Type::TIMESTAMPTZ, 8),
        DataType::Interval(_) | DataType::Duration(_) => plain(Type::INTERVAL, 16),
        DataType::Dictionary(_, values) => wire_type(values),
        DataType::RunEndEncoded(_, values) => wire_type(values.data_type()),
        DataType::Struct(_) | DataType::Map(..) | DataType::Union(..) => plain(Type::JSON, -1),
        other => match item_of(other) {
            Some(item) => plain(array_of(&wire_type(item.data_type()).kind).unwrap_or(Type::JSON), -1),
            None => plain(Type::TEXT, -1),
        },
    }
}

/// What the metadata of a column's field says whose texts are PostgreSQL's small vectors.
const SMALL_VECTOR: (&str, &str) = ("mulgil.wire", "int2vector");

/// The field of a column of small numbers that are written `1 2`, such as the columns of an index: a text, and `int2vector` to clients.
pub fn small_vector(name: &str) -> Field {
    let (key, value) = SMALL_VECTOR;
    let metadata = [(key.to_owned(), value.to_owned())];
    Field::new(name, DataType::Utf8, true).with_metadata(metadata.into())
}

/// The type by which a field's column goes out. The binary form of small vectors is not known: there they are texts.
pub(crate) fn wire_type_of(field: &Field, is_binary: bool) -> WireType {
    let (key, value) = SMALL_VECTOR;
    if !is_binary && field.metadata().get(key).is_some_and(|known| known == value) {
        return WireType { kind: Type::INT2_VECTOR, size: -1, modifier: -1 };
    }
    wire_type(field.data_type())
}

/// The items of a list.
pub(crate) fn item_of(data_type: &DataType) -> Option<&Field> {
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => Some(item),
        _ => None,
    }
}

/// Arrays that clients know, with their items. Lists of lists have none: their rows need not be of one length.
const ARRAYS: [(Type, Type); 15] = [
    (Type::BOOL_ARRAY, Type::BOOL),
    (Type::INT2_ARRAY, Type::INT2),
    (Type::INT4_ARRAY, Type::INT4),
    (Type::INT8_ARRAY, Type::INT8),
    (Type::FLOAT4_ARRAY, Type::FLOAT4),
    (Type::FLOAT8_ARRAY, Type::FLOAT8),
    (Type::NUMERIC_ARRAY, Type::NUMERIC),
    (Type::TEXT_ARRAY, Type::TEXT),
    (Type::VARCHAR_ARRAY, Type::VARCHAR),
    (Type::BYTEA_ARRAY, Type::BYTEA),
    (Type::DATE_ARRAY, Type::DATE),
    (Type::TIME_ARRAY, Type::TIME),
    (Type::TIMESTAMP_ARRAY, Type::TIMESTAMP),
    (Type::TIMESTAMPTZ_ARRAY, Type::TIMESTAMPTZ),
    (Type::INTERVAL_ARRAY, Type::INTERVAL),
];

fn array_of(item: &Type) -> Option<Type> {
    ARRAYS.iter().find(|(_, of)| of == item).map(|(array, _)| array.clone())
}

/// The items of an array.
pub(crate) fn array_item(array: &Type) -> Option<Type> {
    ARRAYS.iter().find(|(known, _)| known == array).map(|(_, item)| item.clone())
}

/// The type that a parameter's values get here; `None` where the query itself has to say it. A `numeric` has as many
/// digits as its value: see [`crate::parameter`].
pub(crate) fn data_type(kind: &Type) -> Option<DataType> {
    let micros = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
    Some(match *kind {
        Type::BOOL => DataType::Boolean,
        Type::INT2 => DataType::Int16,
        Type::INT4 => DataType::Int32,
        Type::INT8 | Type::OID => DataType::Int64,
        Type::FLOAT4 => DataType::Float32,
        Type::FLOAT8 => DataType::Float64,
        Type::NUMERIC => DataType::Decimal128(38, 9),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::CHAR => DataType::Utf8,
        Type::JSON | Type::JSONB | Type::UUID => DataType::Utf8,
        Type::BYTEA => DataType::Binary,
        Type::DATE => DataType::Date32,
        Type::TIME => DataType::Time64(TimeUnit::Microsecond),
        Type::TIMESTAMP => micros(None),
        Type::TIMESTAMPTZ => micros(Some("+00:00")),
        Type::INTERVAL => DataType::Interval(IntervalUnit::MonthDayNano),
        _ => DataType::new_list(data_type(&array_item(kind)?)?, true),
    })
}

/// A column's type, as catalogs say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireColumn {
    /// The type's number.
    pub oid: u32,
    /// The type's name, such as `int8`.
    pub name: String,
    /// The name that SQL has for it, such as `bigint`.
    pub sql_name: String,
    /// The bytes of a binary value; -1 where values differ.
    pub size: i16,
    /// Digits of a `numeric`; -1 for none.
    pub modifier: i32,
}

impl WireColumn {
    fn of(wire: &WireType) -> Self {
        let (oid, name) = (wire.kind.oid(), wire.kind.name().to_owned());
        Self { oid, sql_name: sql_name(&wire.kind), name, size: wire.size, modifier: wire.modifier }
    }
}

/// How clients know the columns of a type.
pub fn wire_column(data_type: &DataType) -> WireColumn {
    WireColumn::of(&wire_type(data_type))
}

/// All types that columns and parameters can have: each with the number of its items' type (0 for none) and of its array's.
pub fn wire_types() -> Vec<(WireColumn, u32, u32)> {
    let plain = |kind: &Type, size: i16| WireColumn::of(&WireType { kind: kind.clone(), size, modifier: -1 });
    let size = |kind: &Type| data_type(kind).map_or(-1, |data_type| wire_type(&data_type).size);
    let items = ARRAYS.iter().map(|(array, item)| (plain(item, size(item)), 0, array.oid()));
    let arrays = ARRAYS.iter().map(|(array, item)| (plain(array, -1), item.oid(), 0));
    let others = [Type::JSON, Type::JSONB, Type::UUID, Type::NAME, Type::OID, Type::BPCHAR];
    let others = others.iter().map(|kind| (plain(kind, size(kind)), 0, 0));
    items.chain(arrays).chain(others).collect()
}

/// The name that SQL has for a type.
fn sql_name(kind: &Type) -> String {
    if let Some(item) = array_item(kind) {
        return format!("{}[]", sql_name(&item));
    }
    match *kind {
        Type::BOOL => "boolean",
        Type::INT2 => "smallint",
        Type::INT4 => "integer",
        Type::INT8 => "bigint",
        Type::FLOAT4 => "real",
        Type::FLOAT8 => "double precision",
        Type::VARCHAR => "character varying",
        Type::TIME => "time without time zone",
        Type::TIMESTAMP => "timestamp without time zone",
        Type::TIMESTAMPTZ => "timestamp with time zone",
        _ => kind.name(),
    }
    .to_owned()
}

/// The name that SQL has for a type of this number, with the digits of a `numeric`.
pub fn type_name(oid: u32, modifier: i32) -> Option<String> {
    let name = sql_name(&Type::from_oid(oid)?);
    if oid != Type::NUMERIC.oid() || modifier < 4 {
        return Some(name);
    }
    let digits = modifier - 4;
    Some(format!("{name}({},{})", digits >> 16, digits & 0x7ff))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn every_type_that_comes_in_goes_out_as_it_came() {
        let kinds = [Type::BOOL, Type::INT2, Type::INT4, Type::INT8, Type::FLOAT4, Type::FLOAT8, Type::NUMERIC]
            .into_iter()
            .chain([
                Type::TEXT,
                Type::BYTEA,
                Type::DATE,
                Type::TIME,
                Type::TIMESTAMP,
                Type::TIMESTAMPTZ,
                Type::INTERVAL,
            ]);
        for kind in kinds {
            assert_eq!(wire_type(&data_type(&kind).unwrap()).kind, kind);
            let array = array_of(&kind).unwrap();
            assert_eq!(wire_type(&data_type(&array).unwrap()).kind, array);
        }
    }

    #[test]
    fn what_postgres_cannot_say_goes_out_as_json() {
        let list = DataType::new_list(DataType::Int32, true);
        let nested = DataType::new_list(list.clone(), true);
        let record = DataType::Struct(vec![Field::new("a", DataType::Int32, true)].into());
        let records = DataType::new_list(record.clone(), true);
        for data_type in [nested, record, records] {
            assert_eq!(wire_type(&data_type).kind, Type::JSON, "{data_type}");
        }
        assert_eq!(wire_type(&list).kind, Type::INT4_ARRAY);
    }

    #[test]
    fn a_decimal_tells_its_digits() {
        assert_eq!(wire_type(&DataType::Decimal128(12, 3)).modifier, ((12 << 16) | 3) + 4);
    }
}
