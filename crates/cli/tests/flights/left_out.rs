//! Rows that a query in batch cannot read: the program says which and how many, also where nobody has asked for a log.

use crate::program::{Folder, mulgil};

#[test]
fn a_query_in_batch_says_which_rows_it_left_out_and_how_many() {
    let folder = Folder::new();
    folder.write("mulgil.yaml", "");
    let lines: String = (0..60).map(|n| if n % 3 == 0 { format!("x{n}\n") } else { format!("{n}\n") }).collect();
    folder.write("in/a.csv", &format!("n\n{lines}"));
    let declaration = "CREATE TABLE t (n INT) WITH ('connector' = 'filesystem', 'path' = 'in', 'format' = 'csv', 'bad-rows' = 'skip');";
    folder.write("sources/t.sql", declaration);

    let mut command = mulgil();
    command.env_remove("MULGIL_LOG").env("NO_COLOR", "1").arg("--project").arg(folder.path(""));
    let output = command.args(["sql", "--format", "csv", "-c", "SELECT count(n) AS rows FROM t"]).output().unwrap();

    assert_eq!(String::from_utf8_lossy(&output.stdout), "rows\n40\n");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.matches("a row cannot be read; it is left out").count(), 10, "{said}");
    assert!(said.contains(r#"a.csv:2 reason=column "n": cannot read "x0" as INT"#), "{said}");
    assert!(said.contains("left out, in all table=t rows=20"), "{said}");
}
