import java.io.StringWriter;
import java.math.BigDecimal;
import java.sql.Array;
import java.sql.Connection;
import java.sql.Date;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Types;
import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Properties;
import java.util.TreeSet;
import java.util.concurrent.atomic.AtomicBoolean;
import org.postgresql.PGConnection;

/**
 * PostgreSQL's JDBC driver as a client of the SQL port. Called as {@code JdbcClient ADDRESS}, or {@code JdbcClient ADDRESS PASSWORD CERTIFICATE}
 * where the port has a password and encrypts; ends with an error where something is not as promised.
 */
public final class JdbcClient {
    private static final String EVERY_TYPE =
        "SELECT true AS truth, CAST(-7 AS SMALLINT) AS small, CAST(70000 AS INT) AS whole, CAST(9007199254740993 AS BIGINT) AS big,"
        + " CAST(0.5 AS FLOAT) AS half, CAST(1.1 AS DOUBLE) AS real, CAST(12.50 AS DECIMAL(10, 2)) AS price, '물길' AS word,"
        + " decode('00ff61', 'hex') AS bytes, DATE '2013-01-31' AS day, CAST('06:15:00.25' AS TIME) AS clock,"
        + " TIMESTAMP '2013-01-31 06:15:00.25' AS local_time,"
        + " arrow_cast('2013-07-01T00:00:00Z', 'Timestamp(Microsecond, Some(\"+00:00\"))') AS moment,"
        + " make_array(1, NULL, 3) AS numbers, CAST(NULL AS INT) AS nothing";

    /** Ten thousand million rows. */
    private static final String LONG = "(SELECT unnest(range(1, 2001)) AS value) AS n CROSS JOIN (SELECT unnest(range(1, 2001)) AS other) AS m"
        + " CROSS JOIN (SELECT unnest(range(1, 2001)) AS third) AS o";
    private static final String ENDLESS = "SELECT count(*) FROM " + LONG + " WHERE value * other % 7 = 3";

    private JdbcClient() {}

    private static void same(Object expected, Object found, String what) {
        if (!Objects.equals(expected, found)) {
            throw new AssertionError(what + ": expected " + expected + ", found " + found);
        }
    }

