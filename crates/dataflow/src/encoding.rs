//! Rows as bytes that compare as the rows do: Arrow's row format, in which equal rows are equal bytes.
//!
//! Columns of whole numbers and times, which most keys are, are encoded right here, into rows of one width, side by side:
//! the same bytes in a fraction of the time, and without an offset for every row. All else is encoded by Arrow.

use arrow::array::{Array, ArrayRef};
use arrow::buffer::ScalarBuffer;
use arrow::compute::SortOptions;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};

/// Encodes rows of certain types.
#[derive(Debug)]
pub(crate) struct RowEncoder {
    /// `None` for no columns: all rows are the empty one.
    converter: Option<RowConverter>,
    /// The columns, where all are of fixed width.
    cells: Option<Vec<Cell>>,
}

/// A column of whole numbers or times.
#[derive(Clone, Debug)]
struct Cell {
    data_type: DataType,
    options: SortOptions,
    /// Where it begins in a row.
    begin: usize,
    /// The bytes of a value; one more says whether it is null.
    width: usize,
    is_signed: bool,
}

/// Rows that have just been encoded.
#[derive(Debug)]
pub(crate) enum EncodedRows {
    /// By this file.
    Here(ByteRows),
    /// By Arrow.
    Arrow(Rows),
}

/// Encoded rows, one behind the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct ByteRows {
    bytes: Vec<u8>,
    len: usize,
    /// The width of every row; `None` where they differ.
    width: Option<usize>,
    /// Where each row ends, where they differ.
    ends: Vec<usize>,
}

impl RowEncoder {
    /// An encoder for columns of these types, in these orders.
    ///
    /// # Errors
    /// A type cannot be encoded: a map, for example.
    pub(crate) fn new(columns: impl IntoIterator<Item = (DataType, SortOptions)>) -> Result<Self, ArrowError> {
        let columns: Vec<(DataType, SortOptions)> = columns.into_iter().collect();
        let field =
            |(data_type, options): &(DataType, SortOptions)| SortField::new_with_options(data_type.clone(), *options);
        let fields: Vec<SortField> = columns.iter().map(field).collect();
        let mut begin = 0;
        let cell = |(data_type, options)| {
            let (width, is_signed) = whole_number(&data_type)?;
            let cell = Cell { data_type, options, begin, width, is_signed };
            begin += 1 + width;
            Some(cell)
        };
        let cells = columns.into_iter().map(cell).collect();
        let converter = if fields.is_empty() { None } else { Some(RowConverter::new(fields)?) };
        Ok(Self { converter, cells })
    }

    /// An encoder for keys of these types.
    ///
    /// # Errors
    /// As [`RowEncoder::new`].
    pub(crate) fn of_types(types: impl IntoIterator<Item = DataType>) -> Result<Self, ArrowError> {
        Self::new(types.into_iter().map(|data_type| (data_type, SortOptions::default())))
    }

    /// Whether there are no columns.
    pub(crate) fn is_empty(&self) -> bool {
        self.converter.is_none()
    }

    /// The width of every row, where it is the same for all.
    pub(crate) fn width(&self) -> Option<usize> {
        self.cells.as_ref().map(|cells| cells.iter().map(|cell| 1 + cell.width).sum())
    }

    /// Room for rows of this encoder.
    pub(crate) fn no_rows(&self) -> ByteRows {
        ByteRows { width: self.width(), ..ByteRows::default() }
    }

    /// Encodes rows.
    ///
    /// # Errors
    /// The columns are not of the encoder's types.
    pub(crate) fn encode(&self, columns: &[ArrayRef], row_count: usize) -> Result<EncodedRows, ArrowError> {
        let (Some(converter), None) = (&self.converter, &self.cells) else {
            let cells = self.cells.as_deref().unwrap_or_default();
            return Ok(EncodedRows::Here(encode_cells(cells, columns, row_count)?));
        };
        Ok(EncodedRows::Arrow(converter.convert_columns(columns)?))
    }

    /// The columns of encoded rows.
    ///
    /// # Errors
    /// These are not rows of this encoder.
    pub(crate) fn decode<'a>(&self, rows: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>, ArrowError> {
        let Some(converter) = &self.converter else { return Ok(Vec::new()) };
        let parser = converter.parser();
        converter.convert_rows(rows.map(|row| parser.parse(row)))
    }
}

impl EncodedRows {
    /// One row; empty where there is none.
    pub(crate) fn row(&self, row: usize) -> &[u8] {
        match self {
            EncodedRows::Here(rows) => rows.row(row),
            EncodedRows::Arrow(rows) => rows.row(row).data(),
        }
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            EncodedRows::Here(rows) => rows.len(),
            EncodedRows::Arrow(rows) => rows.num_rows(),
        }
    }

    /// Heap memory held, in bytes.
    pub(crate) fn size_bytes(&self) -> usize {
        match self {
            EncodedRows::Here(rows) => rows.size_bytes(),
            EncodedRows::Arrow(rows) => rows.size(),
        }
    }
}

