import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import kafka.log.LogManager;
import kafka.log.UnifiedLog;
import kafka.server.BrokerTopicStats;
import kafka.server.KafkaConfig;
import kafka.server.RequestLocal;
import kafka.server.metadata.ConfigRepository;
import kafka.tools.DumpLogSegments;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.ControlRecordType;
import org.apache.kafka.common.record.EndTransactionMarker;
import org.apache.kafka.common.record.FileRecords;
import org.apache.kafka.common.record.MemoryRecords;
import org.apache.kafka.common.record.MemoryRecordsBuilder;
import org.apache.kafka.common.record.MutableRecordBatch;
import org.apache.kafka.common.record.Record;
import org.apache.kafka.common.record.RecordBatch;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.utils.Exit;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.server.common.MetadataVersion;
import org.apache.kafka.server.util.KafkaScheduler;
import org.apache.kafka.storage.internals.log.AppendOrigin;
import org.apache.kafka.storage.internals.log.FetchIsolation;
import org.apache.kafka.storage.internals.log.LogAppendInfo;
import org.apache.kafka.storage.internals.log.LogDirFailureChannel;
import org.apache.kafka.storage.internals.log.LogSegment;
import org.apache.kafka.storage.internals.log.LogStartOffsetIncrementReason;
import org.apache.kafka.storage.internals.log.VerificationGuard;
import scala.Option;

/**
 * Kafka's own storage classes behind one JSON request a line on standard input and one JSON answer a line on standard
 * output: {"ok": …} or {"error": "…"}. A log dir is opened by the broker's LogManager, so locks, markers, checkpoints,
 * recovery and shutdown are Kafka's. Bytes travel as lower-case hex, null as null.
 *
 *   open       directory, config {broker property: value}     -> {wasClean, logs: [what each partition holds]}
 *   append     directory, topic, partition, batch             -> {baseOffset, lastOffset}
 *   endTransaction  directory, topic, partition, producerId, producerEpoch, commit  -> {}
 *   replay     directory, from                                -> {batchCount}: appends the batches of another log dir
 *   deleteBefore    directory, topic, partition, offset       -> {}: what the DeleteRecords request does
 *   read       directory, maxBytes                            -> [{topic, partition, records: […]}]
 *   lookup     directory, topic, partition, timestampsMs      -> [offset or null]
 *   close      directory                                      -> {}
 *   dump       directory, indexesAreTrimmed                   -> {fileCount, problems: [line]}; the directory is not open
 *   golden     batch, baseOffset                              -> hex of the batch as the producer builds it
 */
public final class KafkaPeer {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final HexFormat HEX = HexFormat.of();
    private static final int MAX_BATCH_BYTES = 16 << 20;
    /** LogManager.shutdown puts this into .kafka_cleanshutdown; -1 is "unknown". */
    private static final long BROKER_EPOCH = -1;

    /** Lines of DumpLogSegments that mean trouble; its exit status is 0 all the same. */
    private static final List<String> TROUBLE = List.of(
        "isvalid: false", "invalid bytes at the end", "Mismatches in", "Non-consecutive offsets in",
        "Found timestamp mismatch", "Found out of order timestamp", "indexed offsets are not found");

    private final Map<String, Open> opened = new HashMap<>();

    /** A log dir held by Kafka. */
    private record Open(LogManager manager, KafkaScheduler scheduler, PeerTime time) {}

    public static void main(String[] arguments) throws Exception {
        PrintStream answers = new PrintStream(new FileOutputStream(FileDescriptor.out), false, StandardCharsets.UTF_8);
        // Scala's Console keeps the System.out that it finds first, so the switch comes before any Kafka class.
        Captured captured = new Captured();
        System.setOut(new PrintStream(captured, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(captured, true, StandardCharsets.UTF_8));
        Exit.setExitProcedure((status, message) -> {
            throw new IllegalStateException("exit " + status + ": " + message);
        });
        KafkaPeer peer = new KafkaPeer();
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = requests.readLine(); line != null; line = requests.readLine()) {
            ObjectNode answer = JSON.createObjectNode();
            captured.reset();
            try {
                answer.set("ok", peer.answer(JSON.readTree(line), captured));
            } catch (Throwable failure) {
                answer.put("error", causes(failure) + captured);
            }
            answers.println(JSON.writeValueAsString(answer));
            answers.flush();
        }
        Runtime.getRuntime().halt(0); // standard input is closed: the caller is gone or done
    }

