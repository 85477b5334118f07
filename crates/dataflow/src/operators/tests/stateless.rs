//! Operators that remember nothing.

use arrow::array::UInt8Array;

use super::*;
use crate::expression::{Expression, NamedExpression};
use crate::graph::Window;
use crate::native::{Binary, BinaryOperation, Literal, column};
use crate::operators::filter::Filter;
use crate::operators::project::Project;
use crate::operators::union::Union;
use crate::operators::watermark_assign::WatermarkAssign;
use crate::operators::window_assign::WindowAssign;

fn number(value: i64) -> Literal {
    Literal::new(&value.to_string(), Arc::new(Int64Array::from(vec![value])))
}

fn expression(name: &str) -> Arc<dyn Expression> {
    column(&input_schema(), name).unwrap().expression
}

#[test]
fn project_computes_columns_and_keeps_the_kinds() {
    let less_one = Binary::new(expression("v"), BinaryOperation::Minus, number(1));
    let schema =
        Arc::new(Schema::new(vec![Field::new("w", DataType::Int64, true), Field::new("key", DataType::Utf8, true)]));
    let expressions = vec![
        NamedExpression { name: "w".to_owned(), expression: Arc::new(less_one) },
        column(&input_schema(), "key").unwrap(),
    ];
    let mut batch = input(&[(Some("a"), None, Some(3)), (None, None, None)]);
    batch.kinds = Some(UInt8Array::from(vec![1, 2]));
    let out = process(&mut Project::new(expressions, schema), batch);
    assert_eq!(lines(&out.batches), ["-U 2 a", "+U null null"]);
}

#[test]
fn project_to_no_columns_keeps_the_number_of_rows() {
    let out = process(&mut Project::new(vec![], Arc::new(Schema::empty())), input(&[(None, None, None); 3]));
    assert_eq!(out.batches[0].num_rows(), 3);
}

#[test]
fn an_expression_that_fails_names_itself() {
    let overflow = Binary::new(expression("v"), BinaryOperation::Minus, number(1));
    let schema = Arc::new(Schema::new(vec![Field::new("w", DataType::Int64, true)]));
    let expressions = vec![NamedExpression { name: "w".to_owned(), expression: Arc::new(overflow) }];
    let mut operator = Project::new(expressions, schema);
    let error = operator.process(0, input(&[(None, None, Some(i64::MIN))]), &mut Recorder::default()).unwrap_err();
    assert!(error.to_string().starts_with("cannot evaluate v - 1: "), "{error}");
}

#[test]
fn filter_keeps_what_is_true_and_not_what_is_unknown() {
    let predicate = Arc::new(Binary::new(expression("v"), BinaryOperation::Greater, number(1)));
    let mut filter = Filter::new(predicate);
    let mut batch = input(&[(Some("a"), None, Some(1)), (Some("b"), None, None), (Some("c"), None, Some(2))]);
    batch.kinds = Some(UInt8Array::from(vec![0, 1, 2]));
    assert_eq!(lines(&process(&mut filter, batch).batches), ["+U c null 2"]);
    assert!(process(&mut filter, input(&[(None, None, Some(0))])).batches.is_empty());
    assert_eq!(process(&mut filter, input(&[(None, None, Some(9)); 5])).batches[0].num_rows(), 5);

    let mut not_boolean = Filter::new(expression("v"));
    assert!(not_boolean.process(0, input(&[(None, None, None)]), &mut Recorder::default()).is_err());
}

#[test]
fn union_gives_rows_under_the_names_of_its_output() {
    let renamed = Arc::new(Schema::new(vec![
        Field::new("a", DataType::Utf8, true),
        Field::new("b", time_type(), true),
        Field::new("c", DataType::Int64, true),
    ]));
    let out = process(&mut Union::new(renamed.clone()), input(&[(Some("x"), Some(1), Some(2))]));
    assert_eq!(out.batches[0].rows.schema(), renamed);
}

#[test]
fn window_assign_appends_bounds_and_leaves_out_rows_without_a_time() {
    let mut fields: Vec<Field> = input_schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.extend(["window_start", "window_end", "window_time"].map(|name| Field::new(name, time_type(), false)));
    let window = Window::Tumbling { size_ms: 10, offset_ms: 0 };
    let mut assign = WindowAssign::new(1, window, Arc::new(Schema::new(fields)));
    let rows = [(Some("a"), Some(-1), None), (Some("b"), None, None), (Some("c"), Some(10), None)];
    let out = process(&mut assign, input(&rows));
    assert_eq!(lines(&out.batches), ["a -1 null -10 0 -1", "c 10 null 10 20 19"]);
    assert_eq!(out.null_times, 1);
}

#[test]
fn window_assign_gives_a_row_once_for_each_of_its_windows() {
    let mut fields: Vec<Field> = input_schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.extend(["window_start", "window_end", "window_time"].map(|name| Field::new(name, time_type(), false)));
    let schema = Arc::new(Schema::new(fields));
    let mut batch = input(&[(Some("a"), Some(7), None), (Some("b"), None, None), (Some("c"), Some(-1), None)]);
    batch.kinds = Some(UInt8Array::from(vec![0, 1, 2]));
    for (window, expected) in [
        (
            Window::Hopping { slide_ms: 5, size_ms: 10, offset_ms: 0 },
            ["+I a 7 null 0 10 9", "+I a 7 null 5 15 14", "+U c -1 null -10 0 -1", "+U c -1 null -5 5 4"].as_slice(),
        ),
        (Window::Hopping { slide_ms: 10, size_ms: 5, offset_ms: 0 }, &[]),
        (
            Window::Cumulating { step_ms: 5, size_ms: 10, offset_ms: 0 },
            &["+I a 7 null 0 10 9", "+U c -1 null -10 0 -1"],
        ),
    ] {
        let mut assign = WindowAssign::new(1, window, Arc::clone(&schema));
        assert_eq!(lines(&process(&mut assign, batch.clone()).batches), expected, "{window:?}");
    }
}

#[test]
fn the_watermark_of_rows_is_their_largest_bound_and_never_the_end_of_time() {
    let assign = WatermarkAssign::new(expression("ts"));
    let watermark = |rows: &[InputRow]| assign.watermark_of(&input(rows).rows).unwrap();
    assert_eq!(watermark(&[(None, Some(5), None), (None, Some(9), None), (None, None, None)]), Some(Watermark(9)));
    assert_eq!(watermark(&[(None, None, None)]), None);
    assert_eq!(watermark(&[]), None);
    assert!(watermark(&[(None, Some(i64::MAX), None)]).unwrap() < Watermark::END);
}
