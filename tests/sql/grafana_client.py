"""What Grafana's PostgreSQL data source asks, in its words and by the protocol that it uses: one simple query per panel, answered in text.

The statements about the catalog are those of its query editor, and the others are its macros written out ($__timeFilter, $__timeGroup,
$__unixEpochFilter and so on) over the tables of `crates/cli/tests/flights/grafana.rs`. libpq sends them; Grafana itself is not here.
Called as `grafana_client.py HOST PORT`; ends with an error where an answer is not as expected.
"""

import sys

import psycopg
from psycopg.pq import ExecStatus

BOOL, INT8, TEXT, FLOAT8, TIMESTAMP, TIMESTAMPTZ = 16, 20, 25, 701, 1114, 1184

IN_SEARCH_PATH = """
          quote_ident(table_schema) IN (
          SELECT
            CASE WHEN trim(s[i]) = '"$user"' THEN user ELSE trim(s[i]) END
          FROM
            generate_series(
              array_lower(string_to_array(current_setting('search_path'),','),1),
              array_upper(string_to_array(current_setting('search_path'),','),1)
            ) as i,
            string_to_array(current_setting('search_path'),',') s
          )"""

TABLES = f"""SELECT
    CASE WHEN {IN_SEARCH_PATH}
      THEN quote_ident(table_name)
      ELSE quote_ident(table_schema) || '.' || quote_ident(table_name)
    END AS "table"
    FROM information_schema.tables
    WHERE quote_ident(table_schema) NOT IN ('information_schema',
                             'pg_catalog',
                             '_timescaledb_cache',
                             '_timescaledb_catalog',
                             '_timescaledb_internal',
                             '_timescaledb_config',
                             'timescaledb_information',
                             'timescaledb_experimental')
    ORDER BY CASE WHEN {IN_SEARCH_PATH} THEN 0 ELSE 1 END, 1"""


def columns(table):
    return f"""SELECT quote_ident(column_name) AS "column", data_type AS "type"
    FROM information_schema.columns
    WHERE
      CASE WHEN array_length(parse_ident('{table}'),1) = 2
        THEN quote_ident(table_schema) = (parse_ident('{table}'))[1]
          AND quote_ident(table_name) = (parse_ident('{table}'))[2]
        ELSE quote_ident(table_name) = '{table}'
          AND {IN_SEARCH_PATH}
      END"""


FROM, TO = "2013-01-01T00:00:00Z", "2013-01-01T00:02:59.999Z"
# The readings: at 00:00:30 (a 1.5), 00:01:10 (a 2.5), 00:01:20 (b 4), 00:05:00 (b 8); epochs from 1356998430 on.

