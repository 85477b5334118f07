//! `CREATE TABLE` and `CREATE MATERIALIZED TABLE`: what Flink's parser takes and the SQL parser beneath us does not.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::datatypes::DataType;
use datafusion::sql::sqlparser::ast::{Expr, Ident, ObjectName};
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan};
use mulgil_connect::definition::{
    ColumnDefinition, MetadataDefinition, TableDefinition, TableName, WatermarkDefinition,
};

use crate::duration::duration_of_interval;
use crate::problem::{Mistake, did_you_mean};
use crate::statement::{RefreshMode, Setting, TableDeclaration, TablePlaces, ViewDeclaration, expect_end, parse_query};
use crate::text::{SourceText, parser};
use crate::types::{parse_type, skip_word, skip_words};

/// Unquoted identifiers fold to lower case, as DataFusion folds them.
pub(crate) fn fold(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// The last part of a dotted name.
pub(crate) fn last_part(name: &ObjectName) -> String {
    name.0.last().and_then(|part| part.as_ident()).map(fold).unwrap_or_default()
}

/// `t` or `namespace.t`.
pub(crate) fn table_name(name: &ObjectName, at: Location) -> Result<TableName, Mistake> {
    let parts: Vec<String> = name.0.iter().filter_map(|part| part.as_ident()).map(fold).collect();
    match parts.as_slice() {
        [name] => Ok(TableName { namespace: TableName::DEFAULT_NAMESPACE.to_owned(), name: name.clone() }),
        [namespace, name] => Ok(TableName { namespace: namespace.clone(), name: name.clone() }),
        _ => {
            Err(Mistake::new(at, format!("{name} has too many parts")).remedy("names are `table` or `namespace.table`"))
        }
    }
}

/// The name that a broken `CREATE` statement would have given, as far as it can be read.
pub(crate) fn name_of(tokens: &[TokenWithSpan]) -> Option<TableName> {
    let mut parser = parser(tokens.to_vec());
    if !skip_word(&mut parser, "CREATE") {
        return None;
    }
    skip_word(&mut parser, "MATERIALIZED");
    skip_words(&mut parser, &["TABLE"]).ok()?;
    skip_if_not_exists(&mut parser).ok()?;
    read_name(&mut parser).ok().map(|(name, _)| name)
}

fn skip_if_not_exists(parser: &mut Parser<'_>) -> Result<(), Mistake> {
    if skip_word(parser, "IF") { skip_words(parser, &["NOT", "EXISTS"]) } else { Ok(()) }
}

fn place(parser: &Parser<'_>) -> Location {
    parser.peek_token_ref().span.start
}

fn read_name(parser: &mut Parser<'_>) -> Result<(TableName, Location), Mistake> {
    let at = place(parser);
    let name = parser.parse_object_name(false).map_err(|error| Mistake::from_parser(&error, at))?;
    Ok((table_name(&name, at)?, at))
}

fn read_identifier(parser: &mut Parser<'_>) -> Result<(String, Location), Mistake> {
    let at = place(parser);
    let ident = parser.parse_identifier().map_err(|error| Mistake::from_parser(&error, at))?;
    Ok((fold(&ident), at))
}

fn expect(parser: &mut Parser<'_>, token: &Token) -> Result<(), Mistake> {
    let found = parser.peek_token();
    if parser.consume_token(token) {
        return Ok(());
    }
    Err(Mistake::new(found.span.start, format!("expected {token}, found {}", found.token)))
}

/// Reads an expression, and its text.
fn read_expression(parser: &mut Parser<'_>, source: &SourceText<'_>) -> Result<(Expr, String), Mistake> {
    let start = place(parser);
    let expression = parser.parse_expr().map_err(|error| Mistake::from_parser(&error, start))?;
    parser.prev_token();
    let end = parser.next_token().span.end;
    Ok((expression, source.between(start, end).to_owned()))
}

/// Reads `CREATE TABLE`.
pub(crate) fn parse_table(source: &SourceText<'_>, tokens: &[TokenWithSpan]) -> Result<TableDeclaration, Mistake> {
    let mut parser = parser(tokens.to_vec());
    skip_words(&mut parser, &["CREATE", "TABLE"])?;
    skip_if_not_exists(&mut parser)?;
    let (name, name_at) = read_name(&mut parser)?;
    let mut table = TableDeclaration {
        definition: TableDefinition {
            name,
            columns: Vec::new(),
            watermark: None,
            partitioned_by: Vec::new(),
            primary_key: Vec::new(),
            options: BTreeMap::new(),
        },
        places: TablePlaces::of(name_at),
    };
    expect(&mut parser, &Token::LParen)?;
    loop {
        read_table_element(&mut parser, source, &mut table)?;
        if !parser.consume_token(&Token::Comma) {
            break;
        }
    }
    let found = parser.peek_token();
    if !parser.consume_token(&Token::RParen) {
        return Err(Mistake::new(found.span.start, format!("expected , or ) after a column, found {}", found.token)));
    }
    read_table_clauses(&mut parser, &mut table)?;
    expect_end(&mut parser)?;
    if !table.definition.options.contains_key("connector") {
        return Err(Mistake::new(name_at, format!("table {} says no connector", table.definition.name))
            .remedy("add WITH ('connector' = '...') behind the columns"));
    }
    Ok(table)
}

/// What stands between the commas of a table's parentheses.
fn read_table_element(
    parser: &mut Parser<'_>,
    source: &SourceText<'_>,
    table: &mut TableDeclaration,
) -> Result<(), Mistake> {
    let next_is =
        |parser: &Parser<'_>, nth: usize, word: &str| crate::text::is_word(&parser.peek_nth_token_ref(nth).token, word);
    if next_is(parser, 0, "WATERMARK") && next_is(parser, 1, "FOR") {
        return read_watermark(parser, source, table);
    }
    if next_is(parser, 0, "CONSTRAINT") {
        parser.next_token();
        read_identifier(parser)?;
    }
    if next_is(parser, 0, "PRIMARY") && next_is(parser, 1, "KEY") {
        skip_words(parser, &["PRIMARY", "KEY"])?;
        expect(parser, &Token::LParen)?;
        table.definition.primary_key = read_identifiers(parser)?.into_iter().map(|(name, _)| name).collect();
        return skip_words(parser, &["NOT", "ENFORCED"]);
    }
    read_column(parser, source, table)
}

fn read_watermark(
    parser: &mut Parser<'_>,
    source: &SourceText<'_>,
    table: &mut TableDeclaration,
) -> Result<(), Mistake> {
    let at = place(parser);
    skip_words(parser, &["WATERMARK", "FOR"])?;
    let (column, column_at) = read_identifier(parser)?;
    skip_words(parser, &["AS"])?;
    let (tree, expression) = read_expression(parser, source)?;
    if table.definition.watermark.is_some() {
        return Err(Mistake::new(at, "a table has one watermark").remedy("remove one of the WATERMARK clauses"));
    }
    table.definition.watermark = Some(WatermarkDefinition { column, expression });
    table.places.watermark = Some((column_at, tree));
    Ok(())
}

fn read_column(parser: &mut Parser<'_>, source: &SourceText<'_>, table: &mut TableDeclaration) -> Result<(), Mistake> {
    let (name, at) = read_identifier(parser)?;
    if table.definition.columns.iter().any(|column| column.name == name) {
        return Err(Mistake::new(at, format!("column {name} is there twice")).remedy("give one of them another name"));
    }
    let mut column =
        ColumnDefinition { name, data_type: DataType::Null, nullable: true, computed: None, metadata: None };
    let mut tree = None;
    if skip_word(parser, "AS") {
        let (expression, text) = read_expression(parser, source)?;
        column.computed = Some(text);
        tree = Some(expression);
    } else {
        column.data_type = parse_type(parser)?;
    }
    loop {
        let at = place(parser);
        if skip_word(parser, "NOT") {
            skip_words(parser, &["NULL"])?;
            column.nullable = false;
        } else if skip_word(parser, "NULL") {
            column.nullable = true;
        } else if skip_word(parser, "PRIMARY") {
            skip_words(parser, &["KEY", "NOT", "ENFORCED"])?;
            table.definition.primary_key = vec![column.name.clone()];
        } else if skip_word(parser, "COMMENT") {
            parser.parse_literal_string().map_err(|error| Mistake::from_parser(&error, at))?;
        } else if skip_word(parser, "METADATA") {
            if column.computed.is_some() {
                return Err(Mistake::new(at, format!("column {} is computed and no metadata", column.name))
                    .remedy("write `name TYPE METADATA FROM 'key'`"));
            }
            column.metadata = Some(read_metadata(parser, &column.name)?);
        } else {
            break;
        }
    }
    table.definition.columns.push(column);
    table.places.columns.push(at);
    table.places.computed.push(tree);
    Ok(())
}

/// `[FROM 'key'] [VIRTUAL]`, behind `METADATA`.
fn read_metadata(parser: &mut Parser<'_>, column: &str) -> Result<MetadataDefinition, Mistake> {
    let mut key = column.to_owned();
    if skip_word(parser, "FROM") {
        let at = place(parser);
        key = parser.parse_literal_string().map_err(|error| Mistake::from_parser(&error, at))?;
    }
    Ok(MetadataDefinition { key, is_virtual: skip_word(parser, "VIRTUAL") })
}

/// `a, b)`.
fn read_identifiers(parser: &mut Parser<'_>) -> Result<Vec<(String, Location)>, Mistake> {
    let mut names = vec![read_identifier(parser)?];
    while parser.consume_token(&Token::Comma) {
        names.push(read_identifier(parser)?);
    }
    expect(parser, &Token::RParen)?;
    Ok(names)
}

fn read_table_clauses(parser: &mut Parser<'_>, table: &mut TableDeclaration) -> Result<(), Mistake> {
    loop {
        let at = place(parser);
        if skip_word(parser, "COMMENT") {
            parser.parse_literal_string().map_err(|error| Mistake::from_parser(&error, at))?;
        } else if skip_word(parser, "PARTITIONED") {
            skip_words(parser, &["BY"])?;
            expect(parser, &Token::LParen)?;
            for (name, at) in read_identifiers(parser)? {
                table.definition.partitioned_by.push(name);
                table.places.partitioned_by.push(at);
            }
        } else if skip_word(parser, "WITH") {
            let (options, places) = read_options(parser)?;
            table.definition.options = options;
            table.places.options = places;
        } else {
            return Ok(());
        }
    }
}

type Options = (BTreeMap<String, String>, BTreeMap<String, Location>);

/// `('key' = 'value', ...)`.
fn read_options(parser: &mut Parser<'_>) -> Result<Options, Mistake> {
    let (mut options, mut places) = Options::default();
    expect(parser, &Token::LParen)?;
    loop {
        let (key, at, value, value_at) = read_option(parser)?;
        if options.insert(key.clone(), value).is_some() {
            return Err(Mistake::new(at, format!("option '{key}' is there twice")).remedy("remove one of them"));
        }
        places.insert(key, value_at);
        if !parser.consume_token(&Token::Comma) {
            break;
        }
    }
    expect(parser, &Token::RParen)?;
    Ok((options, places))
}

/// Reads `SET 'option' = 'value'`.
pub(crate) fn parse_setting(tokens: &[TokenWithSpan]) -> Result<Setting, Mistake> {
    let mut parser = parser(tokens.to_vec());
    skip_words(&mut parser, &["SET"])?;
    let (option, option_at, value, value_at) = read_option(&mut parser)?;
    expect_end(&mut parser)?;
    Ok(Setting { option, value, option_at, value_at })
}

/// `'key' = 'value'`, and where the two stand.
fn read_option(parser: &mut Parser<'_>) -> Result<(String, Location, String, Location), Mistake> {
    let at = place(parser);
    let quoted =
        |error| Mistake::from_parser(&error, at).remedy("options are written 'key' = 'value', both in single quotes");
    let key = parser.parse_literal_string().map_err(quoted)?;
    expect(parser, &Token::Eq)?;
    let value_at = place(parser);
    let value = parser.parse_literal_string().map_err(quoted)?;
    Ok((key, at, value, value_at))
}

/// Reads `CREATE MATERIALIZED TABLE`; its clauses may come in any order.
pub(crate) fn parse_view(source: &SourceText<'_>, tokens: &[TokenWithSpan]) -> Result<ViewDeclaration, Mistake> {
    let mut parser = parser(tokens.to_vec());
    skip_words(&mut parser, &["CREATE", "MATERIALIZED", "TABLE"])?;
    skip_if_not_exists(&mut parser)?;
    let (name, name_at) = read_name(&mut parser)?;
    let (mut options, mut option_places) = Options::default();
    let (mut freshness, mut mode, mut partitioned_by) = (None, RefreshMode::Continuous, None);
    loop {
        let at = place(&parser);
        if skip_word(&mut parser, "WITH") {
            (options, option_places) = read_options(&mut parser)?;
        } else if skip_word(&mut parser, "COMMENT") {
            parser.parse_literal_string().map_err(|error| Mistake::from_parser(&error, at))?;
        } else if skip_word(&mut parser, "PARTITIONED") {
            partitioned_by = Some(read_partition(&mut parser)?);
        } else if skip_word(&mut parser, "FRESHNESS") {
            expect(&mut parser, &Token::Eq)?;
            freshness = Some(read_freshness(&mut parser)?);
        } else if skip_word(&mut parser, "REFRESH_MODE") {
            expect(&mut parser, &Token::Eq)?;
            mode = read_mode(&mut parser)?;
        } else if skip_word(&mut parser, "AS") {
            break;
        } else {
            let found = parser.peek_token().token;
            return Err(Mistake::new(at, format!("expected AS before the view's SELECT, found {found}")).remedy(
                "before AS may stand PARTITIONED BY (day), WITH (...), FRESHNESS = INTERVAL '10' SECOND, REFRESH_MODE = CONTINUOUS",
            ));
        }
    }
    let at = place(&parser);
    // The parser drops the word TABLE from window calls, so the query is found again by its place in the text.
    let rest: Vec<TokenWithSpan> = tokens.iter().filter(|token| token.span.start >= at).cloned().collect();
    if rest.is_empty() {
        return Err(Mistake::new(name_at, format!("view {name} has no SELECT")).remedy("write AS SELECT ..."));
    }
    let query_text = source.of(&rest).to_owned();
    let query = parse_query(rest, at)?;
    Ok(ViewDeclaration { name, mode, freshness, partitioned_by, options, query_text, query, name_at, option_places })
}

/// The one column by which a view is partitioned.
fn read_partition(parser: &mut Parser<'_>) -> Result<(String, Location), Mistake> {
    let at = place(parser);
    skip_words(parser, &["BY"])?;
    expect(parser, &Token::LParen)?;
    let columns: [(String, Location); 1] = read_identifiers(parser)?.try_into().map_err(|_| {
        Mistake::new(at, "a view is partitioned by one column, of time")
            .remedy("write for example PARTITIONED BY (day)")
    })?;
    let [column] = columns;
    Ok(column)
}

fn read_freshness(parser: &mut Parser<'_>) -> Result<Duration, Mistake> {
    let at = place(parser);
    let wrong = || {
        Mistake::new(at, "FRESHNESS is not an interval").remedy("write for example FRESHNESS = INTERVAL '10' SECOND")
    };
    let tree = parser.parse_expr().map_err(|_| wrong())?;
    let millis = duration_of_interval(&tree).ok_or_else(wrong)?;
    u64::try_from(millis).map(Duration::from_millis).map_err(|_| wrong())
}

fn read_mode(parser: &mut Parser<'_>) -> Result<RefreshMode, Mistake> {
    const MODES: [(&str, RefreshMode); 4] = [
        ("FULL", RefreshMode::Full),
        ("CONTINUOUS", RefreshMode::Continuous),
        ("LAMBDA", RefreshMode::Lambda),
        ("KAPPA", RefreshMode::Kappa),
    ];
    let token = parser.next_token();
    let written = token.token.to_string();
    MODES.iter().find(|(name, _)| name.eq_ignore_ascii_case(&written)).map(|(_, mode)| *mode).ok_or_else(|| {
        Mistake::new(token.span.start, format!("unknown refresh mode {written}")).remedy(did_you_mean(
            &written,
            &MODES.map(|(name, _)| name),
            "modes",
        ))
    })
}
