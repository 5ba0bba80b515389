// Node kafkajs: the scenarios of the report card (see tests/interop/card.py).
"use strict";
const crypto = require("crypto");
const { Kafka, CompressionTypes, ConfigResourceTypes, logLevel } = require("kafkajs");

const [bootstrap, prefix] = process.argv.slice(2);
const COUNT = 200, topic = prefix + "js-topic", group = prefix + "js-group";
const kafka = new Kafka({ clientId: "watched", brokers: [bootstrap], logLevel: logLevel.NOTHING });
const admin = kafka.admin();
const digest = (rows) => crypto.createHash("sha256").update(JSON.stringify(rows)).digest("hex").slice(0, 16);
let missed = 0;
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

async function scenario(name, fn) {
	let outcome;
	missed = 0;
	try {
		outcome = await fn();
	} catch (e) {
		console.error(e);
		outcome = { error: e.type || e.name };
	}
	console.log(JSON.stringify({ scenario: name, outcome, missed }).replace('{"scenario":', '{"scenario": '));
}

async function until(condition, seconds = 90) {
	for (const end = Date.now() + seconds * 1000; Date.now() < end; await sleep(20)) {
		const value = await condition();
		if (value)
			return value;
	}
	missed++;
	return false;
}

async function errorOf(fn) {
	try {
		return (await fn()) === false ? "false" : "done";
	} catch (e) {
		return e.type || (e.errors && e.errors[0].type) || e.name;
	}
}

async function reading(name, groupId, enough) {
	const got = [], consumer = kafka.consumer({ groupId, sessionTimeout: 6000, heartbeatInterval: 300, maxWaitTimeInMs: 200 });
	await consumer.connect();
	await consumer.subscribe({ topics: [name], fromBeginning: true });
	await consumer.run({
		autoCommit: false,
		eachMessage: async ({ partition, message: m }) => {
			got.push([partition, m.offset, m.key && m.key.toString(), m.value && m.value.toString(), m.headers.h && m.headers.h.toString()]);
		},
	});
	await until(() => got.length >= enough);
	return [consumer, got.sort((a, b) => a[0] - b[0] || a[1] - b[1])];
}

async function produce(name, count, more = {}, partition = () => 0) {
	const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
	await producer.connect();
	const messages = [];
	for (let i = 0; i < count; i++)
		messages.push({ key: "key" + (i % 17), value: i % 10 === 3 ? null : `value ${i}` + "x".repeat(i % 60), headers: { h: "1" }, partition: partition(i) });
	await producer.send({ topic: name, acks: -1, messages, ...more });
	await producer.disconnect();
}

async function codec(name, compression) {
	await admin.createTopics({ topics: [{ topic: prefix + "js-" + name, numPartitions: 1 }] });
	await produce(prefix + "js-" + name, COUNT, { compression });
	const [consumer, got] = await reading(prefix + "js-" + name, group + name, COUNT);
	await consumer.disconnect();
	return { count: got.length, read: digest(got) };
}

async function listOffsets() {
	const name = prefix + "js-times", producer = kafka.producer();
	await admin.createTopics({ topics: [{ topic: name, numPartitions: 1 }] });
	await producer.connect();
	for (let i = 0; i < 10; i++)
		await producer.send({ topic: name, acks: -1, messages: [{ value: String(i), timestamp: String(1700000000000 + 1000 * i) }] });
	await producer.disconnect();
	return {
		ends: await admin.fetchTopicOffsets(name),
		inTime: await admin.fetchTopicOffsetsByTimestamp(name, 1700000004500),
		tooLate: await admin.fetchTopicOffsetsByTimestamp(name, 1800000000000),
	};
}

// The first record after a seek; offsets that are not there lead to where the group begins.
async function seek() {
	const name = prefix + "js-times", got = [], consumer = kafka.consumer({ groupId: group + "seek", sessionTimeout: 6000, heartbeatInterval: 300, maxWaitTimeInMs: 200 });
	await consumer.connect();
	await consumer.subscribe({ topics: [name], fromBeginning: true });
	await consumer.run({ autoCommit: false, eachMessage: async ({ message }) => got.push(Number(message.offset)) });
	await until(() => got.length >= 10);
	const first = async (offset) => {
		got.length = 0;
		consumer.seek({ topic: name, partition: 0, offset: String(offset) });
		await until(() => got.includes(9)); // what had been fetched before the seek is dropped
		return got[0];
	};
	const out = { inside: await first(7), beyond: await first(1000) };
	await admin.deleteTopicRecords({ topic: name, partitions: [{ partition: 0, offset: "4" }] });
	out.deleted = await first(1);
	await consumer.disconnect();
	return out;
}

async function alterOffsets() {
	const at = async () => (await admin.fetchOffsets({ groupId: group, topics: [topic] }))[0].partitions.filter((p) => p.partition === 1);
	await admin.setOffsets({ groupId: group, topic, partitions: [{ partition: 1, offset: "7" }] });
	const set = await at();
	await admin.resetOffsets({ groupId: group, topic, earliest: true });
	return { set, reset: await at() };
}

