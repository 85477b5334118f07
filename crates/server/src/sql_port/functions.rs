//! Functions by which clients of PostgreSQL ask about their server and their session.

mod lists;
mod names;
mod sizes;
mod vectors;

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, ListArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type};
use mulgil_connect::definition::TableName;
use mulgil_sql::function::{Function, ScalarFunction};
use mulgil_sql::system::System;
use mulgil_sqlport::{Caller, POSTGRES_VERSION, type_name};

use super::tables::Tables;
use crate::project::VERSION;

type Evaluate = dyn Fn(&[ArrayRef], usize) -> Result<ArrayRef, String> + Send + Sync;

/// A function about the session.
struct Told {
    name: &'static str,
    /// The fewest and the most arguments.
    arguments: (usize, usize),
    returns: DataType,
    evaluate: Box<Evaluate>,
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl ScalarFunction for Told {
    fn name(&self) -> &str {
        self.name
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType, String> {
        let (fewest, most) = self.arguments;
        if (fewest..=most).contains(&arguments.len()) {
            return Ok(self.returns.clone());
        }
        Err(format!("it takes {fewest} to {most} arguments"))
    }

    fn evaluate(&self, arguments: &[ArrayRef], row_count: usize) -> Result<ArrayRef, String> {
        (self.evaluate)(arguments, row_count)
    }
}

fn function(
    name: &'static str,
    arguments: (usize, usize),
    returns: DataType,
    evaluate: impl Fn(&[ArrayRef], usize) -> Result<ArrayRef, String> + Send + Sync + 'static,
) -> Function {
    Function::Scalar(Arc::new(Told { name, arguments, returns, evaluate: Box::new(evaluate) }))
}

/// A text that is the same for all rows, whatever the arguments.
fn text(name: &'static str, value: impl Into<String>) -> Function {
    let value = value.into();
    function(name, (0, 8), DataType::Utf8, move |_, rows| Ok(Arc::new(StringArray::from(vec![value.as_str(); rows]))))
}

fn truth(name: &'static str, value: bool) -> Function {
    function(name, (0, 8), DataType::Boolean, move |_, rows| Ok(Arc::new(BooleanArray::from(vec![value; rows]))))
}

/// A text that is not known of anything.
fn nothing(name: &'static str) -> Function {
    function(name, (0, 8), DataType::Utf8, |_, rows| Ok(arrow::array::new_null_array(&DataType::Utf8, rows)))
}

/// `format_type(oid, modifier)`: the name of a column's type.
fn format_type() -> Function {
    function("format_type", (2, 2), DataType::Utf8, |arguments, _| {
        let numbers = |at: usize| {
            let argument = arguments.get(at).ok_or("it takes a type and its modifier")?;
            cast(argument, &DataType::Int64).map_err(|error| error.to_string())
        };
        let (types, modifiers) = (numbers(0)?, numbers(1)?);
        let (types, modifiers) = (types.as_primitive::<Int64Type>(), modifiers.as_primitive::<Int64Type>());
        let name = |(oid, modifier): (Option<i64>, Option<i64>)| {
            let modifier = modifier.and_then(|modifier| i32::try_from(modifier).ok()).unwrap_or(-1);
            Some(type_name(u32::try_from(oid?).ok()?, modifier).unwrap_or_else(|| "???".to_owned()))
        };
        Ok(Arc::new(types.iter().zip(modifiers.iter()).map(name).collect::<StringArray>()))
    })
}

/// The functions of one session.
pub(super) fn all(caller: &Arc<Caller>, tables: &Arc<Tables>) -> Vec<Function> {
    let process = caller.process;
    vec![
        text("version", format!("PostgreSQL {POSTGRES_VERSION} (Mulgil {VERSION})")),
        text("current_schema", TableName::DEFAULT_NAMESPACE),
        text("current_database", caller.database.clone()),
        text("current_catalog", caller.database.clone()),
        text("current_user", caller.user.clone()),
        text("session_user", caller.user.clone()),
        text("user", caller.user.clone()),
        truth("pg_is_in_recovery", false),
        truth("pg_type_is_visible", true),
        truth("pg_function_is_visible", true),
        truth("pg_relation_is_publishable", false),
        truth("pg_has_role", true),
        may("has_table_privilege"),
        may("has_any_column_privilege"),
        may("has_column_privilege"),
        may("has_schema_privilege"),
        may("has_database_privilege"),
        text("pg_get_userbyid", caller.user.clone()),
        text("pg_encoding_to_char", "UTF8"),
        nothing("obj_description"),
        nothing("col_description"),
        nothing("shobj_description"),
        nothing("pg_get_expr"),
        nothing("pg_get_partkeydef"),
        nothing("pg_get_statisticsobjdef_columns"),
        nothing("pg_get_ruledef"),
        format_type(),
        function("pg_backend_pid", (0, 0), DataType::Int32, move |_, rows| {
            Ok(Arc::new(Int32Array::from(vec![process; rows])))
        }),
        current_schemas(),
        current_setting(Arc::clone(caller)),
    ]
    .into_iter()
    .chain(names::all(tables))
    .chain(lists::all())
    .chain(sizes::all())
    .chain(vectors::all())
    .collect()
}

/// `has_table_privilege([user,] table, privilege)` and the like: whoever is let in may read everything, and change nothing.
fn may(name: &'static str) -> Function {
    function(name, (2, 4), DataType::Boolean, |arguments, rows| {
        let privileges = arguments.last().ok_or("it takes a privilege")?;
        let privileges = cast(privileges, &DataType::Utf8).map_err(|error| error.to_string())?;
        let privileges = privileges.as_string::<i32>();
        let reads = |asked: &str| ["select", "usage", "connect"].contains(&asked.trim().to_lowercase().as_str());
        let may = |row: usize| privileges.is_valid(row).then(|| privileges.value(row).split(',').any(reads));
        Ok(Arc::new((0..rows).map(may).collect::<BooleanArray>()))
    })
}

/// `current_schemas(true)`: the schemas that are searched, those that are always searched among them.
fn current_schemas() -> Function {
    let list = DataType::new_list(DataType::Utf8, true);
    function("current_schemas", (1, 1), list, |arguments, rows| {
        let all = arguments.first().and_then(|argument| argument.as_boolean_opt()).ok_or("it takes true or false")?;
        let schemas = |row: usize| {
            let hidden = (all.is_valid(row) && all.value(row)).then_some(System::PG_CATALOG);
            hidden.into_iter().chain([TableName::DEFAULT_NAMESPACE])
        };
        let offsets = arrow::buffer::OffsetBuffer::from_lengths((0..rows).map(|row| schemas(row).count()));
        let values = StringArray::from((0..rows).flat_map(schemas).collect::<Vec<_>>());
        let item = Arc::new(Field::new_list_field(DataType::Utf8, true));
        let lists = ListArray::try_new(item, offsets, Arc::new(values), None);
        Ok(Arc::new(lists.map_err(|error| error.to_string())?))
    })
}

/// `current_setting('timezone')`; with a second argument `true`, null for what is no setting.
fn current_setting(caller: Arc<Caller>) -> Function {
    function("current_setting", (1, 2), DataType::Utf8, move |arguments, rows| {
        let names = arguments.first().ok_or("it takes a setting's name")?;
        let names = cast(names, &DataType::Utf8).map_err(|error| error.to_string())?;
        let names = names.as_string::<i32>();
        let lenient = arguments.get(1).and_then(|argument| argument.as_boolean_opt());
        let value = |row: usize| {
            if names.is_null(row) {
                return Ok(None);
            }
            let name = names.value(row);
            match caller.settings.get(&name.to_lowercase()) {
                Some(value) => Ok(Some(value.clone())),
                None if lenient.is_some_and(|lenient| lenient.is_valid(row) && lenient.value(row)) => Ok(None),
                None => Err(format!("unrecognized configuration parameter \"{name}\"")),
            }
        };
        let values = (0..rows).map(value).collect::<Result<Vec<Option<String>>, String>>()?;
        Ok(Arc::new(StringArray::from(values)))
    })
}
