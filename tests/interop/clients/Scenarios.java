// The scenarios of the report card by Kafka's Java client: compiled against 2.8, run on each version (see tests/interop/card.py).
import java.time.Duration;
import java.util.*;
import java.util.concurrent.ExecutionException;
import java.util.function.BooleanSupplier;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.*;

public class Scenarios {
	static final int COUNT = 200;
	static String bootstrap, topic, group, prefix;
	static Admin admin;
	static int missed;

	interface Body {
		Object run() throws Exception;
	}

	static Throwable cause(Throwable e) {
		return e instanceof ExecutionException && e.getCause() != null ? e.getCause() : e;
	}

	static String quoted(Object o) {
		return '"' + String.valueOf(o).replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", " ") + '"';
	}

	static String json(Object o) {
		if (o instanceof Map)
			return new TreeMap<Object, Object>((Map<?, ?>) o).entrySet().stream().map(e -> quoted(e.getKey()) + ": " + json(e.getValue())).collect(Collectors.joining(", ", "{", "}"));
		if (o instanceof Collection)
			return ((Collection<?>) o).stream().map(Scenarios::json).collect(Collectors.joining(", ", "[", "]"));
		return o instanceof Number || o instanceof Boolean ? o.toString() : quoted(o);
	}

	static void scenario(String name, Body body) {
		Object outcome;
		missed = 0;
		try {
			outcome = body.run();
		} catch (Throwable e) {
			e.printStackTrace();
			outcome = Map.of("error", cause(e).getClass().getSimpleName());
		}
		System.out.println("{\"scenario\": " + quoted(name) + ", \"outcome\": " + json(outcome) + ", \"missed\": " + missed + "}");
		System.out.flush();
	}

	static String errorOf(Body body) {
		try {
			body.run();
			return "done";
		} catch (Throwable e) {
			return cause(e).getClass().getSimpleName();
		}
	}

	static boolean until(BooleanSupplier condition) throws InterruptedException {
		long end = System.nanoTime() + 90_000_000_000L;
		while (!condition.getAsBoolean()) {
			if (System.nanoTime() > end) {
				missed++;
				return false;
			}
			Thread.sleep(20);
		}
		return true;
	}

	static Map<String, Object> common() {
		Map<String, Object> m = new HashMap<>();
		m.put("bootstrap.servers", bootstrap);
		return m;
	}

	static KafkaConsumer<String, String> consumer(String name, Object... more) {
		Map<String, Object> m = common();
		m.put("group.id", name);
		m.put("auto.offset.reset", "earliest");
		m.put("enable.auto.commit", "false");
		m.put("session.timeout.ms", "6000");
		m.put("heartbeat.interval.ms", "300");
		for (int i = 0; i < more.length; i += 2)
			m.put((String) more[i], more[i + 1]);
		return new KafkaConsumer<>(m, new StringDeserializer(), new StringDeserializer());
	}

	static KafkaProducer<String, String> producer(String codec) {
		Map<String, Object> m = common();
		m.put("acks", "all");
		m.put("enable.idempotence", "true");
		m.put("compression.type", codec);
		return new KafkaProducer<>(m, new StringSerializer(), new StringSerializer());
	}

	static List<String> read(Consumer<String, String> c, int count) throws InterruptedException {
		List<String> got = new ArrayList<>();
		until(() -> {
			for (ConsumerRecord<String, String> r : c.poll(Duration.ofMillis(200)))
				got.add(r.partition() + " " + r.offset() + " " + r.key() + " " + r.value() + " " + Arrays.stream(r.headers().toArray()).map(h -> h.key() + "=" + new String(h.value())).collect(Collectors.toList()));
			return got.size() >= count;
		});
		return got;
	}

	// 4.0 took all() away, 3.1 brought allTopicNames().
	@SuppressWarnings("unchecked")
	static TopicDescription described(String name) throws Exception {
		DescribeTopicsResult r = admin.describeTopics(List.of(name));
		java.lang.reflect.Method m;
		try {
			m = r.getClass().getMethod("allTopicNames");
		} catch (NoSuchMethodException e) {
			m = r.getClass().getMethod("all");
		}
		return ((org.apache.kafka.common.KafkaFuture<Map<String, TopicDescription>>) m.invoke(r)).get().get(name);
	}