impl ByteRows {
    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// One row; empty where there is none.
    pub(crate) fn row(&self, row: usize) -> &[u8] {
        let (begin, end) = match self.width {
            Some(width) => (row * width, (row + 1) * width),
            None => {
                let end_of = |row: usize| self.ends.get(row).copied().unwrap_or(self.bytes.len());
                (row.checked_sub(1).map_or(0, end_of), end_of(row))
            }
        };
        self.bytes.get(begin..end).unwrap_or_default()
    }

    /// All rows, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len).map(|row| self.row(row))
    }

    /// Adds a row of the encoder that these rows are of.
    pub(crate) fn push(&mut self, row: &[u8]) {
        self.bytes.extend_from_slice(row);
        self.len += 1;
        if self.width.is_none() {
            self.ends.push(self.bytes.len());
        }
    }

    /// Heap memory held, in bytes.
    pub(crate) fn size_bytes(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<usize>()
    }
}

/// How many bytes a value of a type of whole numbers or times takes, and whether it can be below zero.
fn whole_number(data_type: &DataType) -> Option<(usize, bool)> {
    use DataType::{Date32, Date64, Duration, Int32, Int64, Time32, Time64, Timestamp, UInt32, UInt64};
    match data_type {
        Int64 | Date64 | Time64(_) | Timestamp(..) | Duration(_) => Some((8, true)),
        Int32 | Date32 | Time32(_) => Some((4, true)),
        UInt64 => Some((8, false)),
        UInt32 => Some((4, false)),
        _ => None,
    }
}

fn encode_cells(cells: &[Cell], columns: &[ArrayRef], row_count: usize) -> Result<ByteRows, ArrowError> {
    let row_width: usize = cells.iter().map(|cell| 1 + cell.width).sum();
    let mut bytes = vec![0; row_width * row_count];
    if columns.len() != cells.len() {
        let reason = format!("{} columns were to be encoded, not {}", cells.len(), columns.len());
        return Err(ArrowError::InvalidArgumentError(reason));
    }
    for (cell, column) in cells.iter().zip(columns) {
        if *column.data_type() != cell.data_type || column.len() != row_count {
            let reason = format!("{row_count} rows of {} were to be encoded, not {column:?}", cell.data_type);
            return Err(ArrowError::InvalidArgumentError(reason));
        }
        let data = column.to_data();
        let Some(values) = data.buffers().first() else { continue };
        // The highest bit is turned where numbers have a sign, and all bits where the order is descending.
        let turned = if cell.options.descending { u64::MAX } else { 0 };
        let rows = bytes.chunks_exact_mut(row_width).map(|row| row.get_mut(cell.begin..).unwrap_or_default());
        if cell.width == 8 {
            let turned = turned ^ if cell.is_signed { 1 << 63 } else { 0 };
            let values = ScalarBuffer::<u64>::new(values.clone(), data.offset(), row_count);
            rows.zip(values.iter()).for_each(|(row, value)| write(row, &(value ^ turned).to_be_bytes()));
        } else {
            let turned = turned as u32 ^ if cell.is_signed { 1 << 31 } else { 0 };
            let values = ScalarBuffer::<u32>::new(values.clone(), data.offset(), row_count);
            rows.zip(values.iter()).for_each(|(row, value)| write(row, &(value ^ turned).to_be_bytes()));
        }
        if let Some(nulls) = column.nulls().filter(|nulls| nulls.null_count() > 0) {
            let sentinel = if cell.options.nulls_first { 0 } else { u8::MAX };
            for row in (0..row_count).filter(|row| nulls.is_null(*row)) {
                let begin = row * row_width + cell.begin;
                if let Some([mark, value @ ..]) = bytes.get_mut(begin..=begin + cell.width) {
                    *mark = sentinel;
                    value.fill(0);
                }
            }
        }
    }
    Ok(ByteRows { bytes, len: row_count, width: Some(row_width), ends: Vec::new() })
}