    private JsonNode answer(JsonNode request, Captured captured) throws Exception {
        String directory = request.path("directory").asText();
        return switch (request.get("command").asText()) {
            case "open" -> open(directory, request.path("config"));
            case "append" -> append(log(request), time(directory), request.get("batch"));
            case "endTransaction" -> endTransaction(log(request), request);
            case "replay" -> replay(directory, new File(request.get("from").asText()));
            case "deleteBefore" -> deleteBefore(log(request), request.get("offset").asLong());
            case "read" -> read(directory, request.get("maxBytes").asInt());
            case "lookup" -> lookup(log(request), request.get("timestampsMs"));
            case "close" -> close(directory);
            case "dump" -> dump(new File(directory), request.get("indexesAreTrimmed").asBoolean(), captured);
            case "golden" -> JSON.getNodeFactory().textNode(
                hex(build(request.get("batch"), request.get("baseOffset").asLong()).buffer()));
            default -> throw new IllegalArgumentException("no such command: " + request);
        };
    }

    private JsonNode open(String directory, JsonNode config) {
        boolean wasClean = new File(directory, ".kafka_cleanshutdown").exists();
        Properties properties = new Properties();
        properties.put("zookeeper.connect", "unused:1");
        properties.put("log.dirs", directory);
        properties.put("log.cleaner.enable", "false");
        properties.put("log.retention.ms", "-1"); // the records are old on purpose; none may expire
        properties.put("transaction.partition.verification.enable", "false"); // there is no coordinator to ask
        config.fields().forEachRemaining(field -> properties.put(field.getKey(), field.getValue().asText()));
        PeerTime time = new PeerTime();
        KafkaScheduler scheduler = new KafkaScheduler(1);
        scheduler.startup();
        ConfigRepository noOverrides = new NoOverrides();
        LogManager manager = LogManager.apply(KafkaConfig.fromProps(properties), seq(List.of()), noOverrides, scheduler,
            time, new BrokerTopicStats(false), new LogDirFailureChannel(1), true);
        manager.startup(scala.collection.immutable.Set$.MODULE$.<String>empty(), log -> false);
        if (!manager.isLogDirOnline(directory)) throw new IllegalStateException("Kafka took " + directory + " offline");
        opened.put(directory, new Open(manager, scheduler, time));

        ObjectNode answer = JSON.createObjectNode().put("wasClean", wasClean);
        ArrayNode logs = answer.putArray("logs");
        for (UnifiedLog log : logs(directory)) logs.add(describe(log));
        return answer;
    }

    private static ObjectNode describe(UnifiedLog log) {
        ObjectNode description = named(log)
            .put("startOffset", log.logStartOffset())
            .put("endOffset", log.logEndOffset())
            .put("recoveryPoint", log.recoveryPoint());
        ArrayNode segments = description.putArray("segments");
        for (LogSegment segment : log.logSegments()) {
            segments.addObject()
                .put("baseOffset", segment.baseOffset())
                .put("sizeBytes", segment.size())
                .put("offsetEntries", unchecked(() -> segment.offsetIndex().entries()))
                .put("timeEntries", unchecked(() -> segment.timeIndex().entries()))
                .put("largestTimestampMs", unchecked(segment::largestTimestamp));
        }
        return description;
    }

    private JsonNode append(UnifiedLog log, PeerTime time, JsonNode batch) {
        time.setMs(batch.path("appendedMs"));
        return appended(log.appendAsLeader(build(batch, 0), batch.path("leaderEpoch").asInt(0), AppendOrigin.CLIENT,
            MetadataVersion.latestProduction(), RequestLocal.NoCaching(), VerificationGuard.SENTINEL));
    }

    private static JsonNode appended(LogAppendInfo info) {
        return JSON.createObjectNode().put("baseOffset", info.firstOffset()).put("lastOffset", info.lastOffset());
    }

