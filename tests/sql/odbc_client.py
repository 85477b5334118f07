"""PostgreSQL's ODBC driver (psqlodbc, through unixODBC and pyodbc) as a client of the SQL port.

Called as `odbc_client.py HOST PORT`, or `odbc_client.py HOST PORT PASSWORD CERTIFICATE` where the port has a password and encrypts; ends
with an error where something is not as promised.
"""

import datetime
import decimal
import sys
import threading

import pyodbc

EVERY_TYPE = """
SELECT true AS truth, CAST(-7 AS SMALLINT) AS small, CAST(70000 AS INT) AS whole, CAST(9007199254740993 AS BIGINT) AS big,
  CAST(0.5 AS FLOAT) AS half, CAST(1.1 AS DOUBLE) AS real, CAST(12.50 AS DECIMAL(10, 2)) AS price,
  '물길' AS word, decode('00ff61', 'hex') AS bytes, DATE '2013-01-31' AS day, CAST('06:15:00.25' AS TIME) AS clock,
  TIMESTAMP '2013-01-31 06:15:00.25' AS local_time,
  arrow_cast('2013-07-01T00:00:00Z', 'Timestamp(Microsecond, Some("+00:00"))') AS moment,
  make_array(1, NULL, 3) AS numbers, CAST(NULL AS INT) AS nothing, CAST(NULL AS VARCHAR) AS no_word
"""

EXPECTED = (
    True, -7, 70000, 9007199254740993, 0.5, 1.1, decimal.Decimal("12.50"), "물길", b"\x00\xffa",
    datetime.date(2013, 1, 31), datetime.time(6, 15, 0, 250000), datetime.datetime(2013, 1, 31, 6, 15, 0, 250000),
    datetime.datetime(2013, 7, 1), "{1,NULL,3}", None, None,
)

# Each value with the type that the query says it has.
PARAMETERS = [
    (True, "BOOLEAN"), (-7, "SMALLINT"), (70000, "INT"), (2**40, "BIGINT"), (1.5, "DOUBLE"),
    (decimal.Decimal("-12.50"), "DECIMAL(10, 2)"), ("it's 물", "VARCHAR"), (b"\x00\xff", "BYTEA"), (datetime.date(2013, 1, 31), "DATE"),
    (datetime.time(6, 15), "TIME"), (datetime.datetime(2013, 1, 31, 6, 15, 0, 250000), "TIMESTAMP"),
]

# Ten thousand million rows.
LONG = "(SELECT unnest(range(1, 100001)) AS value) AS n CROSS JOIN (SELECT unnest(range(1, 100001)) AS other) AS m"
ENDLESS = f"SELECT count(*) FROM {LONG} WHERE value * other % 7 = 3"


def connect(host, port, password="", certificate="", autocommit=True, **options):
    # BoolsAsChar is the driver's own habit of showing a truth value as a letter.
    settings = {"Driver": "{PostgreSQL Unicode}", "Server": host, "Port": port, "Database": "mulgil", "UID": "tester", "BoolsAsChar": 0}
    if password:
        settings |= {"PWD": "{" + password + "}"}
    if certificate:
        settings |= {"SSLmode": "verify-full", "pqopt": "{sslrootcert=" + certificate + "}"}
    settings |= options
    return pyodbc.connect(";".join(f"{name}={value}" for name, value in settings.items()), autocommit=autocommit)


def ask(cursor, text, *values):
    """All rows of a query, as tuples."""
    return [tuple(row) for row in cursor.execute(text, *values)]


def fails(cursor, text, state, message):
    try:
        cursor.execute(text).fetchall()
    except pyodbc.Error as error:
        assert error.args[0] == state and message in error.args[1], (text, error.args)
    else:
        raise AssertionError(f"{text} was answered")


def lists(connection):
    cursor = connection.cursor()
    assert connection.getinfo(pyodbc.SQL_DBMS_NAME) == "PostgreSQL"
    tables = lambda **wanted: sorted((row.table_schem, row.table_name, row.table_type) for row in cursor.tables(**wanted))
    views = [("public", name, "VIEW") for name in ("by_name", "by_size", "cities")]
    assert tables(schema="public") == [*views, ("public", "cities_raw", "TABLE")], tables(schema="public")
    assert tables(schema="public", tableType="VIEW") == views
    assert tables(schema="mulgil", table="run_") == [("mulgil", "runs", "TABLE")]
    assert tables(schema="nowhere") == []
    assert ("mulgil", "runs", "TABLE") in tables()
    assert [row.table_cat for row in cursor.tables(catalog="%", schema="", table="")] == ["mulgil"]
    assert sorted(row.table_schem for row in cursor.tables(catalog="", schema="%", table="")) == ["mulgil", "public"]
    columns = [(row.column_name, row.data_type, row.type_name, row.ordinal_position) for row in cursor.columns(table="cities")]
    assert columns == [("name", pyodbc.SQL_WLONGVARCHAR, "text", 1), ("people", pyodbc.SQL_BIGINT, "int8", 2)], columns
    times = [(row.column_name, row.data_type) for row in cursor.columns(schema="mulgil", table="runs", column="created%")]
    assert times == [("created_at", pyodbc.SQL_TYPE_TIMESTAMP)], times
    keys = lambda table: [(row.column_name, row.key_seq, row.pk_name) for row in cursor.primaryKeys(table)]
    assert keys("cities") == [] and keys("by_name") == [("name", 1, "by_name_pkey")], keys("by_name")
    assert keys("by_size") == [("name", 1, "by_size_pkey"), ("is big", 2, "by_size_pkey")], keys("by_size")
    indexes = [(row.non_unique, row.index_name, row.ordinal_position, row.column_name)
               for row in cursor.statistics("by_size", unique=True) if row.index_name]
    assert indexes == [(0, "by_size_pkey", 1, "name"), (0, "by_size_pkey", 2, "is big")], indexes
    assert [row for row in cursor.statistics("cities") if row.index_name] == []
    assert cursor.foreignKeys("by_name").fetchall() == []
    assert cursor.procedures().fetchall() == []
    assert len(cursor.getTypeInfo().fetchall()) > 10


