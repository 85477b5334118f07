"""psycopg as a client of the SQL port: what it sends and understands by itself, in text and binary.

Called as `psycopg_client.py HOST PORT`; ends with an error where something is not as promised.
"""

import datetime
import decimal
import sys
import threading
import time

import psycopg
from psycopg import errors
from psycopg.pq import TransactionStatus

UTC = datetime.timezone.utc

EVERY_TYPE = """
SELECT true AS truth, CAST(-7 AS SMALLINT) AS small, CAST(70000 AS INT) AS whole, CAST(9007199254740993 AS BIGINT) AS big,
  CAST(0.5 AS FLOAT) AS half, CAST(1.1 AS DOUBLE) AS real, CAST(12.50 AS DECIMAL(10, 2)) AS price,
  '물길' AS word, decode('00ff61', 'hex') AS bytes, DATE '2013-01-31' AS day, CAST('06:15:00.25' AS TIME) AS clock,
  TIMESTAMP '2013-01-31 06:15:00.25' AS local_time,
  arrow_cast('2013-07-01T00:00:00Z', 'Timestamp(Microsecond, Some("+00:00"))') AS moment,
  INTERVAL '1' DAY AS span, make_array(1, NULL, 3) AS numbers, make_array('a b', 'c') AS words,
  named_struct('a', 1, 'b', 'x') AS record, CAST(NULL AS INT) AS nothing
"""

EXPECTED = (
    True, -7, 70000, 9007199254740993, 0.5, 1.1, decimal.Decimal("12.50"), "물길", b"\x00\xffa",
    datetime.date(2013, 1, 31), datetime.time(6, 15, 0, 250000), datetime.datetime(2013, 1, 31, 6, 15, 0, 250000),
    datetime.datetime(2013, 7, 1, tzinfo=UTC), datetime.timedelta(days=1), [1, None, 3], ["a b", "c"], {"a": 1, "b": "x"},
    None,
)


def connect(host, port, **options):
    return psycopg.connect(host=host, port=port, user="tester", dbname="mulgil", **options)


def types(connection):
    for binary in (False, True):
        row = connection.execute(EVERY_TYPE, binary=binary).fetchone()
        for expected, found, column in zip(EXPECTED, row, EVERY_TYPE.split(" AS ")[1:]):
            assert expected == found and type(expected) is type(found), (binary, expected, found, column)


def parameters(connection):
    values = [True, 7, 70000, 2**40, 1.5, decimal.Decimal("-12.50"), "it's", b"\x00\xff", datetime.date(2013, 1, 31),
              datetime.datetime(2013, 1, 31, 6, 15), datetime.datetime(2013, 7, 1, tzinfo=UTC), [1, 2, 3], None]
    for value in values:
        for form in ("%s", "%b", "%t"):
            found = connection.execute(f"SELECT {form} AS value", [value], binary=form == "%b").fetchone()[0]
            assert found == value or str(found) == str(value), (form, value, found)
    rows = connection.execute("SELECT name FROM cities WHERE people > %s AND name LIKE %s ORDER BY name", [1000000, "%u%"])
    assert rows.fetchall() == [("Busan",), ("Seoul",)]
    rows = connection.execute("SELECT name FROM cities WHERE name = ANY(%s) ORDER BY name LIMIT %s", [["Seoul", "Oslo"], 5])
    assert rows.fetchall() == [("Oslo",), ("Seoul",)]


def prepared(connection):
    for _ in range(8):  # the driver prepares after five times
        row = connection.execute("SELECT people FROM cities WHERE name = %s", ["Oslo"], prepare=True).fetchone()
        assert row == (717710,)
    with connection.cursor() as cursor:
        cursor.executemany("SELECT %s + 1 AS next", [[1], [2], [3]], returning=True)
        assert cursor.fetchone() == (2,)
    with connection.pipeline():
        first = connection.execute("SELECT 1 AS one")
        second = connection.execute("SELECT count(*) FROM cities")
        assert (first.fetchone(), second.fetchone()) == ((1,), (4,))