    /** As a producer builds it: {codec, records, [producerId, producerEpoch, baseSequence, isTransactional]}. */
    private static MemoryRecords build(JsonNode batch, long baseOffset) {
        Compression compression = Compression.of(batch.path("codec").asText("none")).build();
        boolean isIdempotent = batch.has("producerId");
        MemoryRecordsBuilder builder = MemoryRecords.builder(ByteBuffer.allocate(16_384), RecordBatch.MAGIC_VALUE_V2,
            compression, TimestampType.CREATE_TIME, baseOffset, RecordBatch.NO_TIMESTAMP,
            isIdempotent ? batch.get("producerId").asLong() : RecordBatch.NO_PRODUCER_ID,
            isIdempotent ? (short) batch.get("producerEpoch").asInt() : RecordBatch.NO_PRODUCER_EPOCH,
            isIdempotent ? batch.get("baseSequence").asInt() : RecordBatch.NO_SEQUENCE,
            batch.path("isTransactional").asBoolean(false), false, RecordBatch.NO_PARTITION_LEADER_EPOCH);
        for (JsonNode record : batch.get("records")) {
            List<Header> headers = new ArrayList<>();
            for (JsonNode header : record.path("headers")) {
                headers.add(new RecordHeader(header.get(0).asText(), bytes(header.get(1))));
            }
            builder.append(record.get("timestampMs").asLong(), bytes(record.get("key")), bytes(record.get("value")),
                headers.toArray(new Header[0]));
        }
        return builder.build();
    }

    private JsonNode endTransaction(UnifiedLog log, JsonNode request) {
        ControlRecordType type = request.get("commit").asBoolean() ? ControlRecordType.COMMIT : ControlRecordType.ABORT;
        return appended(log.appendAsLeader(
            MemoryRecords.withEndTransactionMarker(request.get("producerId").asLong(),
                (short) request.get("producerEpoch").asInt(), new EndTransactionMarker(type, 0)),
            0, AppendOrigin.COORDINATOR, MetadataVersion.latestProduction(), RequestLocal.NoCaching(),
            VerificationGuard.SENTINEL));
    }

    /**
     * Appends every batch of another log dir as a client would send it, at the time at which it was appended there: what
     * Kafka then leaves on its disk is what the other should have left.
     */
    private JsonNode replay(String directory, File from) throws Exception {
        int batchCount = 0;
        for (File partition : partitionDirectories(from)) {
            UnifiedLog log = getOrCreate(directory, UnifiedLog.parseTopicPartitionName(partition));
            for (File file : filesEndingWith(partition, ".log")) {
                try (FileRecords records = FileRecords.open(file, false)) {
                    for (RecordBatch batch : records.batches()) {
                        boolean stampedByLog = batch.timestampType() == TimestampType.LOG_APPEND_TIME;
                        if (stampedByLog) time(directory).setMs(JSON.getNodeFactory().numberNode(batch.maxTimestamp()));
                        log.appendAsLeader(asSent(batch), batch.partitionLeaderEpoch(), AppendOrigin.CLIENT,
                            MetadataVersion.latestProduction(), RequestLocal.NoCaching(), VerificationGuard.SENTINEL);
                        batchCount++;
                    }
                }
            }
        }
        return JSON.createObjectNode().put("batchCount", batchCount);
    }

    /** The batch as it left the producer: base offset 0, no leader epoch, CreateTime. */
    private static MemoryRecords asSent(RecordBatch stored) {
        ByteBuffer bytes = ByteBuffer.allocate(stored.sizeInBytes());
        stored.writeTo(bytes);
        bytes.flip();
        MemoryRecords sent = MemoryRecords.readableRecords(bytes);
        MutableRecordBatch batch = sent.batches().iterator().next();
        batch.setLastOffset(stored.lastOffset() - stored.baseOffset());
        batch.setPartitionLeaderEpoch(RecordBatch.NO_PARTITION_LEADER_EPOCH);
        if (stored.timestampType() == TimestampType.LOG_APPEND_TIME) {
            batch.setMaxTimestamp(TimestampType.CREATE_TIME, stored.maxTimestamp());
        }
        return sent;
    }

