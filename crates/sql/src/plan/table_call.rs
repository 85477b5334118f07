//! `LATERAL TABLE(f(x)) AS t (a, b)` and `TABLE(f('x'))`: calls of a program's table functions in `FROM`.

use std::collections::BTreeSet;

use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{
    Expr as Tree, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, ObjectName,
    TableAlias, TableFactor,
};

use crate::ddl::last_part;

/// Plans calls of table functions; everything else is left to others.
#[derive(Debug)]
pub(crate) struct TableCallPlanner {
    pub(crate) functions: BTreeSet<String>,
}

impl TableCallPlanner {
    fn knows(&self, name: &ObjectName) -> bool {
        self.functions.contains(&last_part(name))
    }

    fn call(&self, relation: &TableFactor) -> Option<(Tree, Option<TableAlias>)> {
        match relation {
            TableFactor::Function { name, args, alias, .. } if self.knows(name) => {
                Some((call_of(name, args), alias.clone()))
            }
            TableFactor::Function { name, args, alias, .. } if last_part(name) == "table" => match args.as_slice() {
                [FunctionArg::Unnamed(FunctionArgExpr::Expr(call))] => {
                    self.known(call).map(|call| (call, alias.clone()))
                }
                _ => None,
            },
            TableFactor::TableFunction { expr, alias } => self.known(expr).map(|call| (call, alias.clone())),
            TableFactor::Table { name, alias, args: Some(args), .. } if self.knows(name) => {
                Some((call_of(name, &args.args), alias.clone()))
            }
            _ => None,
        }
    }

    fn known(&self, tree: &Tree) -> Option<Tree> {
        matches!(tree, Tree::Function(function) if self.knows(&function.name)).then(|| tree.clone())
    }
}

fn call_of(name: &ObjectName, arguments: &[FunctionArg]) -> Tree {
    let list = FunctionArgumentList { duplicate_treatment: None, args: arguments.to_vec(), clauses: Vec::new() };
    Tree::Function(Function {
        name: name.clone(),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(list),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

impl RelationPlanner for TableCallPlanner {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let Some((call, alias)) = self.call(&relation) else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let rows = context.plan(TableFactor::UNNEST {
            alias: None,
            array_exprs: vec![call],
            with_offset: false,
            with_offset_alias: None,
            with_ordinality: false,
        })?;
        let row = rows.schema().columns().into_iter().next().map(Expr::Column);
        let fields = rows.schema().fields().first().map(|field| field.data_type().clone());
        let plan = match (row, fields) {
            (Some(row), Some(DataType::Struct(fields))) => {
                let field = |name: &String| get_field(row.clone(), name.as_str()).alias(name);
                let columns: Vec<Expr> = fields.iter().map(|of_row| field(of_row.name())).collect();
                LogicalPlanBuilder::from(rows).project(columns)?.build()?
            }
            _ => rows,
        };
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
    }
}
