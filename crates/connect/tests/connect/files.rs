//! Reading files: columns by name, NULLs, types, folders of partitions, compression, positions.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::project::{Project, drain, partitioned_by, table, text};

const CSV: [(&str, &str); 2] = [("connector", "filesystem"), ("format", "csv")];

fn csv<'a>(path: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    CSV.iter().copied().chain([("path", path)]).chain(more.iter().copied()).collect()
}

#[tokio::test]
async fn columns_are_found_by_name_and_cells_typed() {
    let project = Project::new();
    let header = "\u{feff}extra,t,d,b,i,s,at,day,m";
    let lines = [
        "x,2013-01-01 05:15:00,1.5,true,-7,\"a, \"\"b\"\"\nc\",2013-01-01T10:00:00Z,2013-02-28,12.3",
        ",,NA,NA,NA,NA,,,",
    ];
    project.file("a.csv", format!("{header}\n{}\n", lines.join("\n")));
    let columns = "s STRING, i BIGINT, d DOUBLE, b BOOLEAN, t TIMESTAMP, at TIMESTAMP, day DATE, m DECIMAL";
    let table = table("t", columns, &csv("a.csv", &[("csv.null-literal", "NA")]));
    let rows = project.read(&table).await.unwrap();
    insta::assert_snapshot!(text(&rows), @r#"
    +--------+----+-----+------+---------------------+---------------------+------------+-------+
    | s      | i  | d   | b    | t                   | at                  | day        | m     |
    +--------+----+-----+------+---------------------+---------------------+------------+-------+
    | a, "b" | -7 | 1.5 | true | 2013-01-01T05:15:00 | 2013-01-01T10:00:00 | 2013-02-28 | 12.30 |
    | c      |    |     |      |                     |                     |            |       |
    |        |    |     |      |                     |                     |            |       |
    +--------+----+-----+------+---------------------+---------------------+------------+-------+
    "#);
}

#[tokio::test]
async fn without_a_null_literal_empty_text_is_null_and_with_one_it_is_text() {
    let project = Project::new();
    project.file("a.csv", "s;i\n;\nNA;1\n");
    for (literal, expected) in [(None, (1, 1)), (Some("NA"), (1, 1))] {
        let mut options = csv("a.csv", &[("csv.field-delimiter", ";")]);
        options.extend(literal.map(|literal| ("csv.null-literal", literal)));
        let rows = project.read(&table("t", "s STRING, i INT", &options)).await.unwrap();
        assert_eq!((rows.column(0).null_count(), rows.column(1).null_count()), expected);
        assert_eq!(rows.column(0).is_null(0), literal.is_none(), "with {literal:?}");
    }
}

#[tokio::test]
async fn a_file_without_header_is_read_by_position() {
    let project = Project::new();
    project.file("a.csv", "1,a\n2,b");
    let rows = project.read(&table("t", "x INT, y STRING", &csv("a.csv", &[("csv.header", "false")]))).await.unwrap();
    assert_eq!(text(&rows), "+---+---+\n| x | y |\n+---+---+\n| 1 | a |\n| 2 | b |\n+---+---+");
}

fn landing(project: &Project) {
    for (day, rows) in [("2013-01-01", "1\n2\n"), ("2013-01-02", "3\n"), ("2013-01-03", "broken\n")] {
        let name = format!("landing/day={day}/flights.csv.gz");
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(format!("flight\n{rows}").as_bytes()).unwrap();
        project.file(&name, packed.finish().unwrap());
    }
    project.file("landing/_SUCCESS", "");
    project.file("landing/.hidden/x.csv", "");
}

#[tokio::test]
async fn a_condition_on_partitions_opens_only_their_files() {
    let project = Project::new();
    landing(&project);
    let table = partitioned_by(table("landing", "flight INT, day DATE", &csv("landing", &[])), &["day"]);
    let conditions = [
        ("day = DATE '2013-01-01'", "3 | 2013-01-01 | 2"),
        ("day >= DATE '2013-01-02' AND day < DATE '2013-01-03'", "3 | 2013-01-02 | 1"),
        ("CAST(day AS VARCHAR) = '2013-01-02' AND flight = 3", "3 | 2013-01-02 | 1"),
        ("day BETWEEN '2013-01-01' AND '2013-01-02' AND flight > 2", "3 | 2013-01-02 | 1"),
    ];
    for (condition, _) in conditions {
        let sql = format!("SELECT sum(flight) AS s, max(day) AS day FROM t WHERE {condition}");
        let result = project.query(&table, &sql).await.unwrap();
        assert!(result.contains("| 3 | 2013-01-0"), "{condition}:\n{result}");
    }
    let nothing = project.query(&table, "SELECT count(*) AS n FROM t WHERE day = DATE '2020-01-01'").await.unwrap();
    assert!(nothing.contains("| 0 |"), "{nothing}");
    let error = project.query(&table, "SELECT count(flight) FROM t").await.unwrap_err().to_string();
    assert!(
        error.ends_with("day=2013-01-03/flights.csv.gz:2: column \"flight\": cannot read \"broken\" as INT"),
        "{error}"
    );
}

#[tokio::test]
async fn partition_values_are_columns() {
    let project = Project::new();
    project.file("t/a=x%2Fy/b=1/f.jsonl", "{\"v\":1}\n");
    project.file("t/a=__HIVE_DEFAULT_PARTITION__/b=2/f.jsonl", "{\"v\":2,\"a\":\"ignored\"}\n");
    let options = [("connector", "filesystem"), ("path", "t"), ("format", "json")];
    let table = partitioned_by(table("t", "b INT, v INT, a STRING", &options), &["a", "b"]);
    let rows = project.query(&table, "SELECT * FROM t ORDER BY v").await.unwrap();
    insta::assert_snapshot!(rows, @r"
    +---+---+-----+
    | b | v | a   |
    +---+---+-----+
    | 1 | 1 | x/y |
    | 2 | 2 |     |
    +---+---+-----+
    ");
}

#[tokio::test]
async fn a_folder_of_another_shape_is_refused() {
    let project = Project::new();
    let cases = [
        ("day=2013-13-45/a.csv", "which is not a DATE"),
        ("2013/a.csv", "is not named day=<value>"),
        ("a.csv", "is not in a folder day=<value>"),
    ];
    for (number, (file, expected)) in cases.into_iter().enumerate() {
        let folder = format!("landing{number}");
        project.file(&format!("{folder}/{file}"), "flight\n1\n");
        let table = partitioned_by(table("landing", "flight INT, day DATE", &csv(&folder, &[])), &["day"]);
        let error =
            project.query(&table, "SELECT * FROM t WHERE day > DATE '2013-01-01'").await.unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains(file.split('/').next().unwrap()), "{error}");
    }
    let table = table("t", "x INT", &csv("nowhere.csv", &[]));
    let error = project.read(&table).await.unwrap_err().to_string();
    assert!(error.starts_with("open /") && error.contains("nowhere.csv: No such file"), "{error}");
}

#[tokio::test]
async fn a_reader_goes_on_behind_its_position() {
    let project = Project::new();
    let numbers: String = (0..20_000).map(|number| format!("{number}\n")).collect();
    project.file("a.csv", format!("x\n{numbers}"));
    let source = project.connectors.source(&table("t", "x INT", &csv("a.csv", &[]))).unwrap();
    let mut reader = source.open(0, 8192, &[0], false).await.unwrap();
    let (batches, position) = drain(reader.as_mut()).await.unwrap();
    let first = arrow::array::cast::as_primitive_array::<arrow::datatypes::Int32Type>(batches[0].column(0)).value(0);
    assert_eq!((first, batches.iter().map(|batch| batch.num_rows()).sum::<usize>()), (8192, 20_000 - 8192));
    assert_eq!(position, 20_000);
}

#[tokio::test]
async fn no_column_at_all_still_counts_rows() {
    let project = Project::new();
    project.file("a.csv", "x\n1\n2\n");
    project.file("a.jsonl", "{\"x\":1}\n{\"x\":2}\n{}\n");
    let result = project.query(&table("t", "x INT", &csv("a.csv", &[])), "SELECT count(*) AS n FROM t").await.unwrap();
    assert!(result.contains("| 2 |"), "{result}");
    let json = [("connector", "filesystem"), ("path", "a.jsonl"), ("format", "json")];
    let result = project.query(&table("t", "x INT", &json), "SELECT count(*) AS n FROM t").await.unwrap();
    assert!(result.contains("| 3 |"), "{result}");
}

#[tokio::test]
async fn parquet_is_read_by_name_and_type() {
    let project = Project::new();
    let options = [("connector", "filesystem"), ("path", "a.parquet"), ("format", "parquet")];
    let wide = table("t", "x BIGINT, s STRING, at TIMESTAMP", &options);
    let sql = "SELECT 1 AS x, 'a' AS s, TIMESTAMP '2013-01-01T10:00:00' AS at UNION ALL SELECT 2, NULL, NULL";
    project.connectors.writer(&wide).unwrap().replace_table(super::project::select(sql).await).await.unwrap();
    let rows = project.query(&table("t", "s STRING, x INT", &options), "SELECT * FROM t ORDER BY x").await.unwrap();
    assert_eq!(rows, "+---+---+\n| s | x |\n+---+---+\n| a | 1 |\n|   | 2 |\n+---+---+");
    let count = project.query(&wide, "SELECT count(*) AS n FROM t").await.unwrap();
    assert!(count.contains("| 2 |"), "{count}");
    let cases = [
        ("y INT", "column \"y\" is missing; the file has: x, s, at"),
        ("s STRING NOT NULL", "row 2: column \"s\": NULL in a NOT NULL column"),
        ("s INT", "column \"s\" cannot be read (Cast error: Cannot cast string 'a' to value of Int32 type) as INT"),
    ];
    for (columns, expected) in cases {
        let error = project.read(&table("t", columns, &options)).await.unwrap_err().to_string();
        assert!(error.contains("/a.parquet: ") && error.ends_with(expected), "{error}");
    }
    project.file("a.parquet", "x\n1\n");
    let error = project.read(&wide).await.unwrap_err().to_string();
    assert!(error.contains("/a.parquet: this is not a Parquet file: "), "{error}");
}
