// Runs one Nexmark query in a Flink cluster within this process, and prints what it took as JSON.
//
// java -cp JARS Bench.java FILES_DIR QUERY_FILE PARALLELISM MINI_BATCH

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import org.apache.flink.api.common.JobExecutionResult;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableDescriptor;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.table.api.TableResult;

public class Bench {
    static final String PERSON = "id BIGINT, name STRING, email_address STRING, credit_card STRING, city STRING,"
        + " state STRING, date_time TIMESTAMP(3), extra STRING";
    static final String AUCTION = "id BIGINT, item_name STRING, description STRING, initial_bid BIGINT, reserve BIGINT,"
        + " date_time TIMESTAMP(3), expires TIMESTAMP(3), seller BIGINT, category BIGINT, extra STRING";
    static final String BID = "auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING,"
        + " date_time TIMESTAMP(3), extra STRING";
    static final String WATERMARK = ", WATERMARK FOR date_time AS date_time - INTERVAL '4' SECOND";

    public static void main(String[] arguments) throws Exception {
        Path dir = Path.of(arguments[0]).toAbsolutePath();
        String query = Files.readString(Path.of(arguments[1]));
        Configuration configuration = new Configuration();
        configuration.setString("parallelism.default", arguments[2]);
        configuration.setString("taskmanager.numberOfTaskSlots", arguments[2]);
        configuration.setString("pipeline.object-reuse", "true");
        configuration.setString("state.backend.type", "hashmap");
        configuration.setString("table.local-time-zone", "UTC");
        configuration.setString("taskmanager.memory.network.max", "256m");
        configuration.setString("taskmanager.memory.network.min", "256m");
        if (Boolean.parseBoolean(arguments[3])) {
            configuration.setString("table.exec.mini-batch.enabled", "true");
            configuration.setString("table.exec.mini-batch.allow-latency", "2s");
            configuration.setString("table.exec.mini-batch.size", "50000");
            configuration.setString("table.optimizer.distinct-agg.split.enabled", "true");
        }
        TableEnvironment environment = TableEnvironment.create(
            EnvironmentSettings.newInstance().inStreamingMode().withConfiguration(configuration).build());
        declare(environment, dir, "person", PERSON + WATERMARK, "person");
        declare(environment, dir, "auction", AUCTION + WATERMARK, "auction");
        declare(environment, dir, "bid", BID + WATERMARK, "bid");
        declare(environment, dir, "bid_now", BID + ", p_time AS PROCTIME()", "bid");
        declare(environment, dir, "side_input", "id BIGINT, word STRING", "side_input");

        var system = (com.sun.management.OperatingSystemMXBean) java.lang.management.ManagementFactory.getOperatingSystemMXBean();
        long cpuBegin = system.getProcessCpuTime();
        long begin = System.nanoTime();
        TableResult started;
        if (query.startsWith("INSERT INTO bid_log")) {
            environment.executeSql("CREATE TABLE bid_log (auction BIGINT, bidder BIGINT, price BIGINT,"
                + " date_time TIMESTAMP(3), extra STRING, dt STRING, hm STRING) PARTITIONED BY (dt, hm)"
                + options(dir.resolve("written-by-flink")));
            started = environment.executeSql(query);
        } else {
            started = environment.sqlQuery(query).executeInsert(TableDescriptor.forConnector("blackhole").build());
        }
        JobExecutionResult job = started.getJobClient().get().getJobExecutionResult().get();
        double wall = (System.nanoTime() - begin) / 1e9;
        double cpu = (system.getProcessCpuTime() - cpuBegin) / 1e9;
        String peak = Files.lines(Path.of("/proc/self/status")).filter(line -> line.startsWith("VmHWM:")).findFirst()
            .get().replaceAll("\\D", "");
        System.out.printf("{\"seconds\": %.3f, \"wall_seconds\": %.3f, \"cpu_seconds\": %.3f, \"peak_mib\": %d}%n",
            job.getNetRuntime(TimeUnit.MILLISECONDS) / 1e3, wall, cpu, Long.parseLong(peak) / 1024);
        System.exit(0);
    }

    static void declare(TableEnvironment environment, Path dir, String table, String columns, String folder) {
        environment.executeSql("CREATE TABLE " + table + " (" + columns + ")" + options(dir.resolve(folder)));
    }

    static String options(Path path) {
        return " WITH ('connector' = 'filesystem', 'path' = '" + path.toUri() + "', 'format' = 'parquet')";
    }
}