    private JsonNode deleteBefore(UnifiedLog log, long offset) {
        log.updateHighWatermark(log.logEndOffset());
        log.maybeIncrementLogStartOffset(offset, LogStartOffsetIncrementReason.ClientRecordDeletion);
        log.deleteOldSegments();
        return JSON.createObjectNode();
    }

    /** Reads as a fetch does, through the offset index, at most `maxBytes` at a time. */
    private JsonNode read(String directory, int maxBytes) {
        ArrayNode answer = JSON.createArrayNode();
        for (UnifiedLog log : logs(directory)) {
            ObjectNode partition = named(log);
            ArrayNode records = partition.putArray("records");
            long next = log.logStartOffset();
            while (next < log.logEndOffset()) {
                long from = next;
                for (RecordBatch batch : log.read(from, maxBytes, FetchIsolation.LOG_END, true).records.batches()) {
                    batch.ensureValid();
                    for (Record record : batch) {
                        record.ensureValid();
                        if (record.offset() >= from) records.add(describe(batch, record));
                    }
                    next = batch.nextOffset();
                }
                if (next == from) throw new IllegalStateException("nothing to read at " + log.name() + " offset " + from);
            }
            answer.add(partition);
        }
        return answer;
    }

    private static ObjectNode describe(RecordBatch batch, Record record) {
        ObjectNode description = JSON.createObjectNode()
            .put("offset", record.offset())
            .put("timestampMs", record.timestamp())
            .put("key", hex(record.key()))
            .put("value", hex(record.value()));
        ArrayNode headers = description.putArray("headers");
        for (Header header : record.headers()) {
            headers.addArray().add(header.key()).add(header.value() == null ? null : HEX.formatHex(header.value()));
        }
        return description
            .put("codec", batch.compressionType().name)
            .put("timestampType", batch.timestampType().name)
            .put("leaderEpoch", batch.partitionLeaderEpoch())
            .put("isControl", batch.isControlBatch());
    }

    private static JsonNode lookup(UnifiedLog log, JsonNode timestampsMs) {
        ArrayNode offsets = JSON.createArrayNode();
        for (JsonNode timestampMs : timestampsMs) {
            Option<FileRecords.TimestampAndOffset> found = log.fetchOffsetByTimestamp(timestampMs.asLong(), Option.empty());
            offsets.add(found.isEmpty() ? null : JSON.getNodeFactory().numberNode(found.get().offset));
        }
        return offsets;
    }

    private JsonNode close(String directory) throws Exception {
        Open open = opened.remove(directory);
        open.manager().shutdown(BROKER_EPOCH);
        open.scheduler().shutdown();
        return JSON.createObjectNode();
    }

    /** DumpLogSegments over every log and index. Its index checks want trimmed files, so a log killed open skips them. */
    private static JsonNode dump(File directory, boolean indexesAreTrimmed, Captured captured) {
        List<String> problems = new ArrayList<>();
        int fileCount = 0;
        for (File partition : partitionDirectories(directory)) {
            List<File> logs = filesEndingWith(partition, ".log");
            List<File> indexes = new ArrayList<>();
            for (File log : logs) {
                for (String suffix : List.of(".index", ".timeindex")) {
                    File index = new File(partition, log.getName().replace(".log", suffix));
                    // DumpLogSegments would create the missing one, and then throw.
                    if (index.exists()) indexes.add(index);
                    else problems.add(index + " is missing");
                }
            }
            dump(logs, "--deep-iteration", captured, problems);
            dump(indexes, "--verify-index-only", captured, problems);
            if (indexesAreTrimmed) dump(indexes, "--index-sanity-check", captured, problems);
            fileCount += logs.size() + indexes.size();
        }
        ObjectNode answer = JSON.createObjectNode().put("fileCount", fileCount);
        ArrayNode lines = answer.putArray("problems");
        problems.forEach(lines::add);
        return answer;
    }

    private static void dump(List<File> files, String check, Captured captured, List<String> problems) {
        if (files.isEmpty()) return;
        captured.reset();
        String list = files.stream().map(File::getPath).collect(Collectors.joining(","));
        try {
            DumpLogSegments.main(new String[] {check, "--files", list});
        } catch (Exception failure) {
            problems.add(check + " " + list + ": " + causes(failure));
        }
        captured.toString().lines()
            .filter(line -> TROUBLE.stream().anyMatch(line::contains))
            .forEach(line -> problems.add(check + " " + list + ": " + line));
    }