	static Object createTopic() throws Exception {
		admin.createTopics(List.of(new NewTopic(topic, 2, (short) 1).configs(Map.of("retention.ms", "123456789")))).all().get();
		TopicDescription d = described(topic);
		return Map.of("partitions", d.partitions().size(), "internal", d.isInternal(), "again", errorOf(() -> admin.createTopics(List.of(new NewTopic(topic, 2, (short) 1))).all().get()), "listed",
			admin.listTopics().names().get().contains(topic), "bad factor", errorOf(() -> admin.createTopics(List.of(new NewTopic(topic + "x", 2, (short) 5))).all().get()), "bad name",
			errorOf(() -> admin.createTopics(List.of(new NewTopic("a b", 2, (short) 1))).all().get()));
	}

	static Object produce(String codec) throws Exception {
		String name = prefix + codec;
		admin.createTopics(List.of(new NewTopic(name, 1, (short) 1))).all().get();
		List<Long> offsets = new ArrayList<>();
		try (KafkaProducer<String, String> p = producer(codec)) {
			List<java.util.concurrent.Future<RecordMetadata>> sent = new ArrayList<>();
			for (int i = 0; i < COUNT; i++)
				sent.add(p.send(new ProducerRecord<>(name, 0, 1700000000000L + i, "key" + i % 17, i % 10 == 3 ? null : "value " + i + "x".repeat(i % 60), List.of(new RecordHeader("h", "1".getBytes())))));
			for (java.util.concurrent.Future<RecordMetadata> f : sent)
				offsets.add(f.get().offset());
		}
		try (KafkaConsumer<String, String> c = consumer(group)) {
			TopicPartition tp = new TopicPartition(name, 0);
			c.assign(List.of(tp));
			c.seekToBeginning(List.of(tp));
			List<String> got = read(c, COUNT);
			return Map.of("offsets", offsets.hashCode(), "read", got.hashCode(), "count", got.size(), "by time", String.valueOf(c.offsetsForTimes(Map.of(tp, 1700000000100L))), "ends", c.beginningOffsets(List.of(tp)) + " " + c.endOffsets(List.of(tp)));
		}
	}

	// 3.0 brought the third kind.
	static Object offsetAt(TopicPartition tp, String kind) throws Exception {
		OffsetSpec spec;
		try {
			spec = (OffsetSpec) OffsetSpec.class.getMethod(kind).invoke(null);
		} catch (NoSuchMethodException e) {
			return "not in this version";
		}
		ListOffsetsResult.ListOffsetsResultInfo r = admin.listOffsets(Map.of(tp, spec)).all().get().get(tp);
		return r.offset() + " " + r.timestamp() + " " + r.leaderEpoch();
	}

	static Object listOffsets() throws Exception {
		TopicPartition tp = new TopicPartition(prefix + "times", 0);
		admin.createTopics(List.of(new NewTopic(tp.topic(), 1, (short) 1))).all().get();
		try (KafkaProducer<String, String> p = producer("none")) {
			for (int i = 0; i < 10; i++)
				p.send(new ProducerRecord<>(tp.topic(), 0, 1700000000000L + 1000 * i, null, "" + i)).get();
		}
		Map<String, Object> out = new TreeMap<>();
		for (String kind : List.of("earliest", "latest", "maxTimestamp"))
			out.put(kind, offsetAt(tp, kind));
		for (long time : new long[]{1700000004500L, 1800000000000L})
			out.put("" + time, admin.listOffsets(Map.of(tp, OffsetSpec.forTimestamp(time))).all().get().get(tp).offset());
		out.put("unknown topic", errorOf(() -> admin.listOffsets(Map.of(new TopicPartition("no-such", 0), OffsetSpec.latest()), new ListOffsetsOptions().timeoutMs(3000)).all().get()));
		return out;
	}

