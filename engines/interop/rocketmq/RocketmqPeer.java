import com.alibaba.fastjson2.JSON;
import com.alibaba.fastjson2.JSONArray;
import com.alibaba.fastjson2.JSONObject;
import com.alibaba.fastjson2.JSONWriter;
import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.common.BoundaryType;
import org.apache.rocketmq.common.BrokerConfig;
import org.apache.rocketmq.common.MixAll;
import org.apache.rocketmq.common.compression.CompressionType;
import org.apache.rocketmq.common.compression.CompressorFactory;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageExtBatch;
import org.apache.rocketmq.common.message.MessageExtBrokerInner;
import org.apache.rocketmq.common.sysflag.MessageSysFlag;
import org.apache.rocketmq.remoting.protocol.filter.FilterAPI;
import org.apache.rocketmq.store.AppendMessageResult;
import org.apache.rocketmq.store.CommitLog;
import org.apache.rocketmq.store.DefaultMessageFilter;
import org.apache.rocketmq.store.DefaultMessageStore;
import org.apache.rocketmq.store.GetMessageResult;
import org.apache.rocketmq.store.GetMessageStatus;
import org.apache.rocketmq.store.PutMessageResult;
import org.apache.rocketmq.store.QueryMessageResult;
import org.apache.rocketmq.store.config.MessageStoreConfig;
import org.apache.rocketmq.store.queue.ConsumeQueueInterface;
import org.apache.rocketmq.store.stats.BrokerStatsManager;

/**
 * RocketMQ's own DefaultMessageStore behind one JSON request a line on standard input and one JSON answer a line on
 * standard output: {"ok": …} or {"error": "…"}. Bytes travel as lower-case hex, null as null.
 *
 *   open      directory, config {MessageStoreConfig property: value}  -> {wasClean, minPhysicalOffset, maxPhysicalOffset}
 *   put       directory, messages, which may name the "compression" of their bodies
 *                                                              -> [{status, queueOffset, physicalOffset, sizeBytes}]
 *   putBatch  directory, messages (of one topic and queue)     -> the same, one result for all
 *   replay    directory, from                                  -> {messageCount}: puts the messages of another commitlog
 *   read      directory, [tags]                                -> [{topic, queueId, minOffset, maxOffset, messages}],
 *                                                                 compressed bodies unfolded
 *   query     directory, topic, key                            -> [queue offset]
 *   lookup    directory, topic, queueId, timestampsMs, bound   -> [queue offset]
 *   close     directories                                      -> {}: all at once, since each takes three seconds
 */
public final class RocketmqPeer {
    private static final HexFormat HEX = HexFormat.of();
    private static final int MESSAGES_PER_GET = 32;
    private static final int MAX_QUERIED = 64;
    private static final int COMPRESSION_LEVEL = 5;

    private final Map<String, DefaultMessageStore> opened = new HashMap<>();

    public static void main(String[] arguments) throws Exception {
        PrintStream answers = new PrintStream(new FileOutputStream(FileDescriptor.out), false, StandardCharsets.UTF_8);
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        System.setOut(new PrintStream(printed, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(printed, true, StandardCharsets.UTF_8));
        RocketmqPeer peer = new RocketmqPeer();
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = requests.readLine(); line != null; line = requests.readLine()) {
            JSONObject answer = new JSONObject();
            printed.reset();
            try {
                answer.put("ok", peer.answer(JSON.parseObject(line)));
            } catch (Throwable failure) {
                failure.printStackTrace();
                answer.put("error", printed.toString(StandardCharsets.UTF_8));
            }
            answers.println(answer.toString(JSONWriter.Feature.WriteNulls));
            answers.flush();
        }
        Runtime.getRuntime().halt(0); // standard input is closed: the caller is gone or done
    }

    private Object answer(JSONObject request) throws Exception {
        DefaultMessageStore store = opened.get(request.getString("directory"));
        return switch (request.getString("command")) {
            case "open" -> open(request.getString("directory"), request.getJSONObject("config"));
            case "put" -> put(store, request.getJSONArray("messages"));
            case "putBatch" -> putBatch(store, request.getJSONArray("messages"));
            case "replay" -> replay(store, new File(request.getString("from"), "commitlog"));
            case "read" -> read(store, request.getString("tags"));
            case "query" -> query(store, request.getString("topic"), request.getString("key"));
            case "lookup" -> lookup(store, request);
            case "close" -> close(request.getJSONArray("directories"));
            default -> throw new IllegalArgumentException("no such command: " + request);
        };
    }

