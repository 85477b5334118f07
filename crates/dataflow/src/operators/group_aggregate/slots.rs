//! A column whose elements are written and read one by one, by number: what a group's state or last result is kept in.
//!
//! Values of fixed width stand side by side in a vector; all others are encoded, each in a box of its own, so that
//! forgetting one gives its memory back.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, downcast_primitive, new_null_array};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};

/// A column that is written by slot. A slot that was never written, or was forgotten, reads as null.
pub(crate) trait Slots: Send {
    /// Puts `values[i]` into slot `slots[i]`.
    fn write(&mut self, slots: &[usize], values: &ArrayRef) -> Result<(), ArrowError>;
    /// The values of some slots, in that order.
    fn read(&self, slots: &[usize]) -> Result<ArrayRef, ArrowError>;
    /// Empties some slots.
    fn forget(&mut self, slots: &[usize]);
    /// Heap memory held, in bytes.
    fn size_bytes(&self) -> usize;
}

/// An empty column for values of a type.
///
/// # Errors
/// Values of the type can be neither copied nor encoded.
pub(crate) fn slots_for(data_type: &DataType) -> Result<Box<dyn Slots>, ArrowError> {
    macro_rules! primitive {
        ($native:ty, $data_type:expr) => {
            Box::new(Fixed::<$native> { data_type: $data_type.clone(), values: Vec::new(), present: Vec::new() })
        };
    }
    Ok(downcast_primitive! {
        data_type => (primitive, data_type),
        _ => Box::new(Encoded::new(data_type)?)
    })
}

/// Values of fixed width.
struct Fixed<T: ArrowPrimitiveType> {
    data_type: DataType,
    values: Vec<T::Native>,
    present: Vec<bool>,
}

impl<T: ArrowPrimitiveType> Slots for Fixed<T> {
    fn write(&mut self, slots: &[usize], values: &ArrayRef) -> Result<(), ArrowError> {
        let Some(values) = values.as_primitive_opt::<T>() else {
            return Err(ArrowError::CastError(format!("{} is not {}", values.data_type(), self.data_type)));
        };
        let needed = slots.iter().max().map_or(0, |slot| slot + 1);
        if needed > self.values.len() {
            self.values.resize(needed, T::default_value());
            self.present.resize(needed, false);
        }
        for (row, (slot, value)) in slots.iter().zip(values.values()).enumerate() {
            if let (Some(to), Some(present)) = (self.values.get_mut(*slot), self.present.get_mut(*slot)) {
                *to = *value;
                *present = values.is_valid(row);
            }
        }
        Ok(())
    }

    fn read(&self, slots: &[usize]) -> Result<ArrayRef, ArrowError> {
        let value = |slot: &usize| self.values.get(*slot).copied().unwrap_or_default();
        let values: ScalarBuffer<T::Native> = slots.iter().map(value).collect();
        let nulls: NullBuffer =
            slots.iter().map(|slot| self.present.get(*slot).copied().unwrap_or(false)).collect::<Vec<bool>>().into();
        let nulls = Some(nulls).filter(|nulls| nulls.null_count() > 0);
        Ok(Arc::new(PrimitiveArray::<T>::try_new(values, nulls)?.with_data_type(self.data_type.clone())))
    }

    fn forget(&mut self, slots: &[usize]) {
        for slot in slots {
            if let Some(present) = self.present.get_mut(*slot) {
                *present = false;
            }
        }
    }

    fn size_bytes(&self) -> usize {
        self.values.capacity() * size_of::<T::Native>() + self.present.capacity()
    }
}

/// Values of any other type.
struct Encoded {
    converter: RowConverter,
    values: Vec<Option<Box<[u8]>>>,
    null: Box<[u8]>,
    value_bytes: usize,
}

impl Encoded {
    fn new(data_type: &DataType) -> Result<Self, ArrowError> {
        let converter = RowConverter::new(vec![SortField::new(data_type.clone())])?;
        let null = converter.convert_columns(&[new_null_array(data_type, 1)])?;
        let null = null.iter().next().map_or_else(Box::default, |row| row.data().into());
        Ok(Self { converter, values: Vec::new(), null, value_bytes: 0 })
    }

    fn put(&mut self, slot: usize, value: Option<Box<[u8]>>) {
        let bytes = |value: &Option<Box<[u8]>>| value.as_ref().map_or(0, |value| value.len());
        if let Some(place) = self.values.get_mut(slot) {
            self.value_bytes = self.value_bytes + bytes(&value) - bytes(place);
            *place = value;
        }
    }
}

impl Slots for Encoded {
    fn write(&mut self, slots: &[usize], values: &ArrayRef) -> Result<(), ArrowError> {
        let rows = self.converter.convert_columns(std::slice::from_ref(values))?;
        let needed = slots.iter().max().map_or(0, |slot| slot + 1);
        if needed > self.values.len() {
            self.values.resize(needed, None);
        }
        for (slot, row) in slots.iter().zip(rows.iter()) {
            self.put(*slot, Some(row.data().into()));
        }
        Ok(())
    }

    fn read(&self, slots: &[usize]) -> Result<ArrayRef, ArrowError> {
        let parser = self.converter.parser();
        let value = |slot: &usize| self.values.get(*slot).and_then(Option::as_deref).unwrap_or(&self.null);
        let rows = slots.iter().map(|slot| parser.parse(value(slot)));
        let columns = self.converter.convert_rows(rows)?;
        columns.into_iter().next().ok_or_else(|| ArrowError::ComputeError("a column was lost".to_owned()))
    }

    fn forget(&mut self, slots: &[usize]) {
        for slot in slots {
            self.put(*slot, None);
        }
    }

    fn size_bytes(&self) -> usize {
        self.values.capacity() * size_of::<Option<Box<[u8]>>>() + self.value_bytes
    }
}