async function consumeGroup() {
	await produce(topic, 100, {}, (i) => i % 2);
	const [consumer, got] = await reading(topic, group, 100);
	await consumer.commitOffsets([0, 1].map((partition) => ({ topic, partition, offset: "50" })));
	await consumer.disconnect();
	return { read: digest(got), committed: await admin.fetchOffsets({ groupId: group, topics: [topic] }) };
}

async function rebalance() {
	const shares = {};
	async function member(n) {
		const consumer = kafka.consumer({ groupId: group + "two", sessionTimeout: 6000, heartbeatInterval: 300, maxWaitTimeInMs: 200 });
		consumer.on(consumer.events.GROUP_JOIN, (e) => (shares[n] = (e.payload.memberAssignment[topic] || []).length));
		await consumer.connect();
		await consumer.subscribe({ topics: [topic] });
		await consumer.run({ eachMessage: async () => {} });
		return consumer;
	}
	const a = await member("a");
	const out = { alone: await until(() => shares.a === 2) };
	const b = await member("b");
	out.two = await until(() => shares.a === 1 && shares.b === 1);
	await b.disconnect();
	out.left = await until(() => shares.a === 2);
	await a.disconnect();
	return out;
}

async function resume() {
	await produce(topic, 20, {}, (i) => i % 2);
	const [consumer, got] = await reading(topic, group, 20);
	await consumer.disconnect();
	return { records: got.length, first: got[0] && got[0].slice(0, 2) };
}

async function describeGroups() {
	const [consumer] = await reading(topic, group + "seen", 1);
	const state = async () => (await admin.describeGroups([group + "seen"])).groups[0];
	await until(async () => (await state()).state === "Stable");
	const d = await state();
	const listed = (await admin.listGroups()).groups.filter((g) => g.groupId.startsWith(group)).sort((a, b) => (a.groupId < b.groupId ? -1 : 1));
	await consumer.disconnect();
	return { state: d.state, protocol: [d.protocolType, d.protocol], members: d.members.map((m) => [m.clientId, m.clientHost, digest(m.memberAssignment)]), listed };
}

async function configs() {
	const shown = async () => {
		const r = await admin.describeConfigs({ includeSynonyms: true, resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configNames: ["retention.ms", "cleanup.policy"] }] });
		return r.resources[0].configEntries;
	};
	const alter = (value) => admin.alterConfigs({ validateOnly: false, resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries: [{ name: "retention.ms", value }] }] });
	const before = await shown();
	await alter("55555555");
	await until(async () => JSON.stringify(await shown()).includes("55555555"));
	return { before, after: await shown(), bad: await errorOf(() => alter("abc")) };
}

async function main() {
	await admin.connect();
	const ends = async () => (await admin.fetchTopicOffsets(topic)).sort((a, b) => a.partition - b.partition);
	await scenario("create topic", async () => ({
		made: await admin.createTopics({ topics: [{ topic, numPartitions: 2, configEntries: [{ name: "retention.ms", value: "123456789" }] }] }),
		again: await errorOf(() => admin.createTopics({ topics: [{ topic, numPartitions: 2 }] })),
		partitions: (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length,
	}));
	await scenario("produce and read none", () => codec("none", CompressionTypes.None));
	await scenario("produce and read gzip", () => codec("gzip", CompressionTypes.GZIP));
	await scenario("list offsets", listOffsets);
	await scenario("seek, offset out of range", seek);
	await scenario("consume in a group, commit", consumeGroup);
	await scenario("second member joins and leaves", rebalance);
	await scenario("commit and resume", resume);
	await scenario("list and describe groups", describeGroups);
	await scenario("alter and reset committed offsets", alterOffsets);
	await scenario("add partitions", async () => {
		const made = await admin.createPartitions({ topicPartitions: [{ topic, count: 4 }] });
		const four = await until(async () => (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length === 4);
		return { made, four, fewer: await errorOf(() => admin.createPartitions({ topicPartitions: [{ topic, count: 3 }] })) };
	});
	await scenario("alter and describe configs", configs);
	await scenario("delete records", async () => {
		await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: "15" }] });
		return { ends: await ends() };
	});
	await scenario("cluster", async () => {
		const d = await admin.describeCluster();
		return { brokers: d.brokers.length, controller: d.controller };
	});
	await scenario("delete group", async () => ({ deleted: await admin.deleteGroups([group]), after: await admin.fetchOffsets({ groupId: group, topics: [topic] }) }));
	await scenario("delete topic", async () => {
		await admin.deleteTopics({ topics: [topic] });
		return { gone: await until(async () => !(await admin.listTopics()).includes(topic)) };
	});
	await admin.disconnect();
	process.exit(0);
}

main();