def types(connection):
    cursor = connection.cursor()
    row = cursor.execute(EVERY_TYPE).fetchone()
    for expected, found, column in zip(EXPECTED, row, cursor.description):
        assert expected == found and type(expected) is type(found), (column, expected, found)
    assert cursor.description[6][1] is decimal.Decimal and cursor.description[6][4:6] == (10, 2), cursor.description[6]


def parameters(connection):
    cursor = connection.cursor()
    text = "SELECT name, people FROM cities WHERE people > ? AND name LIKE ? ORDER BY name"
    for _ in range(3):
        assert ask(cursor, text, 1000000, "%u%") == [("Busan", 3300000), ("Seoul", 9400000)]
    assert ask(cursor, text, 1000000, "%o%") == [("Seoul", 9400000)]
    for value, kind in PARAMETERS:
        found = cursor.execute(f"SELECT CAST(? AS {kind}) AS value, CAST(? AS {kind}) IS NULL AS gone", value, None).fetchone()
        assert (found.value, found.gone) == (value, True) and type(found.value) is type(value), (kind, value, found)
    assert ask(cursor, "SELECT ? AS a, ? AS b", "물", None) == [("물", None)]
    assert ask(cursor, "SELECT people FROM cities WHERE name = ?", "nobody") == []


def repeated_names(connection):
    cursor = connection.cursor()
    found = ask(cursor, "SELECT NULL, NULL, 1, 1, name, name FROM cities WHERE name = 'Oslo'")
    assert found == [(None, None, 1, 1, "Oslo", "Oslo")], found
    assert ask(cursor, "SELECT {fn ucase('a')}, {d '2013-01-31'}") == [("A", datetime.date(2013, 1, 31))]
    assert ask(cursor, "SELECT 1; SELECT 2") == [(1,)]
    assert cursor.nextset() and cursor.fetchone()[0] == 2


def failures(connection):
    cursor = connection.cursor()
    fails(cursor, "SELECT nmae FROM cities", "42703", "unknown column nmae")
    fails(cursor, "SELECT * FROM citys", "42P01", "citys")
    fails(cursor, "SELECT 1 / (people - people) FROM cities", "22012", "ivide by zero")
    fails(cursor, "SELECT CAST(name AS INT) FROM cities", "22P02", "Seoul")
    fails(cursor, "DELETE FROM cities", "25006", "read-only")
    assert ask(cursor, "SELECT count(*) FROM cities") == [(4,)]


def transactions(host, port, security):
    """With and without cursors of the server: a transaction that fails leaves nothing behind."""
    for options in ({}, {"UseDeclareFetch": 1, "Fetch": 100}):
        connection = connect(host, port, *security, autocommit=False, **options)
        cursor = connection.cursor()
        for _ in range(3):
            assert ask(cursor, "SELECT count(*) FROM cities") == [(4,)]
            fails(connection.cursor(), "SELECT nmae FROM cities", "42703", "unknown column nmae")
            connection.rollback()
            assert ask(cursor, "SELECT count(*) FROM cities") == [(4,)]
            connection.commit()
            # Left in the middle, and rolled back.
            assert cursor.execute("SELECT unnest(range(1, 1001)) AS value ORDER BY value").fetchone()[0] == 1
            connection.rollback()
        connection.close()


def large(host, port, security):
    text = "SELECT value, 'n' || value AS name FROM (SELECT unnest(range(1, 200001)) AS value) AS n ORDER BY value"
    for options in ({}, {"UseDeclareFetch": 1, "Fetch": 1000}, {"UseServerSidePrepare": 0}):
        connection = connect(host, port, *security, **options)
        count = 0
        for value, name in connection.cursor().execute(text):
            count += 1
            assert (value, name) == (count, f"n{count}"), (options, count, value, name)
        assert count == 200000, (options, count)
        connection.close()


def cancelling(host, port, security):
    connection = connect(host, port, *security)
    cursor = connection.cursor()
    ended = threading.Event()

    def cancel():
        while not ended.wait(0.05):
            cursor.cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    try:
        fails(cursor, ENDLESS, "57014", "user request")
    finally:
        ended.set()
        canceller.join()
    cursor = connection.cursor()
    cursor.execute("SET statement_timeout = '100ms'")
    fails(cursor, ENDLESS, "57014", "statement timeout")
    cursor.execute("RESET statement_timeout")
    assert ask(cursor, "SELECT 1") == [(1,)]
    connection.close()


def secured(host, port, password, certificate):
    """The password is asked for, shown by SCRAM, and goes over a line that may be encrypted."""
    for mode in ("disable", "require"):
        with connect(host, port, password, SSLmode=mode) as connection:
            assert ask(connection.cursor(), "SELECT count(*) FROM cities") == [(4,)], mode
    for wrong in ("another", ""):
        try:
            connect(host, port, wrong)
        except pyodbc.Error as error:
            assert "password" in error.args[1], error.args
        else:
            raise AssertionError("a wrong password was taken")


def main(host, port, *security):
    pyodbc.pooling = False
    if security:
        secured(host, port, *security)
    connection = connect(host, port, *security)
    lists(connection)
    types(connection)
    parameters(connection)
    repeated_names(connection)
    failures(connection)
    connection.close()
    transactions(host, port, security)
    if not security:
        large(host, port, security)
        cancelling(host, port, security)


if __name__ == "__main__":
    main(*sys.argv[1:])