    private UnifiedLog log(JsonNode request) {
        return getOrCreate(request.get("directory").asText(),
            new TopicPartition(request.get("topic").asText(), request.get("partition").asInt()));
    }

    private UnifiedLog getOrCreate(String directory, TopicPartition partition) {
        return opened.get(directory).manager().getOrCreateLog(partition, false, false, Option.empty(), Option.empty());
    }

    private PeerTime time(String directory) {
        return opened.get(directory).time();
    }

    /** Ordered by name, so that answers are the same whenever the directory is. */
    private List<UnifiedLog> logs(String directory) {
        Map<String, UnifiedLog> byName = new TreeMap<>();
        scala.jdk.javaapi.CollectionConverters.asJava(opened.get(directory).manager().allLogs())
            .forEach(log -> byName.put(log.name(), log));
        return new ArrayList<>(byName.values());
    }

    private static List<File> partitionDirectories(File directory) {
        return Arrays.stream(directory.listFiles(File::isDirectory)).sorted().toList();
    }

    private static List<File> filesEndingWith(File directory, String suffix) {
        return Arrays.stream(directory.listFiles((in, name) -> name.endsWith(suffix))).sorted().toList();
    }

    private static ObjectNode named(UnifiedLog log) {
        return JSON.createObjectNode()
            .put("topic", log.topicPartition().topic())
            .put("partition", log.topicPartition().partition());
    }

    private static byte[] bytes(JsonNode hex) {
        return hex == null || hex.isNull() ? null : HEX.parseHex(hex.asText());
    }

    private static String hex(ByteBuffer buffer) {
        if (buffer == null) return null;
        byte[] bytes = new byte[buffer.remaining()];
        buffer.duplicate().get(bytes);
        return HEX.formatHex(bytes);
    }

    private static <T> scala.collection.immutable.Seq<T> seq(List<T> list) {
        return scala.jdk.javaapi.CollectionConverters.asScala(list).toSeq();
    }

    private static String causes(Throwable failure) {
        StringBuilder text = new StringBuilder();
        for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
            text.append(cause).append(" at ").append(cause.getStackTrace().length > 0 ? cause.getStackTrace()[0] : "?");
            text.append("; ");
        }
        return text.toString();
    }

    private interface Throwing<T> {
        T get() throws Exception;
    }

    private static <T> T unchecked(Throwing<T> get) {
        try {
            return get.get();
        } catch (Exception failure) {
            throw new IllegalStateException(failure);
        }
    }

    /** No topic has a configuration of its own. */
    private static final class NoOverrides implements ConfigRepository {
        @Override
        public Properties config(ConfigResource resource) {
            return new Properties();
        }
    }

    /** The system's clock, except that a test can say what time an append happens at. */
    private static final class PeerTime implements Time {
        private volatile long fixedMs = -1;

        void setMs(JsonNode ms) {
            fixedMs = ms.isNumber() ? ms.asLong() : -1;
        }

        @Override
        public long milliseconds() {
            return fixedMs >= 0 ? fixedMs : System.currentTimeMillis();
        }

        @Override
        public long nanoseconds() {
            return System.nanoTime();
        }

        @Override
        public void sleep(long ms) {
            Time.SYSTEM.sleep(ms);
        }

        @Override
        public void waitObject(Object object, Supplier<Boolean> condition, long deadlineMs) throws InterruptedException {
            Time.SYSTEM.waitObject(object, condition, deadlineMs);
        }
    }

    /** What Kafka's tools print, kept apart from the answers. */
    private static final class Captured extends OutputStream {
        private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();

        @Override
        public synchronized void write(int oneByte) {
            bytes.write(oneByte);
        }

        @Override
        public synchronized void write(byte[] source, int at, int sizeBytes) {
            bytes.write(source, at, sizeBytes);
        }

        synchronized void reset() {
            bytes.reset();
        }

        @Override
        public synchronized String toString() {
            return bytes.toString(StandardCharsets.UTF_8);
        }
    }
}
