//! `GROUPING SETS`, `CUBE` and `ROLLUP`: each row counts once for each set, with the keys that the set leaves out made
//! null. The set without keys is an aggregation of its own, for it has a row even when there are no rows at all.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::common::{Column, DFSchema, DFSchemaRef, ScalarValue};
use datafusion::logical_expr::{Expr, GroupingSet};
use mulgil_dataflow::graph::LogicalOperator;
use mulgil_dataflow::operators::expand::{Expand, GroupingSet as Set};
use mulgil_dataflow::operators::group_aggregate::GroupAggregate;

use super::key::Key;
use super::translate::{Rows, Translation};
use crate::problem::SqlError;

impl Translation {
    /// `definition` is the aggregation by all keys, over `prepared`; `schema` has the number of the set behind the keys.
    pub(super) fn grouping_sets(
        &mut self,
        prepared: Rows,
        definition: GroupAggregate,
        sets: &GroupingSet,
        schema: &DFSchemaRef,
    ) -> Result<Rows, SqlError> {
        let key_count = definition.key_count + 1;
        let (with_keys, without): (Vec<Set>, Vec<Set>) =
            grouping_sets(sets).into_iter().partition(|set| set.kept.contains(&true));
        let mut parts = Vec::new();
        if !without.is_empty() {
            self.share(&prepared);
            let total = self.total(&prepared, &definition, schema)?;
            self.share(&total);
            for set in &without {
                parts.push(self.total_of_set(&total, set, schema)?);
            }
        }
        if !with_keys.is_empty() {
            parts.push(self.expanded(prepared, definition, with_keys, schema)?);
        }
        if parts.len() == 1
            && let Some(only) = parts.pop()
        {
            return Ok(only);
        }
        // The number of the set says which part a row is of: so the keys are those of each part.
        let key = Key::of((0..key_count).map(|column| vec![column]).collect());
        let nodes = parts.iter().map(|part| part.node).collect();
        Ok(self.push(LogicalOperator::Union, nodes, schema, key))
    }

    /// The aggregation by the sets that have keys.
    fn expanded(
        &mut self,
        prepared: Rows,
        mut definition: GroupAggregate,
        sets: Vec<Set>,
        schema: &DFSchemaRef,
    ) -> Result<Rows, SqlError> {
        let key_count = definition.key_count;
        let mut fields: Vec<Field> = prepared.schema.fields().iter().map(|field| field.as_ref().clone()).collect();
        fields.insert(key_count, schema.field(key_count).as_ref().clone());
        let expanded = Arc::new(DFSchema::try_from(Schema::new(fields))?);
        let expand = Expand { sets, key_texts: definition.key_texts.clone() };
        let operator = LogicalOperator::Apply(Arc::new(expand));
        let rows = self.push(operator, vec![prepared.node], &expanded, Key::none());
        // The number of the set is a key too, and stands before the arguments.
        definition.key_count += 1;
        for call in &mut definition.calls {
            call.arguments.iter_mut().chain(&mut call.filter).for_each(|column| *column += 1);
        }
        Ok(self.group(rows, definition, schema))
    }

    /// The aggregation of everything: only results, without keys.
    fn total(&mut self, prepared: &Rows, definition: &GroupAggregate, schema: &DFSchemaRef) -> Result<Rows, SqlError> {
        let results = schema.fields().iter().skip(definition.key_count + 1);
        let results: Vec<Field> = results.map(|field| field.as_ref().clone()).collect();
        let results = Arc::new(DFSchema::try_from(Schema::new(results))?);
        let definition = GroupAggregate { key_count: 0, key_texts: Vec::new(), ..definition.clone() };
        Ok(self.group(prepared.clone(), definition, &results))
    }

    /// It as a row of a set: the keys null, the number of the set, the results.
    fn total_of_set(&mut self, total: &Rows, set: &Set, schema: &DFSchemaRef) -> Result<Rows, SqlError> {
        let mut columns = Vec::with_capacity(schema.fields().len());
        for field in schema.fields().iter().take(set.kept.len()) {
            columns.push(Expr::Literal(ScalarValue::try_from(field.data_type())?, None));
        }
        let number = ScalarValue::from(set.id).cast_to(schema.field(set.kept.len()).data_type())?;
        columns.push(Expr::Literal(number, None));
        columns.extend(total.schema.iter().map(|field| Expr::Column(Column::from(field))));
        self.project(total.clone(), &columns, schema)
    }
}

/// The sets that a `GROUPING SETS`, `CUBE` or `ROLLUP` stands for, with DataFusion's numbers: a bit for each key that is
/// left out, that of the last key the least; above them how often the same set stood there before.
fn grouping_sets(sets: &GroupingSet) -> Vec<Set> {
    let all = sets.distinct_expr();
    let groups: Vec<Vec<&Expr>> = match sets {
        GroupingSet::Rollup(keys) => (0..=keys.len()).map(|length| keys.iter().take(length).collect()).rev().collect(),
        GroupingSet::Cube(keys) => {
            let subset = |bits: usize| keys.iter().enumerate().filter(move |(key, _)| bits >> key & 1 == 1);
            (0..1_usize << keys.len()).map(|bits| subset(bits).map(|(_, key)| key).collect()).collect()
        }
        GroupingSet::GroupingSets(groups) => groups.iter().map(|group| group.iter().collect()).collect(),
    };
    let mut made: Vec<Set> = Vec::with_capacity(groups.len());
    for group in groups {
        let kept: Vec<bool> = all.iter().map(|key| group.contains(key)).collect();
        let left_out = kept.iter().fold(0_u64, |bits, kept| bits << 1 | u64::from(!kept));
        let repeated = made.iter().filter(|set| set.kept == kept).count() as u64;
        made.push(Set { id: repeated << all.len() | left_out, kept });
    }
    made
}