/// Writes a value that is not null.
fn write<const WIDTH: usize>(row: &mut [u8], value: &[u8; WIDTH]) {
    if let Some((mark, rest)) = row.split_first_mut()
        && let Some(place) = rest.first_chunk_mut::<WIDTH>()
    {
        *mark = 1;
        *place = *value;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use arrow::array::{Int64Array, StringArray};
    use arrow::compute::cast;
    use arrow::datatypes::TimeUnit;

    use super::*;

    const ORDERS: [SortOptions; 4] = [
        SortOptions { descending: false, nulls_first: false },
        SortOptions { descending: false, nulls_first: true },
        SortOptions { descending: true, nulls_first: false },
        SortOptions { descending: true, nulls_first: true },
    ];

    fn numbers() -> ArrayRef {
        let edges = [Some(0), None, Some(-1), Some(1), Some(i64::from(i32::MAX)), Some(i64::from(i32::MIN)), None];
        let mixed = (1..200_i64).map(|n| (n % 7 > 0).then_some((n * 2_654_435_761) as i32 as i64));
        std::sync::Arc::new(Int64Array::from_iter(edges.into_iter().chain(mixed)))
    }

    #[test]
    fn what_is_encoded_here_is_what_arrow_encodes() {
        use DataType::{Date32, Date64, Duration, Int32, Int64, Time32, Time64, Timestamp, UInt32, UInt64};
        let types = [
            Int64,
            Int32,
            UInt64,
            UInt32,
            Date32,
            Date64,
            Time32(TimeUnit::Second),
            Time64(TimeUnit::Nanosecond),
            Timestamp(TimeUnit::Millisecond, None),
            Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
            Duration(TimeUnit::Millisecond),
        ];
        for (index, data_type) in types.iter().enumerate() {
            let second = &types[(index + 3) % types.len()];
            for options in ORDERS {
                let types = [(data_type.clone(), options), (second.clone(), ORDERS[index % 4])];
                let encoder = RowEncoder::new(types.clone()).unwrap();
                let columns = types.clone().map(|(data_type, _)| reinterpreted(&numbers(), &data_type));
                let columns = columns.map(|column| column.slice(1, column.len() - 1));
                let encoded = encoder.encode(&columns, columns[0].len()).unwrap();
                assert!(matches!(encoded, EncodedRows::Here(_)));

                let fields = types.map(|(data_type, options)| SortField::new_with_options(data_type, options));
                let expected = RowConverter::new(fields.to_vec()).unwrap().convert_columns(&columns).unwrap();
                let same = (0..expected.num_rows()).all(|row| encoded.row(row) == expected.row(row).data());
                assert!(same, "{data_type}, {second}, {options:?}");

                let mut kept = encoder.no_rows();
                (0..encoded.len()).for_each(|row| kept.push(encoded.row(row)));
                assert_eq!(encoder.decode(kept.iter()).unwrap(), columns, "{data_type}, {second}, {options:?}");
            }
        }
    }

    /// The same bits as another type of whole numbers.
    fn reinterpreted(column: &ArrayRef, data_type: &DataType) -> ArrayRef {
        let (width, is_signed) = whole_number(data_type).unwrap();
        let positive = std::sync::Arc::new(
            arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(column)
                .unary::<_, arrow::datatypes::Int64Type>(i64::wrapping_abs),
        ) as ArrayRef;
        let column = if is_signed { column } else { &positive };
        let whole = if width == 8 { DataType::Int64 } else { DataType::Int32 };
        let whole = if is_signed { whole } else { data_type.clone() };
        let data = cast(column, &whole).unwrap().to_data().into_builder().data_type(data_type.clone());
        arrow::array::make_array(data.build().unwrap())
    }

    #[test]
    fn other_types_are_encoded_by_arrow_and_rows_of_any_length_are_kept() {
        let encoder = RowEncoder::of_types([DataType::Int64, DataType::Utf8]).unwrap();
        let texts = (0..206).map(|n| (n % 5 > 0).then(|| "x".repeat(n))).collect::<StringArray>();
        let columns = [numbers(), std::sync::Arc::new(texts) as ArrayRef];
        let encoded = encoder.encode(&columns, 206).unwrap();
        assert!(matches!(encoded, EncodedRows::Arrow(_)) && encoder.width().is_none());
        let mut kept = encoder.no_rows();
        (0..encoded.len()).for_each(|row| kept.push(encoded.row(row)));
        assert!((0..encoded.len()).all(|row| kept.row(row) == encoded.row(row)));
        assert_eq!(encoder.decode(kept.iter()).unwrap(), columns);
    }

    #[test]
    fn without_columns_all_rows_are_the_empty_one() {
        let encoder = RowEncoder::of_types([]).unwrap();
        let encoded = encoder.encode(&[], 3).unwrap();
        assert!(encoder.is_empty() && encoded.len() == 3 && encoded.row(2).is_empty());
    }

    #[test]
    fn columns_of_other_types_are_refused() {
        let encoder = RowEncoder::of_types([DataType::Int32]).unwrap();
        assert!(encoder.encode(&[numbers()], 206).is_err() && encoder.encode(&[], 206).is_err());
    }
}