def point_queries(connection):
    """Answers from a view's index are those of a query that reads the whole view."""
    deadline = time.monotonic() + 60
    while connection.execute("SELECT count(*) FROM by_name").fetchone() != (4,):
        assert time.monotonic() < deadline, "the view is not filled"
    for name in ["Seoul", "Busan", "Oslo", "Bern", "Rome", "", "물", None]:
        for binary in (False, True):
            found, whole = (
                connection.execute(f"SELECT people, c AS times, name FROM by_name WHERE {name_is} = %s", [name],
                                   prepare=True, binary=binary)
                for name_is in ("name", "name || ''")
            )
            names = [[(column.name, column.type_code) for column in cursor.description] for cursor in (found, whole)]
            assert names[0] == names[1], names
            rows = found.fetchall()
            assert rows == whole.fetchall() and len(rows) == (name in ("Seoul", "Busan", "Oslo", "Bern")), (name, rows)


def failures(connection):
    cases = [
        ("SELECT nmae FROM cities", errors.UndefinedColumn, 8),
        ("SELECT * FROM citys", errors.UndefinedTable, 15),
        ("SELECT * FORM cities", errors.SyntaxError, None),
        ("SELECT no_such_function(1)", errors.UndefinedFunction, None),
        ("SELECT 1 / (people - people) FROM cities", errors.DivisionByZero, None),
        ("SELECT CAST(name AS INT) FROM cities", errors.InvalidTextRepresentation, None),
        ("INSERT INTO cities VALUES ('Rome', 1)", errors.ReadOnlySqlTransaction, None),
        ("DROP TABLE cities", errors.ReadOnlySqlTransaction, None),
    ]
    for text, kind, place in cases:
        try:
            connection.execute(text).fetchall()
        except kind as error:
            assert place is None or error.diag.statement_position == str(place), (text, error.diag.statement_position)
        else:
            raise AssertionError(f"{text} was answered")
        connection.rollback()
    try:
        connection.execute("SELECT nmae FROM cities")
    except errors.UndefinedColumn as error:
        assert "did you mean name?" in error.diag.message_hint, error.diag.message_hint
    assert connection.info.transaction_status == TransactionStatus.INERROR
    try:
        connection.execute("SELECT 1")
    except errors.InFailedSqlTransaction:
        connection.rollback()
    else:
        raise AssertionError("a failed transaction went on")


def about_the_server(connection):
    row = connection.execute("SELECT version(), current_schema(), current_database(), current_user").fetchone()
    assert row[0].startswith("PostgreSQL ") and "Mulgil" in row[0], row
    assert row[1:] == ("public", "mulgil", "tester"), row
    assert connection.info.server_version >= 160000
    assert connection.execute("SELECT pg_backend_pid()").fetchone() == (connection.info.backend_pid,)
    connection.execute("SET TIME ZONE 'America/New_York'")
    assert connection.info.timezone.key == "America/New_York"
    found = connection.execute("SELECT arrow_cast('2013-07-01T00:00:00Z', 'Timestamp(Microsecond, Some(\"+00:00\"))') AS moment")
    assert found.fetchone()[0] == datetime.datetime(2013, 7, 1, tzinfo=UTC)
    assert connection.execute("SELECT current_setting('timezone')").fetchone() == ("America/New_York",)
    connection.execute("RESET timezone")
    assert connection.execute("SHOW timezone").fetchone() == ("UTC",)


# Ten thousand million rows.
LONG = "(SELECT unnest(range(1, 100001)) AS value) AS n CROSS JOIN (SELECT unnest(range(1, 100001)) AS other) AS m"
ENDLESS = f"SELECT count(*) FROM {LONG} WHERE value * other % 7 = 3"


def cancelling(host, port):
    with connect(host, port, autocommit=True) as connection:
        ended = threading.Event()

        def cancel():
            while not ended.wait(0.05):
                connection.cancel_safe()

        canceller = threading.Thread(target=cancel)
        canceller.start()
        began = time.monotonic()
        try:
            connection.execute(ENDLESS)
        except errors.QueryCanceled:
            pass
        else:
            raise AssertionError("the query came to an end")
        finally:
            ended.set()
            canceller.join()
        assert time.monotonic() - began < 60
        connection.execute("SET statement_timeout = '100ms'")
        try:
            connection.execute(ENDLESS)
        except errors.QueryCanceled as error:
            assert "statement timeout" in error.diag.message_primary
        else:
            raise AssertionError("the query came to an end")
        connection.execute("RESET statement_timeout")
        assert connection.execute("SELECT 1").fetchone() == (1,)