# A statement, the names and types of its columns, and its rows as texts.
CASES = [
    # The connection is tried, and looked at.
    ("SELECT current_setting('server_version_num')::int/100 as version", [("version", INT8)], [("1600",)]),
    ("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'", [("extversion", TEXT)], []),
    # The lists of the query editor.
    ("""SELECT schema_name AS "name"
    FROM information_schema.schemata
    WHERE schema_name NOT IN ('information_schema',
                              'pg_catalog',
                              'pg_toast',
                              '_timescaledb_cache',
                              '_timescaledb_catalog',
                              '_timescaledb_internal',
                              '_timescaledb_config',
                              'timescaledb_information',
                              'timescaledb_experimental')
    ORDER BY schema_name""", [("name", TEXT)], [("mulgil",), ("public",)]),
    ("""SELECT quote_ident(table_name) AS "table"
      FROM information_schema.tables
      WHERE quote_ident(table_schema) = 'public'
      ORDER BY 1""", [("table", TEXT)], [("cities",), ("cities_raw",), ("readings",)]),
    (columns("readings"), [("column", TEXT), ("type", TEXT)],
     [("t", "timestamp without time zone"), ("moment", "timestamp with time zone"), ("epoch", "bigint"), ("metric", "text"),
      ("value", "double precision")]),
    (columns("mulgil.watermarks"), [("column", TEXT), ("type", TEXT)], None),
    (columns("nothing"), [("column", TEXT), ("type", TEXT)], []),
    # A panel of times and values: by columns without and with a zone, and by seconds.
    (f"""SELECT t AS "time", value FROM readings WHERE t BETWEEN '{FROM}' AND '{TO}' ORDER BY 1""",
     [("time", TIMESTAMP), ("value", FLOAT8)],
     [("2013-01-01 00:00:30", "1.5"), ("2013-01-01 00:01:10", "2.5"), ("2013-01-01 00:01:20", "4")]),
    (f"""SELECT moment AS "time", value FROM readings WHERE moment BETWEEN '{FROM}' AND '{TO}' ORDER BY time""",
     [("time", TIMESTAMPTZ), ("value", FLOAT8)],
     [("2013-01-01 00:00:30+00", "1.5"), ("2013-01-01 00:01:10+00", "2.5"), ("2013-01-01 00:01:20+00", "4")]),
    (f"""SELECT extract(epoch from moment) as "time", value FROM readings WHERE moment >= '{FROM}' AND moment <= '{TO}' ORDER BY 1""",
     [("time", FLOAT8), ("value", FLOAT8)], [("1356998430", "1.5"), ("1356998470", "2.5"), ("1356998480", "4")]),
    ("""SELECT epoch AS "time", value FROM readings WHERE epoch >= 1356998400 AND epoch <= 1356998579 ORDER BY 1""",
     [("time", INT8), ("value", FLOAT8)], [("1356998430", "1.5"), ("1356998470", "2.5"), ("1356998480", "4")]),
    ("""SELECT value FROM readings WHERE epoch * 1000000000 >= 1356998400000000000 AND epoch * 1000000000 <= 1356998430000000000""",
     [("value", FLOAT8)], [("1.5",)]),
    # Groups of time, with a name for each series.
    (f"""SELECT floor(extract(epoch from moment)/60)*60 AS "time", metric, avg(value) AS "value"
FROM readings
WHERE moment BETWEEN '{FROM}' AND '{TO}'
GROUP BY time, metric
ORDER BY time, metric""", [("time", FLOAT8), ("metric", TEXT), ("value", FLOAT8)],
     [("1356998400", "a", "1.5"), ("1356998460", "a", "2.5"), ("1356998460", "b", "4")]),
    (f"""SELECT floor(extract(epoch from t)/0.5)*0.5 AS "time", count(*) FROM readings WHERE t BETWEEN '{FROM}' AND '{TO}'
GROUP BY 1 ORDER BY 1 LIMIT 1""", [("time", FLOAT8), ("count(*)", INT8)], [("1356998430", "1")]),
    ("""SELECT floor((epoch)/60)*60 AS "time", sum(value) AS "total" FROM readings
WHERE epoch >= 1356998400 AND epoch <= 1356998579 GROUP BY "time" ORDER BY "time" """,
     [("time", FLOAT8), ("total", FLOAT8)], [("1356998400", "1.5"), ("1356998460", "6.5")]),
    # What the editor builds, and a list for a variable of a dashboard, of one value and of several.
    ("""SELECT AVG(value), metric FROM readings WHERE (metric = 'a') GROUP BY metric ORDER BY metric ASC LIMIT 50 """,
     [("avg(readings.value)", FLOAT8), ("metric", TEXT)], [("2", "a")]),
    ("SELECT DISTINCT metric FROM readings WHERE metric IN ('a','b','it''s') ORDER BY 1", [("metric", TEXT)], [("a",), ("b",)]),
    ("SELECT metric AS __text, max(epoch) AS __value FROM readings WHERE metric ~ '^b' GROUP BY metric",
     [("__text", TEXT), ("__value", INT8)], [("b", "1356998700")]),
    # A table, and events to draw into panels.
    (f"""SELECT moment AS time, moment + INTERVAL '1' MINUTE AS timeend, metric AS text, 'x,y' AS tags FROM readings
WHERE moment BETWEEN '{FROM}' AND '{TO}' AND value > 2 ORDER BY moment LIMIT 1""",
     [("time", TIMESTAMPTZ), ("timeend", TIMESTAMPTZ), ("text", TEXT), ("tags", TEXT)],
     [("2013-01-01 00:01:10+00", "2013-01-01 00:02:10+00", "a", "x,y")]),
    ("SELECT value > 2 AS high, NULL AS nothing FROM readings WHERE metric = 'b' LIMIT 1", [("high", BOOL), ("nothing", TEXT)], [("t", None)]),
]


def text(value):
    return None if value is None else value.decode()


def ask(connection, statement):
    """All results of a simple query, each as its columns and rows."""
    connection.send_query(statement.encode())
    found = []
    while (result := connection.get_result()) is not None:
        assert result.status in (ExecStatus.TUPLES_OK, ExecStatus.EMPTY_QUERY), (statement, result.error_message.decode())
        names = [(result.fname(at).decode(), result.ftype(at)) for at in range(result.nfields)]
        rows = [tuple(text(result.get_value(row, at)) for at in range(result.nfields)) for row in range(result.ntuples)]
        found.append((result.status, names, rows))
    return found


def main(host, port):
    connection = psycopg.pq.PGconn.connect(f"host={host} port={port} user=grafana dbname=mulgil".encode())
    assert connection.status == psycopg.pq.ConnStatus.OK, connection.error_message
    # pgx's ping is a comment.
    assert ask(connection, "-- ping")[0][0] == ExecStatus.EMPTY_QUERY
    [(_, _, tables)] = ask(connection, TABLES)
    names = [name for (name,) in tables]
    assert names[:3] == ["cities", "cities_raw", "readings"] and "mulgil.runs" in names[3:], names
    assert all(name.startswith("mulgil.") for name in names[3:]) and names[3:] == sorted(names[3:]), names
    for statement, described, rows in CASES:
        [(_, names, found)] = ask(connection, statement)
        assert names == described, (statement, names)
        assert found == rows if rows is not None else len(found) > 2, (statement, found)
    results = ask(connection, "SELECT 1 AS a; SELECT 'b' AS b")
    assert [rows for (_, _, rows) in results] == [[("1",)], [("b",)]], results


if __name__ == "__main__":
    main(*sys.argv[1:])