    private JSONObject open(String directory, JSONObject settings) throws Exception {
        boolean wasClean = !new File(directory, "abort").exists();
        MessageStoreConfig config = new MessageStoreConfig();
        config.setStorePathRootDir(directory);
        config.setHaListenPort(0);
        config.setEnableCompaction(false);
        config.setFileReservedTime(1_000_000); // hours: nothing may expire
        config.setDiskMaxUsedSpaceRatio(95);
        Properties properties = new Properties();
        if (settings != null) settings.forEach((name, value) -> properties.put(name, value.toString()));
        MixAll.properties2Object(properties, config);
        DefaultMessageStore store = new DefaultMessageStore(config, new BrokerStatsManager("peer", true),
            (topic, queueId, nextOffset, tagsCode, storeTimestamp, bitmap, messageProperties) -> {},
            new BrokerConfig(), new ConcurrentHashMap<>());
        if (!store.load()) throw new IllegalStateException("DefaultMessageStore.load() refused " + directory);
        store.start();
        opened.put(directory, store);
        awaitDispatch(store);
        return new JSONObject()
            .fluentPut("wasClean", wasClean)
            .fluentPut("minPhysicalOffset", store.getMinPhyOffset())
            .fluentPut("maxPhysicalOffset", store.getMaxPhyOffset());
    }

    private static JSONArray put(DefaultMessageStore store, JSONArray messages) throws Exception {
        JSONArray results = new JSONArray();
        for (int i = 0; i < messages.size(); i++) {
            JSONObject message = messages.getJSONObject(i);
            MessageExtBrokerInner inner = new MessageExtBrokerInner();
            fill(inner, message);
            setBody(inner, bytes(message.getString("body")), message.getString("compression"));
            setProperties(inner, new String(bytes(message.getString("properties")), StandardCharsets.UTF_8));
            results.add(result(store.putMessage(inner)));
        }
        awaitDispatch(store);
        return results;
    }

    /** As RocketMQ's producer does. */
    private static void setBody(MessageExtBrokerInner message, byte[] body, String compression) throws Exception {
        if (compression == null) {
            message.setBody(body);
            return;
        }
        CompressionType type = CompressionType.of(compression);
        message.setBody(CompressorFactory.getCompressor(type).compress(body, COMPRESSION_LEVEL));
        message.setSysFlag(message.getSysFlag() | MessageSysFlag.COMPRESSED_FLAG | type.getCompressionFlag());
    }

    /** The text is what is stored; the map is what the store looks into on its way. */
    private static void setProperties(MessageExtBrokerInner message, String properties) {
        message.setPropertiesString(properties);
        MessageAccessor.setProperties(message, MessageDecoder.string2messageProperties(properties));
    }

    private static void fill(MessageExt target, JSONObject message) throws Exception {
        target.setTopic(message.getString("topic"));
        target.setQueueId(message.getIntValue("queueId"));
        target.setFlag(message.getIntValue("flag"));
        target.setSysFlag(message.getIntValue("sysFlag"));
        target.setBornTimestamp(message.getLongValue("bornTimestampMs"));
        target.setBornHost(host(message.getString("bornHost")));
        target.setStoreHost(host(message.getString("storeHost")));
        target.setReconsumeTimes(message.getIntValue("reconsumeTimes"));
        target.setPreparedTransactionOffset(message.getLongValue("preparedTransactionOffset"));
    }

    private static JSONObject putBatch(DefaultMessageStore store, JSONArray messages) throws Exception {
        JSONObject result = result(store.putMessages(batch(messages)));
        awaitDispatch(store);
        return result;
    }

    /** As a client sends a batch: the elements' bodies and properties in one body. */
    private static MessageExtBatch batch(JSONArray messages) throws Exception {
        List<Message> elements = new ArrayList<>();
        for (int i = 0; i < messages.size(); i++) {
            JSONObject message = messages.getJSONObject(i);
            Message element = new Message(message.getString("topic"), bytes(message.getString("body")));
            element.setFlag(message.getIntValue("flag"));
            String properties = new String(bytes(message.getString("properties")), StandardCharsets.UTF_8);
            MessageDecoder.string2messageProperties(properties).forEach((name, value) -> {
                if (name.equals(MessageConst.PROPERTY_KEYS)) element.setKeys(value);
                else if (name.equals(MessageConst.PROPERTY_TAGS)) element.setTags(value);
                else element.putUserProperty(name, value);
            });
            elements.add(element);
        }
        MessageExtBatch batch = new MessageExtBatch();
        fill(batch, messages.getJSONObject(0));
        batch.setBody(MessageDecoder.encodeMessages(elements));
        return batch;
    }