	// Where a consumer that begins at an offset really begins, by its policy for offsets that are not there.
	static Object first(TopicPartition tp, long offset, String policy) throws Exception {
		try (KafkaConsumer<String, String> c = consumer(group + "seek", "auto.offset.reset", policy)) {
			c.assign(List.of(tp));
			c.seek(tp, offset);
			List<Long> got = new ArrayList<>();
			until(() -> {
				for (ConsumerRecord<String, String> r : c.poll(Duration.ofMillis(200)))
					got.add(r.offset());
				return !got.isEmpty() || c.position(tp) != offset;
			});
			return got.isEmpty() ? c.position(tp) : got.get(0);
		} catch (KafkaException e) {
			return e.getClass().getSimpleName();
		}
	}

	static Object seek() throws Exception {
		TopicPartition tp = new TopicPartition(prefix + "times", 0);
		Map<String, Object> out = new TreeMap<>();
		out.put("inside", first(tp, 7, "none"));
		for (String policy : List.of("earliest", "latest", "none"))
			out.put("beyond, " + policy, first(tp, 1000, policy));
		admin.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(4))).all().get();
		for (String policy : List.of("earliest", "latest", "none"))
			out.put("deleted, " + policy, first(tp, 1, policy));
		return out;
	}

	static void fill(int n) throws Exception {
		try (KafkaProducer<String, String> p = producer("none")) {
			for (int i = 0; i < n; i++)
				p.send(new ProducerRecord<>(topic, i % 2, null, "" + i)).get();
		}
	}

	static Object consumeGroup() throws Exception {
		fill(100);
		try (KafkaConsumer<String, String> c = consumer(group)) {
			c.subscribe(List.of(topic));
			List<String> got = read(c, 100);
			c.commitSync();
			Collections.sort(got);
			return Map.of("read", got.hashCode(), "count", got.size(), "committed", new TreeMap<Object, Object>(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().entrySet().stream().collect(
				Collectors.toMap(e -> e.getKey().toString(), e -> e.getValue().offset()))));
		}
	}

	static boolean shares(List<KafkaConsumer<String, String>> all, Integer... want) throws InterruptedException {
		return until(() -> {
			for (KafkaConsumer<String, String> c : all)
				c.poll(Duration.ofMillis(50));
			return all.stream().map(c -> c.assignment().size()).collect(Collectors.toList()).equals(List.of(want));
		});
	}

	static Object rebalance(String assignor) throws Exception {
		String name = group + assignor;
		KafkaConsumer<String, String> a = consumer(name, "partition.assignment.strategy", assignor), b = consumer(name, "partition.assignment.strategy", assignor);
		a.subscribe(List.of(topic));
		boolean alone = shares(List.of(a), 2);
		b.subscribe(List.of(topic));
		boolean two = shares(List.of(a, b), 1, 1);
		b.close();
		boolean left = shares(List.of(a), 2);
		a.close();
		return Map.of("alone", alone, "two", two, "left", left);
	}

	static Object staticMember() throws Exception {
		KafkaConsumer<String, String> a = consumer(group + "static", "group.instance.id", "one");
		a.subscribe(List.of(topic));
		boolean first = shares(List.of(a), 2);
		a.close();
		KafkaConsumer<String, String> b = consumer(group + "static", "group.instance.id", "one");
		b.subscribe(List.of(topic));
		boolean second = shares(List.of(b), 2);
		int members = admin.describeConsumerGroups(List.of(group + "static")).all().get().get(group + "static").members().size();
		b.close();
		admin.removeMembersFromConsumerGroup(group + "static", new RemoveMembersFromConsumerGroupOptions(List.of(new MemberToRemove("one")))).all().get();
		return Map.of("first", first, "second", second, "members", members, "removed", admin.describeConsumerGroups(List.of(group + "static")).all().get().get(group + "static").members().size());
	}

	static Object resume() throws Exception {
		fill(20);
		List<String> got;
		try (KafkaConsumer<String, String> c = consumer(group, "max.poll.records", "5")) {
			c.subscribe(List.of(topic));
			got = read(c, 10);
			c.commitSync();
		}
		try (KafkaConsumer<String, String> c = consumer(group)) {
			c.subscribe(List.of(topic));
			List<String> rest = read(c, 20 - got.size());
			got.addAll(rest);
		}
		return Map.of("records", got.size(), "different", new HashSet<>(got).size());
	}

	static Object describeGroups() throws Exception {
		try (KafkaConsumer<String, String> c = consumer(group + "-seen", "client.id", "watched")) {
			c.subscribe(List.of(topic));
			shares(List.of(c), 2);
			ConsumerGroupDescription d = admin.describeConsumerGroups(List.of(group + "-seen")).all().get().get(group + "-seen");
			MemberDescription m = d.members().iterator().next();
			List<String> listed = admin.listConsumerGroups().all().get().stream().map(g -> g.groupId() + " " + g.isSimpleConsumerGroup() + " " + g.state().map(Object::toString).orElse("")).filter(g -> g.startsWith(group + " ") || g.startsWith(group + "-seen ")).sorted().collect(
				Collectors.toList());
			return Map.of("state", d.state().toString(), "assignor", d.partitionAssignor(), "members", d.members().size(), "client", m.clientId(), "host", m.host(), "share", new TreeSet<>(m.assignment().topicPartitions().stream().map(
				Object::toString).collect(Collectors.toList())), "listed", listed);
		}
	}

	static Object alterOffsets() throws Exception {
		TopicPartition tp = new TopicPartition(topic, 1);
		admin.alterConsumerGroupOffsets(group, Map.of(tp, new OffsetAndMetadata(7, "by hand"))).all().get();
		OffsetAndMetadata now = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(tp);
		admin.deleteConsumerGroupOffsets(group, Set.of(tp)).all().get();
		return Map.of("offset", now.offset(), "metadata", now.metadata(), "deleted", String.valueOf(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(tp)));
	}

	static Object addPartitions() throws Exception {
		admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(4))).all().get();
		boolean four = until(() -> {
			try {
				return described(topic).partitions().size() == 4;
			} catch (Exception e) {
				return false;
			}
		});
		return Map.of("four", four, "fewer", errorOf(() -> admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(3))).all().get()), "unknown", errorOf(() -> admin.createPartitions(Map.of("no-such", NewPartitions.increaseTo(3))).all().get()));
	}

	static Map<String, String> shown(ConfigResource where) throws Exception {
		Map<String, String> out = new TreeMap<>();
		for (ConfigEntry e : admin.describeConfigs(List.of(where), new DescribeConfigsOptions().includeSynonyms(true)).all().get().get(where).entries())
			if (List.of("retention.ms", "cleanup.policy", "segment.bytes", "min.insync.replicas", "max.message.bytes", "log.retention.ms", "num.io.threads").contains(e.name()))
				out.put(e.name(), e.value() + " " + e.source() + " " + e.type() + " " + e.isReadOnly() + " " + e.isSensitive() + " " + e.synonyms().stream().map(s -> s.name() + "=" + s.value() + "/" + s.source()).collect(Collectors.toList()));
		return out;
	}

	static Body alter(ConfigResource where, String key, String value, AlterConfigOp.OpType op) {
		return () -> admin.incrementalAlterConfigs(Map.of(where, List.of(new AlterConfigOp(new ConfigEntry(key, value), op)))).all().get();
	}

	static Object configs() throws Exception {
		ConfigResource where = new ConfigResource(ConfigResource.Type.TOPIC, topic), broker = new ConfigResource(ConfigResource.Type.BROKER, "1");
		Map<String, Object> out = new TreeMap<>();
		out.put("before", shown(where));
		alter(where, "retention.ms", "55555555", AlterConfigOp.OpType.SET).run();
		until(() -> {
			try {
				return shown(where).get("retention.ms").startsWith("55555555");
			} catch (Exception e) {
				return false;
			}
		});
		out.put("after", shown(where));
		out.put("delete", errorOf(alter(where, "retention.ms", null, AlterConfigOp.OpType.DELETE)));
		out.put("bad value", errorOf(alter(where, "retention.ms", "abc", AlterConfigOp.OpType.SET)));
		out.put("unknown key", errorOf(alter(where, "no.such", "1", AlterConfigOp.OpType.SET)));
		out.put("unknown topic", errorOf(alter(new ConfigResource(ConfigResource.Type.TOPIC, "no-such"), "retention.ms", "1", AlterConfigOp.OpType.SET)));
		out.put("append to no list", errorOf(alter(where, "retention.ms", "1", AlterConfigOp.OpType.APPEND)));
		out.put("broker", shown(broker));
		out.put("read-only broker key", errorOf(alter(broker, "broker.id", "7", AlterConfigOp.OpType.SET)));
		return out;
	}

	static Object deleteRecords() throws Exception {
		TopicPartition tp = new TopicPartition(topic, 0);
		long low = admin.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(15))).lowWatermarks().get(tp).get().lowWatermark();
		return Map.of("low", low, "begin", admin.listOffsets(Map.of(tp, OffsetSpec.earliest())).all().get().get(tp).offset(), "too far", errorOf(() -> admin.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(100000))).all().get()));
	}

	static Object cluster() throws Exception {
		DescribeClusterResult r = admin.describeCluster();
		return Map.of("nodes", r.nodes().get().size(), "controller", r.controller().get().id(), "id length", r.clusterId().get().length(), "log dirs", admin.describeLogDirs(List.of(1)).allDescriptions().get().get(1).size(),
			"elect", errorOf(() -> admin.electLeaders(org.apache.kafka.common.ElectionType.PREFERRED, Set.of(new TopicPartition(topic, 0))).all().get()));
	}

	static Object deleteGroup() throws Exception {
		admin.deleteConsumerGroups(List.of(group)).all().get();
		return Map.of("again", errorOf(() -> admin.deleteConsumerGroups(List.of(group)).all().get()), "offsets", admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().size());
	}

	static Object deleteTopic() throws Exception {
		admin.deleteTopics(List.of(topic)).all().get();
		boolean gone = until(() -> {
			try {
				return !admin.listTopics().names().get().contains(topic);
			} catch (Exception e) {
				return false;
			}
		});
		return Map.of("gone", gone, "again", errorOf(() -> admin.deleteTopics(List.of(topic)).all().get()));
	}

	public static void main(String[] args) {
		bootstrap = args[0];
		prefix = args[1] + "java-" + System.getProperty("client.version") + "-";
		topic = prefix + "topic";
		group = prefix + "group";
		admin = Admin.create(common());
		scenario("create topic", Scenarios::createTopic);
		for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd"))
			scenario("produce and read " + codec, () -> produce(codec));
		scenario("list offsets", Scenarios::listOffsets);
		scenario("seek, offset out of range", Scenarios::seek);
		scenario("consume in a group, commit", Scenarios::consumeGroup);
		scenario("second member joins and leaves, range", () -> rebalance("org.apache.kafka.clients.consumer.RangeAssignor"));
		scenario("second member joins and leaves, cooperative", () -> rebalance("org.apache.kafka.clients.consumer.CooperativeStickyAssignor"));
		scenario("static member", Scenarios::staticMember);
		scenario("commit and resume", Scenarios::resume);
		scenario("list and describe groups", Scenarios::describeGroups);
		scenario("alter and delete committed offsets", Scenarios::alterOffsets);
		scenario("add partitions", Scenarios::addPartitions);
		scenario("alter and describe configs", Scenarios::configs);
		scenario("delete records", Scenarios::deleteRecords);
		scenario("cluster, log dirs, leader election", Scenarios::cluster);
		scenario("delete group", Scenarios::deleteGroup);
		scenario("delete topic", Scenarios::deleteTopic);
		System.exit(0);
	}
}
