//! Random scalar expressions, conditions and aggregate calls, of which the results are exact in any order of rows.

use super::queries::Queries;
use super::relation::{Column, Type};

impl Queries<'_> {
    /// Up to `most` columns, at least one.
    pub(crate) fn some(&mut self, columns: &[Column], most: usize) -> Vec<Column> {
        let mut rest = columns.to_vec();
        let count = (1 + self.random.below(most)).min(rest.len());
        (0..count).map(|_| rest.swap_remove(self.random.below(rest.len()))).collect()
    }

    /// `l.a = r.b`, over columns of one type.
    pub(crate) fn equal_columns(&mut self, left: &[Column], right: &[Column]) -> Option<String> {
        let mut pairs = Vec::new();
        for l in left {
            let same = right.iter().filter(|r| r.data_type == l.data_type && l.data_type != Type::Boolean);
            pairs.extend(same.map(|r| format!("l.{} = r.{}", l.name, r.name)));
        }
        (!pairs.is_empty()).then(|| self.pick(&pairs))
    }

    /// ` AND l.a < r.b`, where there are such columns.
    pub(crate) fn comparison(&mut self, left: &[Column], right: &[Column]) -> String {
        let equal = self.equal_columns(left, right).unwrap_or_default();
        let operator = self.pick(&[" < ", " >= ", " <> "]);
        if equal.is_empty() { equal } else { format!(" AND {}", equal.replace(" = ", operator)) }
    }

    pub(crate) fn expression(&mut self, columns: &[Column]) -> (String, Type) {
        let Column { name, data_type } = self.pick(columns);
        if self.chance(3) {
            return (name, data_type);
        }
        let number = self.random.below(9) + 1;
        let texts = match data_type {
            Type::Text => vec![
                format!("upper({name})"),
                format!("{name} || '-{number}'"),
                format!("coalesce({name}, 'none')"),
                format!("CASE WHEN {name} = 'k1' THEN 'one' WHEN {name} IS NULL THEN 'null' ELSE {name} END"),
            ],
            Type::Big | Type::Small => vec![
                format!("CAST({name} + {number} AS BIGINT)"),
                format!("CAST({name} * {number} AS BIGINT)"),
                format!("CAST({name} % {number} AS BIGINT)"),
                format!("CAST(abs({name}) AS BIGINT)"),
                format!("CAST(CASE WHEN {name} > {number} THEN {name} ELSE -{number} END AS BIGINT)"),
                format!("CAST(nullif({name}, {number}) AS BIGINT)"),
            ],
            Type::Decimal => vec![
                format!("CAST({name} + {number}.25 AS DECIMAL(12, 2))"),
                format!("CAST({name} * {number} AS DECIMAL(12, 2))"),
                format!("CAST(abs({name}) AS DECIMAL(12, 2))"),
                format!("coalesce({name}, CAST(0.5 AS DECIMAL(12, 2)))"),
            ],
            Type::Odd => vec![format!("-{name}"), format!("coalesce({name}, 0.0)"), format!("nullif({name}, 0.1)")],
            Type::Double => vec![format!("{name} + {number}"), format!("{name} / 2"), format!("coalesce({name}, 0.5)")],
            Type::Boolean => vec![format!("NOT {name}"), format!("{name} IS TRUE"), format!("coalesce({name}, FALSE)")],
            Type::Date => {
                vec![format!("coalesce({name}, DATE '2024-02-29')"), format!("nullif({name}, DATE '1970-01-01')")]
            }
            Type::Ratio => vec![name.clone()],
            Type::Time => vec![
                format!("{name} + INTERVAL '{number}' SECOND"),
                // Not date_trunc: DataFusion's computes below nulls too, and overflows there in debug builds.
                format!("{name} - INTERVAL '1' DAY"),
                format!("coalesce({name}, TIMESTAMP '1970-01-01 00:00:00')"),
            ],
        };
        let result = match data_type {
            Type::Small => Type::Big,
            other => other,
        };
        (self.pick(&texts), result)
    }

    pub(crate) fn condition(&mut self, columns: &[Column], qualifier: &str) -> String {
        let Column { name, data_type } = self.pick(columns);
        let name = format!("{qualifier}{name}");
        let number = self.random.below(12);
        let texts = match data_type {
            Type::Text => vec![
                format!("{name} <> 'k{}'", number % 4),
                format!("{name} IN ('k0', 'k1')"),
                format!("{name} LIKE '%1'"),
                format!("{name} <> '물길'"),
                format!("length({name}) > 1"),
            ],
            Type::Big | Type::Small => vec![
                format!("{name} > {number}"),
                format!("{name} BETWEEN -{number} AND {number}"),
                format!("{name} % 2 = 0"),
            ],
            Type::Double | Type::Ratio | Type::Decimal | Type::Odd => {
                vec![format!("{name} < {number}"), format!("{name} IS NULL")]
            }
            Type::Boolean => vec![name.clone(), format!("NOT {name}"), format!("{name} IS NOT TRUE")],
            Type::Date => vec![format!("{name} > DATE '1970-01-01'"), format!("{name} IS NOT NULL")],
            Type::Time => {
                vec![format!("{name} >= TIMESTAMP '1970-01-01 00:00:{number:02}'"), format!("{name} IS NOT NULL")]
            }
        };
        let text = self.pick(&texts);
        match self.random.below(6) {
            0 => format!("({text} OR {name} IS NULL)"),
            1 => format!("NOT ({text})"),
            _ => text,
        }
    }

    pub(crate) fn aggregate_call(&mut self, columns: &[Column]) -> (String, Type) {
        let Column { name, data_type } = self.pick(columns);
        let mut calls = vec![
            ("count(*)".to_owned(), Type::Big),
            (format!("count({name})"), Type::Big),
            (format!("count(DISTINCT {name})"), Type::Big),
        ];
        match data_type {
            Type::Big | Type::Small => {
                calls.extend([
                    (format!("CAST(sum({name}) AS BIGINT)"), Type::Big),
                    (format!("CAST(min({name}) AS BIGINT)"), Type::Big),
                    (format!("CAST(max({name}) AS BIGINT)"), Type::Big),
                    (format!("avg({name})"), Type::Ratio),
                ]);
            }
            Type::Double => {
                calls.extend(["sum", "min", "max"].map(|function| (format!("{function}({name})"), Type::Double)));
                calls.push((format!("avg({name})"), Type::Ratio));
            }
            Type::Decimal => {
                let cast = |function| (format!("CAST({function}({name}) AS DECIMAL(12, 2))"), Type::Decimal);
                calls.extend(["sum", "min", "max"].map(cast));
                calls.push((format!("CAST(avg({name}) AS DOUBLE)"), Type::Ratio));
            }
            Type::Odd => {}
            Type::Text | Type::Time | Type::Date | Type::Ratio => {
                calls.extend(["min", "max"].map(|function| (format!("{function}({name})"), data_type)));
            }
            Type::Boolean => {
                calls.extend(["bool_and", "bool_or"].map(|function| (format!("{function}({name})"), Type::Boolean)));
            }
        }
        let (call, result) = self.pick(&calls);
        let has_filter = !call.starts_with("CAST") && self.chance(5);
        let filter =
            if has_filter { format!(" FILTER (WHERE {})", self.condition(columns, "")) } else { String::new() };
        (format!("{call}{filter}"), result)
    }
}