    private static JSONObject result(PutMessageResult put) {
        JSONObject result = new JSONObject().fluentPut("status", put.getPutMessageStatus().name());
        AppendMessageResult append = put.getAppendMessageResult();
        if (append == null || !append.isOk()) return result;
        return result
            .fluentPut("queueOffset", append.getLogicsOffset())
            .fluentPut("physicalOffset", append.getWroteOffset())
            .fluentPut("sizeBytes", append.getWroteBytes());
    }

    /**
     * Puts every message of another commitlog with its own fields; only the store timestamps are new. What RocketMQ then
     * has on its disk is what the other should have, those timestamps apart.
     */
    private static JSONObject replay(DefaultMessageStore store, File commitlog) throws Exception {
        int messageCount = 0;
        for (File file : Arrays.stream(commitlog.listFiles()).sorted().toList()) {
            ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(file.toPath()));
            while (bytes.remaining() >= 8) {
                int sizeBytes = bytes.getInt(bytes.position());
                int magic = bytes.getInt(bytes.position() + 4);
                if (sizeBytes <= 8 || sizeBytes > bytes.remaining() || magic == CommitLog.BLANK_MAGIC_CODE) break;
                ByteBuffer record = bytes.slice(bytes.position(), sizeBytes);
                bytes.position(bytes.position() + sizeBytes);
                MessageExt stored = decode(record.duplicate(), false);
                MessageExtBrokerInner inner = new MessageExtBrokerInner();
                inner.setTopic(stored.getTopic());
                inner.setQueueId(stored.getQueueId());
                inner.setFlag(stored.getFlag());
                inner.setSysFlag(stored.getSysFlag());
                inner.setBornTimestamp(stored.getBornTimestamp());
                inner.setBornHost(stored.getBornHost());
                inner.setStoreHost(stored.getStoreHost());
                inner.setReconsumeTimes(stored.getReconsumeTimes());
                inner.setPreparedTransactionOffset(stored.getPreparedTransactionOffset());
                inner.setBody(stored.getBody());
                setProperties(inner, propertiesOf(record, stored));
                PutMessageResult put = store.putMessage(inner);
                if (!put.isOk()) throw new IllegalStateException("replay of message " + messageCount + ": " + put);
                messageCount++;
            }
        }
        awaitDispatch(store);
        return new JSONObject().fluentPut("messageCount", messageCount);
    }

    /** The properties as stored, in their order: the decoder keeps them as a map. They end the record. */
    private static String propertiesOf(ByteBuffer record, MessageExt stored) {
        int topicBytes = stored.getTopic().getBytes(StandardCharsets.UTF_8).length;
        int topicLengthBytes = record.getInt(4) == MessageDecoder.MESSAGE_MAGIC_CODE_V2 ? 2 : 1;
        int hostBytes = (stored.getSysFlag() & 0x10) == 0 ? 8 : 20;
        hostBytes += (stored.getSysFlag() & 0x20) == 0 ? 8 : 20;
        int bodyBytes = stored.getBody() == null ? 0 : stored.getBody().length;
        int at = 72 + hostBytes + bodyBytes + topicLengthBytes + topicBytes;
        byte[] properties = new byte[record.getShort(at)];
        record.get(at + 2, properties);
        return new String(properties, StandardCharsets.UTF_8);
    }

    private static JSONArray read(DefaultMessageStore store, String tags) throws Exception {
        JSONArray queues = new JSONArray();
        for (ConsumeQueueInterface queue : queues(store)) {
            String topic = queue.getTopic();
            int queueId = queue.getQueueId();
            long maxOffset = store.getMaxOffsetInQueue(topic, queueId);
            JSONArray messages = new JSONArray();
            long next = store.getMinOffsetInQueue(topic, queueId);
            while (next < maxOffset) {
                GetMessageResult got = store.getMessage("peer", topic, queueId, next, MESSAGES_PER_GET,
                    tags == null ? null : new DefaultMessageFilter(FilterAPI.buildSubscriptionData(topic, tags)));
                boolean goesOn = got.getStatus() == GetMessageStatus.FOUND
                    || got.getStatus() == GetMessageStatus.NO_MATCHED_MESSAGE
                    || got.getStatus() == GetMessageStatus.MESSAGE_WAS_REMOVING && got.getNextBeginOffset() > next;
                if (!goesOn) {
                    throw new IllegalStateException(got.getStatus() + " at " + topic + "-" + queueId + " offset " + next);
                }
                for (ByteBuffer record : got.getMessageBufferList()) messages.add(describe(decode(record, true)));
                next = got.getNextBeginOffset();
                got.release();
            }
            queues.add(new JSONObject()
                .fluentPut("topic", topic)
                .fluentPut("queueId", queueId)
                .fluentPut("minOffset", store.getMinOffsetInQueue(topic, queueId))
                .fluentPut("maxOffset", maxOffset)
                .fluentPut("messages", messages));
        }
        return queues;
    }

    /** Ordered by name, so that answers are the same whenever the directory is. */
    private static List<ConsumeQueueInterface> queues(DefaultMessageStore store) {
        Map<String, ConsumeQueueInterface> byName = new TreeMap<>();
        store.getConsumeQueueTable().values().forEach(queues -> queues.values().forEach(
            queue -> byName.put(queue.getTopic() + "-" + queue.getQueueId(), queue)));
        return new ArrayList<>(byName.values());
    }

    private static MessageExt decode(ByteBuffer record, boolean unfolds) {
        boolean hasChecksum = record.getInt(record.position() + 8) != 0;
        MessageExt message = MessageDecoder.decode(record, true, unfolds, false, false, hasChecksum);
        if (message == null) throw new IllegalStateException("MessageDecoder refused a record (see its checksum)");
        return message;
    }

    private static JSONObject describe(MessageExt message) {
        return new JSONObject()
            .fluentPut("queueOffset", message.getQueueOffset())
            .fluentPut("physicalOffset", message.getCommitLogOffset())
            .fluentPut("sizeBytes", message.getStoreSize())
            .fluentPut("body", message.getBody() == null ? "" : HEX.formatHex(message.getBody()))
            .fluentPut("flag", message.getFlag())
            .fluentPut("sysFlag", message.getSysFlag())
            .fluentPut("bornTimestampMs", message.getBornTimestamp())
            .fluentPut("bornHost", name(message.getBornHost()))
            .fluentPut("storeTimestampMs", message.getStoreTimestamp())
            .fluentPut("storeHost", name(message.getStoreHost()))
            .fluentPut("reconsumeTimes", message.getReconsumeTimes())
            .fluentPut("preparedTransactionOffset", message.getPreparedTransactionOffset())
            .fluentPut("properties", message.getProperties() == null ? Map.of() : message.getProperties());
    }

    private static JSONArray query(DefaultMessageStore store, String topic, String key) {
        QueryMessageResult queried = store.queryMessage(topic, key, MAX_QUERIED, 0, Long.MAX_VALUE);
        JSONArray offsets = new JSONArray();
        for (ByteBuffer record : queried.getMessageBufferList()) {
            MessageExt message = decode(record, false);
            offsets.add(new JSONObject()
                .fluentPut("queueId", message.getQueueId())
                .fluentPut("queueOffset", message.getQueueOffset()));
        }
        queried.release();
        return offsets;
    }

    private static JSONArray lookup(DefaultMessageStore store, JSONObject request) {
        JSONArray offsets = new JSONArray();
        JSONArray timestampsMs = request.getJSONArray("timestampsMs");
        for (int i = 0; i < timestampsMs.size(); i++) {
            offsets.add(store.getOffsetInQueueByTime(request.getString("topic"), request.getIntValue("queueId"),
                timestampsMs.getLongValue(i), BoundaryType.valueOf(request.getString("bound"))));
        }
        return offsets;
    }

    private JSONObject close(JSONArray directories) throws Exception {
        List<Thread> closing = new ArrayList<>();
        for (String directory : directories.toJavaList(String.class)) {
            Thread thread = new Thread(opened.remove(directory)::shutdown);
            thread.start();
            closing.add(thread);
        }
        for (Thread thread : closing) thread.join();
        return new JSONObject();
    }

    /** Until the reput loop has put all into the queues and the index. */
    private static void awaitDispatch(DefaultMessageStore store) throws InterruptedException {
        while (store.dispatchBehindBytes() > 0) Thread.sleep(1);
    }

    private static SocketAddress host(String name) throws Exception {
        int colon = name.lastIndexOf(':');
        return new InetSocketAddress(InetAddress.getByName(name.substring(0, colon)),
            Integer.parseInt(name.substring(colon + 1)));
    }

    private static String name(SocketAddress host) {
        InetSocketAddress address = (InetSocketAddress) host;
        return address.getAddress().getHostAddress() + ":" + address.getPort();
    }

    private static byte[] bytes(String hex) {
        return hex == null ? null : HEX.parseHex(hex);
    }
}
