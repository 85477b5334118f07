//! Functions between numbers and names of the catalog: what `::regclass` and its like are made of, `to_regclass`, `pg_get_viewdef`, what
//! keys are in SQL.
//!
//! PostgreSQL's `regclass` is a number that is written as a name. Here it is the one or the other: where it is compared or
//! handed on it is its number, and where it is shown it is its name; `regclass_number` and `regclass_name` give them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use mulgil_sql::function::Function;
use mulgil_sqlport::{type_name, wire_types};

use super::function;
use crate::sql_port::catalog::{Key, Relation, number_of_schema, quoted};
use crate::sql_port::tables::Tables;

/// A text for each row of the first argument that has one.
fn texts(arguments: &[ArrayRef], give: impl Fn(&str) -> Result<Option<String>, String>) -> Result<ArrayRef, String> {
    let given = as_texts(arguments)?;
    let values = given.as_string::<i32>().iter().map(|text| text.map_or(Ok(None), &give));
    Ok(Arc::new(values.collect::<Result<StringArray, String>>()?))
}

fn as_texts(arguments: &[ArrayRef]) -> Result<ArrayRef, String> {
    let given = arguments.first().ok_or("it takes a name or a number")?;
    cast(given, &DataType::Utf8).map_err(|error| error.to_string())
}

fn as_numbers(arguments: &[ArrayRef]) -> Result<ArrayRef, String> {
    let given = arguments.first().ok_or("it takes a number")?;
    cast(given, &DataType::Int64).map_err(|error| error.to_string())
}

/// The function by which something is named and the one by which it is numbered. A number that nothing has is written as it is, as
/// PostgreSQL does; a name that nothing has is a mistake.
fn named(
    functions: [&'static str; 2],
    what: &'static str,
    tables: &Arc<Tables>,
    name: fn(&Tables, i64) -> Option<String>,
    number: fn(&Tables, &str) -> Option<i64>,
) -> [Function; 2] {
    let [by_name, by_number] = functions;
    let numbered = move |tables: &Tables, text: &str| {
        let own = text.trim().parse().ok();
        own.or_else(|| number(tables, text)).ok_or_else(|| format!("{what} \"{text}\" does not exist"))
    };
    let (these, those) = (Arc::clone(tables), Arc::clone(tables));
    [
        function(by_name, (1, 1), DataType::Utf8, move |arguments, _| {
            texts(arguments, |text| {
                let number = numbered(&these, text)?;
                Ok(Some(name(&these, number).unwrap_or_else(|| number.to_string())))
            })
        }),
        function(by_number, (1, 1), DataType::Int64, move |arguments, _| {
            let given = as_texts(arguments)?;
            let given = given.as_string::<i32>().iter();
            let numbers = given.map(|text| text.map(|text| numbered(&those, text)).transpose());
            Ok(Arc::new(numbers.collect::<Result<Int64Array, String>>()?))
        }),
    ]
}

/// A text about each key whose number is the first argument; the second argument, if there is one, may say which of its columns.
fn of_key(name: &'static str, tables: &Arc<Tables>, tell: fn(&Key, i64) -> Option<String>) -> Function {
    let tables = Arc::clone(tables);
    function(name, (1, 3), DataType::Utf8, move |arguments, rows| {
        let numbers = as_numbers(arguments)?;
        let columns: ArrayRef = match arguments.get(1).filter(|column| *column.data_type() != DataType::Boolean) {
            Some(columns) => cast(columns, &DataType::Int64).map_err(|error| error.to_string())?,
            None => Arc::new(Int64Array::from(vec![0; rows])),
        };
        let text = |(number, column): (Option<i64>, Option<i64>)| tell(tables.catalog().key(number?)?, column?);
        let texts = numbers.as_primitive::<Int64Type>().iter().zip(columns.as_primitive::<Int64Type>()).map(text);
        Ok(Arc::new(texts.collect::<StringArray>()))
    })
}

/// A value for each relation whose number is the first argument.
fn of_relation<T, A: FromIterator<Option<T>> + Array + 'static>(
    name: &'static str,
    returns: DataType,
    tables: &Arc<Tables>,
    give: fn(&Relation) -> Option<T>,
) -> Function
where
    T: 'static,
{
    let tables = Arc::clone(tables);
    function(name, (1, 2), returns, move |arguments, _| {
        let numbers = as_numbers(arguments)?;
        let numbers = numbers.as_primitive::<Int64Type>().iter();
        Ok(Arc::new(numbers.map(|number| give(tables.catalog().relation(number?)?)).collect::<A>()))
    })
}

fn type_numbered(name: &str) -> Option<i64> {
    let name = name.trim().trim_start_matches("pg_catalog.").trim_matches('"').to_lowercase();
    let is_it = |oid: u32, short: &str| short == name || type_name(oid, -1).is_some_and(|long| long == name);
    wire_types().into_iter().find(|(wire, ..)| is_it(wire.oid, &wire.name)).map(|(wire, ..)| i64::from(wire.oid))
}

/// The functions of one session.
pub(super) fn all(tables: &Arc<Tables>) -> Vec<Function> {
    let relations = named(
        ["regclass_name", "regclass_number"],
        "relation",
        tables,
        |tables, number| tables.catalog().relation(number).map(Relation::written),
        |tables, text| tables.catalog().number_named(text),
    );
    let types = named(
        ["regtype_name", "regtype_number"],
        "type",
        tables,
        |_, number| type_name(u32::try_from(number).ok()?, -1),
        |_, text| type_numbered(text),
    );
    let schemas = named(
        ["regnamespace_name", "regnamespace_number"],
        "schema",
        tables,
        |tables, number| tables.catalog().schemas().find(|name| number_of_schema(name) == number).map(quoted),
        |tables, text| tables.catalog().schemas().find(|name| *name == text).map(number_of_schema),
    );
    let found = Arc::clone(tables);
    let to_regclass = function("to_regclass", (1, 1), DataType::Utf8, move |arguments, _| {
        texts(arguments, |text| Ok(found.catalog().named(text).map(Relation::written)))
    });
    // There are no functions to number: their names are compared.
    let procedures = ["regproc_name", "regproc_number"].map(|name| {
        function(name, (1, 1), DataType::Utf8, |arguments, _| {
            texts(arguments, |text| Ok(Some(text.trim_start_matches("pg_catalog.").to_owned())))
        })
    });
    let quote =
        function("quote_ident", (1, 1), DataType::Utf8, |arguments, _| texts(arguments, |text| Ok(Some(quoted(text)))));
    let others = [
        to_regclass,
        quote,
        of_relation::<bool, BooleanArray>("pg_table_is_visible", DataType::Boolean, tables, |relation| {
            Some(relation.is_visible())
        }),
        of_key("pg_get_constraintdef", tables, |key, _| Some(key.constraint())),
        of_key("pg_get_indexdef", tables, |key, column| match column {
            0 => Some(key.definition()),
            place => key.column(place),
        }),
        of_relation::<String, StringArray>("pg_get_viewdef", DataType::Utf8, tables, |relation| {
            relation.definition.clone()
        }),
    ];
    relations.into_iter().chain(types).chain(schemas).chain(procedures).chain(others).collect()
}