def streaming(host, port):
    """A long answer is taken row by row; the connection is left in the middle of another."""
    with connect(host, port, autocommit=True) as connection:
        rows = connection.cursor().stream("SELECT unnest(range(1, 300001)) AS value")
        assert sum(value for (value,) in rows) == 300000 * 300001 // 2
    with connect(host, port, autocommit=True) as connection:
        rows = connection.cursor().stream(f"SELECT value FROM {LONG}")
        assert len(next(rows)) == 1
        rows.close()


def cursors(connection):
    """Named cursors live on the server; psycopg fetches from them, and describes them as portals."""
    query = "SELECT value, 'n' || value AS name FROM (SELECT unnest(range(1, 10001)) AS value) AS n WHERE value > %s ORDER BY value"
    for binary in (False, True):
        with connection.cursor("numbers") as cursor:
            cursor.itersize = 1000
            cursor.execute(query, [1], binary=binary)
            assert [column.name for column in cursor.description] == ["value", "name"]
            assert cursor.fetchone() == (2, "n2"), binary
            assert cursor.fetchmany(2) == [(3, "n3"), (4, "n4")], binary
            assert sum(value for (value, _) in cursor) == sum(range(5, 10001)), binary
            assert cursor.fetchone() is None
    connection.commit()
    with connection.cursor("held", withhold=True) as cursor:
        cursor.execute("SELECT name FROM cities ORDER BY name")
        connection.commit()
        assert cursor.fetchall() == [("Bern",), ("Busan",), ("Oslo",), ("Seoul",)]
    connection.commit()
    for text, kind in [
        ("FETCH 1 FROM nowhere", errors.InvalidCursorName),
        ("CLOSE nowhere", errors.InvalidCursorName),
        ("DECLARE a SCROLL CURSOR FOR SELECT 1", errors.FeatureNotSupported),
        ("DECLARE a CURSOR FOR SELECT nmae FROM cities", errors.UndefinedColumn),
    ]:
        try:
            connection.execute(text)
        except kind:
            connection.rollback()
        else:
            raise AssertionError(f"{text} was done")


def copies(connection):
    with connection.cursor().copy("COPY (SELECT name, people FROM cities ORDER BY name LIMIT 2) TO STDOUT (FORMAT csv, HEADER)") as copy:
        assert b"".join(bytes(piece) for piece in copy) == b"name,people\nBern,134794\nBusan,3300000\n"
    with connection.cursor().copy("COPY (SELECT people, name FROM cities ORDER BY name) TO STDOUT") as copy:
        copy.set_types(["int8", "text"])
        assert list(copy.rows()) == [(134794, "Bern"), (3300000, "Busan"), (717710, "Oslo"), (9400000, "Seoul")]
    with connection.cursor().copy("COPY (SELECT unnest(range(1, 100001)) AS value) TO STDOUT") as copy:
        assert sum(int(row[0]) for row in copy.rows()) == 100000 * 100001 // 2
    with connection.cursor().copy(f"COPY ({EVERY_TYPE}) TO STDOUT (FORMAT binary)") as copy:
        copy.set_types(["bool", "int2", "int4", "int8", "float4", "float8", "numeric", "text", "bytea", "date", "time", "timestamp",
                        "timestamptz", "interval", "int8[]", "text[]", "json", "int4"])
        assert list(copy.rows()) == [EXPECTED]
    with connection.cursor().copy("COPY (SELECT unnest(range(1, 100001)) AS value) TO STDOUT (FORMAT binary)") as copy:
        copy.set_types(["int8"])
        assert sum(value for (value,) in copy.rows()) == 100000 * 100001 // 2
    with connection.cursor().copy("COPY (SELECT name FROM cities WHERE people < 0) TO STDOUT (FORMAT binary)") as copy:
        assert b"".join(bytes(piece) for piece in copy) == b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"\xff\xff"
    try:
        with connection.cursor().copy("COPY (SELECT 1 / (people - people) FROM cities) TO STDOUT") as copy:
            list(copy)
    except errors.DivisionByZero:
        connection.rollback()
    else:
        raise AssertionError("a division by zero was copied")


def main(host, port):
    with connect(host, port) as connection:
        about_the_server(connection)
        types(connection)
        parameters(connection)
        prepared(connection)
        point_queries(connection)
        failures(connection)
        cursors(connection)
        copies(connection)
    cancelling(host, port)
    streaming(host, port)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