    private static Connection connect(String address, String... options) throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", "tester");
        for (int at = 0; at < options.length; at += 2) {
            properties.setProperty(options[at], options[at + 1]);
        }
        return DriverManager.getConnection("jdbc:postgresql://" + address + "/mulgil", properties);
    }

    /** The rows of a result, the named columns joined by {@code |}. */
    private static List<String> rows(ResultSet result, String... columns) throws SQLException {
        List<String> rows = new ArrayList<>();
        while (result.next()) {
            List<String> row = new ArrayList<>();
            for (String column : columns) {
                row.add(result.getString(column));
            }
            rows.add(String.join("|", row));
        }
        return rows;
    }

    private static void fails(Connection connection, String query, String state) throws SQLException {
        try (Statement statement = connection.createStatement(); ResultSet result = statement.executeQuery(query)) {
            while (result.next()) {
                result.getObject(1);
            }
        } catch (SQLException error) {
            same(state, error.getSQLState(), query + ": " + error.getMessage());
            return;
        }
        throw new AssertionError(query + " was answered");
    }

    private static void lists(Connection connection) throws SQLException {
        DatabaseMetaData meta = connection.getMetaData();
        same("PostgreSQL", meta.getDatabaseProductName(), "product");
        same(true, connection.isValid(60), "isValid");
        same("public", connection.getSchema(), "schema");
        same(List.of("public|by_name|VIEW", "public|by_size|VIEW", "public|cities_raw|TABLE", "public|cities|VIEW"),
            sorted(rows(meta.getTables(null, "public", "%", new String[] {"TABLE", "VIEW"}), "TABLE_SCHEM", "TABLE_NAME", "TABLE_TYPE")),
            "tables");
        same(List.of("mulgil|runs|TABLE"),
            rows(meta.getTables(null, "mulgil", "runs", new String[] {"TABLE"}), "TABLE_SCHEM", "TABLE_NAME", "TABLE_TYPE"), "own tables");
        same(List.of(), rows(meta.getTables(null, "nowhere", "%", null), "TABLE_NAME"), "tables of no schema");
        same(List.of("name|12|text|1", "people|-5|int8|2"),
            rows(meta.getColumns(null, "public", "cities", "%"), "COLUMN_NAME", "DATA_TYPE", "TYPE_NAME", "ORDINAL_POSITION"), "columns");
        same(List.of("created_at|93|timestamptz"),
            rows(meta.getColumns(null, "mulgil", "runs", "created%"), "COLUMN_NAME", "DATA_TYPE", "TYPE_NAME"), "a column of times");
        TreeSet<String> schemas = new TreeSet<>(rows(meta.getSchemas(), "TABLE_SCHEM"));
        same(true, schemas.containsAll(List.of("public", "mulgil", "information_schema", "pg_catalog")), "schemas: " + schemas);
        same(List.of("mulgil"), rows(meta.getCatalogs(), "TABLE_CAT"), "catalogs");
        same(List.of(), rows(meta.getPrimaryKeys(null, "public", "cities"), "COLUMN_NAME"), "primary key of a view without one");
        same(List.of("name|1|by_name_pkey"),
            rows(meta.getPrimaryKeys(null, "public", "by_name"), "COLUMN_NAME", "KEY_SEQ", "PK_NAME"), "primary key of a view");
        same(List.of("name|1|by_size_pkey", "is big|2|by_size_pkey"),
            rows(meta.getPrimaryKeys(null, "public", "by_size"), "COLUMN_NAME", "KEY_SEQ", "PK_NAME"), "primary key of two columns");
        same(List.of("f|by_size_pkey|1|name|A", "f|by_size_pkey|2|is big|A"),
            rows(meta.getIndexInfo(null, "public", "by_size", true, true), "NON_UNIQUE", "INDEX_NAME", "ORDINAL_POSITION", "COLUMN_NAME",
                "ASC_OR_DESC"), "index of a key");
        same(List.of("is big|bool", "name|text"), sorted(rows(meta.getBestRowIdentifier(null, "public", "by_size",
            DatabaseMetaData.bestRowSession, true), "COLUMN_NAME", "TYPE_NAME")), "what names a row");
        same(List.of(), rows(meta.getExportedKeys(null, "public", "by_name"), "FKCOLUMN_NAME"), "keys of others");
        same(List.of(), rows(meta.getImportedKeys(null, "public", "cities"), "FKCOLUMN_NAME"), "foreign keys");
        same(List.of(), rows(meta.getIndexInfo(null, "public", "cities", false, true), "INDEX_NAME"), "indexes");
    }

    private static List<String> sorted(List<String> rows) {
        return List.copyOf(new TreeSet<>(rows));
    }

    /** After five executions the driver prepares on the server, and then takes values as binary. */
    private static void types(Connection connection) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(EVERY_TYPE)) {
            for (int time = 0; time < 8; time++) {
                try (ResultSet row = statement.executeQuery()) {
                    same(true, row.next(), "a row");
                    String when = " at execution " + time;
                    same(true, row.getBoolean("truth"), "truth" + when);
                    same((short) -7, row.getShort("small"), "small" + when);
                    same(70000, row.getInt("whole"), "whole" + when);
                    same(9007199254740993L, row.getLong("big"), "big" + when);
                    same(0.5f, row.getFloat("half"), "half" + when);
                    same(1.1, row.getDouble("real"), "real" + when);
                    same(new BigDecimal("12.50"), row.getBigDecimal("price"), "price" + when);
                    same("물길", row.getString("word"), "word" + when);
                    same(true, Arrays.equals(new byte[] {0, (byte) 0xff, 'a'}, row.getBytes("bytes")), "bytes" + when);
                    same(LocalDate.of(2013, 1, 31), row.getObject("day", LocalDate.class), "day" + when);
                    same(Date.valueOf("2013-01-31"), row.getDate("day"), "day as a date" + when);
                    same(LocalTime.of(6, 15, 0, 250_000_000), row.getObject("clock", LocalTime.class), "clock" + when);
                    same(LocalDateTime.of(2013, 1, 31, 6, 15, 0, 250_000_000), row.getObject("local_time", LocalDateTime.class),
                        "local_time" + when);
                    same(Instant.parse("2013-07-01T00:00:00Z"), row.getObject("moment", OffsetDateTime.class).toInstant(), "moment" + when);
                    Array numbers = row.getArray("numbers");
                    same(1, Arrays.asList((Object[]) numbers.getArray()).indexOf(null), "the null among the numbers" + when);
                    same(3, ((Object[]) numbers.getArray()).length, "numbers" + when);
                    same(null, row.getObject("nothing"), "nothing" + when);
                    same(Types.NUMERIC, row.getMetaData().getColumnType(7), "the type of price");
                }
            }
        }
    }

    private static void parameters(Connection connection) throws SQLException {
        String query = "SELECT name, people FROM cities WHERE people > ? AND name LIKE ? ORDER BY name";
        try (PreparedStatement statement = connection.prepareStatement(query)) {
            for (int time = 0; time < 8; time++) {
                statement.setLong(1, 1_000_000);
                statement.setString(2, "%u%");
                same(List.of("Busan|3300000", "Seoul|9400000"), rows(statement.executeQuery(), "name", "people"), "execution " + time);
            }
        }
        try (PreparedStatement statement = connection.prepareStatement("SELECT name FROM cities WHERE name = ANY(?) ORDER BY name")) {
            statement.setArray(1, connection.createArrayOf("text", new String[] {"Oslo", "Bern", "Rome"}));
            same(List.of("Bern", "Oslo"), rows(statement.executeQuery(), "name"), "an array as a parameter");
        }
        try (PreparedStatement statement = connection.prepareStatement(
                "SELECT CAST(? AS DATE) AS day, CAST(? AS DECIMAL(10, 2)) AS price, CAST(? AS TIMESTAMP) AS at, CAST(? AS BOOLEAN) AS truth")) {
            statement.setObject(1, LocalDate.of(2013, 1, 31));
            statement.setBigDecimal(2, new BigDecimal("-12.50"));
            statement.setObject(3, LocalDateTime.of(2013, 1, 31, 6, 15));
            statement.setBoolean(4, true);
            same(List.of("2013-01-31|-12.50|2013-01-31 06:15:00|t"), rows(statement.executeQuery(), "day", "price", "at", "truth"), "parameters");
        }
        try (Statement statement = connection.createStatement()) {
            same(true, statement.execute("SELECT 1 AS one; SELECT name FROM cities ORDER BY name"), "the first of two");
            same(List.of("1"), rows(statement.getResultSet(), "one"), "one");
            same(true, statement.getMoreResults(), "the second of two");
            same(4, rows(statement.getResultSet(), "name").size(), "names");
        }
    }

    /** With a fetch size and a transaction the driver takes rows portal by portal. */
    private static void portals(Connection connection) throws SQLException {
        connection.setAutoCommit(false);
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(1000);
            long sum = 0;
            try (ResultSet result = statement.executeQuery("SELECT unnest(range(1, 100001)) AS value")) {
                while (result.next()) {
                    sum += result.getLong(1);
                }
            }
            same(100_000L * 100_001 / 2, sum, "the sum");
            try (ResultSet result = statement.executeQuery("SELECT value FROM " + LONG)) {
                same(true, result.next(), "the first row of an endless result");
            }
        }
        connection.commit();
        fails(connection, "SELECT nmae FROM cities", "42703");
        fails(connection, "SELECT 1", "25P02");
        connection.rollback();
        connection.setAutoCommit(true);
    }

    private static void copies(Connection connection) throws Exception {
        StringWriter lines = new StringWriter();
        long count = connection.unwrap(PGConnection.class).getCopyAPI()
            .copyOut("COPY (SELECT name, people FROM cities ORDER BY name LIMIT 2) TO STDOUT WITH CSV HEADER", lines);
        same(2L, count, "copied rows");
        same("name,people\nBern,134794\nBusan,3300000\n", lines.toString(), "copied lines");
    }

    private static void failures(Connection connection) throws SQLException {
        fails(connection, "SELECT nmae FROM cities", "42703");
        fails(connection, "SELECT * FROM citys", "42P01");
        fails(connection, "SELECT * FORM cities", "42601");
        fails(connection, "SELECT no_such_function(1)", "42883");
        fails(connection, "SELECT 1 / (people - people) FROM cities", "22012");
        fails(connection, "SELECT CAST(name AS INT) FROM cities", "22P02");
        fails(connection, "INSERT INTO cities VALUES ('Rome', 1)", "25006");
    }

    private static void ending(Connection connection) throws SQLException, InterruptedException {
        try (Statement statement = connection.createStatement()) {
            // The driver asks once; where the server has not begun yet by then, there is nothing to end.
            for (int seconds = 1; ; seconds *= 4) {
                statement.setQueryTimeout(seconds);
                try {
                    statement.executeQuery(ENDLESS);
                    same(true, seconds < 60, "a query that came to an end may be ended later");
                } catch (SQLException error) {
                    same("57014", error.getSQLState(), "a query timeout: " + error.getMessage());
                    break;
                }
            }
        }
        try (Statement statement = connection.createStatement()) {
            AtomicBoolean ended = new AtomicBoolean();
            Thread canceller = new Thread(() -> {
                while (!ended.get()) {
                    try {
                        // The statement itself would ask once, perhaps before the server has begun.
                        connection.unwrap(PGConnection.class).cancelQuery();
                        Thread.sleep(50);
                    } catch (SQLException | InterruptedException error) {
                        return;
                    }
                }
            });
            canceller.start();
            try {
                statement.executeQuery(ENDLESS);
                throw new AssertionError("the query came to an end");
            } catch (SQLException error) {
                same("57014", error.getSQLState(), "a cancelled query: " + error.getMessage());
            } finally {
                ended.set(true);
                canceller.join();
            }
        }
    }

    private static void letsIn(String address, String password, String certificate) throws SQLException {
        for (String[] encryption : new String[][] {
            {"sslmode", "disable"}, {"sslmode", "require"}, {"sslmode", "verify-full", "sslrootcert", certificate}}) {
            List<String> options = new ArrayList<>(List.of(encryption));
            options.addAll(List.of("password", password));
            try (Connection connection = connect(address, options.toArray(new String[0]))) {
                same(List.of("4"), rows(connection.createStatement().executeQuery("SELECT count(*) AS n FROM cities"), "n"), encryption[1]);
            }
        }
        try (Connection connection = connect(address, "password", "another")) {
            throw new AssertionError("a wrong password was taken");
        } catch (SQLException error) {
            same("28P01", error.getSQLState(), "a wrong password: " + error.getMessage());
        }
    }

    public static void main(String[] arguments) throws Exception {
        if (arguments.length > 1) {
            letsIn(arguments[0], arguments[1], arguments[2]);
            return;
        }
        try (Connection connection = connect(arguments[0])) {
            lists(connection);
            types(connection);
            parameters(connection);
            portals(connection);
            failures(connection);
            copies(connection);
            ending(connection);
            lists(connection);
        }
    }
}
