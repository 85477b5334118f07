//! Where the rows of each key stand.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use smallvec::SmallVec;

use super::ResultError;

/// Where a row stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u64,
    pub(super) row: u32,
}

/// The places of the rows that a key, or a whole row, stands for.
#[derive(Clone, Debug)]
pub(super) enum Places {
    One(Place),
    /// Rows that are equal, or have the same key where a second one replaces nothing.
    Many(Vec<Place>),
}

impl Places {
    fn as_slice(&self) -> &[Place] {
        match self {
            Places::One(place) => std::slice::from_ref(place),
            Places::Many(places) => places,
        }
    }
}

/// The values of key columns as bytes that are the same where the values are. Two whole numbers lie in the table itself.
pub(super) type Key = SmallVec<[u8; 24]>;

/// Makes keys of rows.
pub(super) struct Keys {
    pub(super) columns: Vec<usize>,
    converter: RowConverter,
}

impl Keys {
    pub(super) fn new(schema: &SchemaRef, columns: Vec<usize>) -> Result<Self, ResultError> {
        let fields = columns.iter().filter_map(|column| schema.fields().get(*column));
        let converter = RowConverter::new(fields.map(|field| SortField::new(field.data_type().clone())).collect())?;
        Ok(Self { columns, converter })
    }

    /// The key of each row.
    pub(super) fn of(&self, rows: &RecordBatch) -> Result<Vec<Key>, ResultError> {
        let columns: Vec<ArrayRef> =
            self.columns.iter().filter_map(|column| rows.columns().get(*column)).map(Arc::clone).collect();
        if columns.is_empty() {
            // A result of one row, without a key column.
            return Ok(vec![Key::new(); rows.num_rows()]);
        }
        self.of_values(&columns)
    }

    /// The keys that values have, a column of them for each column of the key.
    pub(super) fn of_values(&self, values: &[ArrayRef]) -> Result<Vec<Key>, ResultError> {
        let keys = self.converter.convert_columns(values)?;
        Ok(keys.iter().map(|key| Key::from_slice(key.data())).collect())
    }
}

#[derive(Clone)]
pub(super) struct Index {
    pub(super) keys: Arc<Keys>,
    places: HashMap<Key, Places>,
    /// Whether a second row of the same key replaces the first; otherwise both stand.
    pub(super) is_unique: bool,
}

impl Index {
    pub(super) fn new(keys: Keys, is_unique: bool) -> Self {
        Self { keys: Arc::new(keys), places: HashMap::new(), is_unique }
    }

    /// Where the rows of a key stand.
    pub(super) fn places_of(&self, key: &[u8]) -> &[Place] {
        self.places.get(key).map_or(&[], Places::as_slice)
    }

    /// How many keys have rows.
    pub(super) fn key_count(&self) -> usize {
        self.places.len()
    }

    /// Says of a key what the other index says.
    pub(super) fn follow(&mut self, key: Key, other: &Self) {
        match other.places.get(&key) {
            Some(places) => drop(self.places.insert(key, places.clone())),
            None => drop(self.places.remove(&key)),
        }
    }

    /// Puts a row in; gives the row that it replaces.
    pub(super) fn insert(&mut self, key: Key, place: Place) -> Option<Place> {
        match self.places.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(Places::One(place));
                None
            }
            Entry::Occupied(mut entry) => match entry.get_mut() {
                Places::One(former) if self.is_unique => Some(std::mem::replace(former, place)),
                Places::One(first) => {
                    let first = *first;
                    entry.insert(Places::Many(vec![first, place]));
                    None
                }
                Places::Many(places) => {
                    places.push(place);
                    None
                }
            },
        }
    }

    /// Takes a row out, and says where it stood.
    pub(super) fn remove(&mut self, key: &[u8]) -> Option<Place> {
        if let Some(Places::Many(places)) = self.places.get_mut(key)
            && places.len() > 1
        {
            return places.pop();
        }
        match self.places.remove(key)? {
            Places::One(place) => Some(place),
            Places::Many(places) => places.into_iter().next_back(),
        }
    }

    /// Takes the row out that stands there.
    pub(super) fn take_out(&mut self, key: &[u8], place: Place) {
        let Some(places) = self.places.get_mut(key) else { return };
        let is_last = match places {
            Places::One(only) => *only == place,
            Places::Many(places) => {
                places.retain(|other| *other != place);
                places.is_empty()
            }
        };
        if is_last {
            self.places.remove(key);
        }
    }

    /// A row has been moved.
    pub(super) fn relocate(&mut self, key: &[u8], from: Place, to: Place) {
        match self.places.get_mut(key) {
            Some(Places::One(place)) if *place == from => *place = to,
            Some(Places::Many(places)) => {
                if let Some(place) = places.iter_mut().find(|place| **place == from) {
                    *place = to;
                }
            }
            _ => {}
        }
    }
}
