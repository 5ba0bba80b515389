// franz: the scenarios of the report card with franz-go and its kadm.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sort"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"klamm/interop/clients/card"
)

var (
	ctx              = context.Background()
	seeds            = os.Args[1]
	prefix           = os.Args[2] + "franz-"
	topic, groupName = prefix + "topic", prefix + "group"
	admin            *kadm.Client
)

func client(opts ...kgo.Opt) *kgo.Client {
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(seeds), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MetadataMinAge(50 * time.Millisecond)}, opts...)...)
	if err != nil {
		panic(err)
	}
	return c
}

func inGroup(group string, opts ...kgo.Opt) *kgo.Client {
	return client(append([]kgo.Opt{kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(),
		kgo.SessionTimeout(6 * time.Second), kgo.HeartbeatInterval(300 * time.Millisecond)}, opts...)...)
}

func read(c *kgo.Client, count int) []*kgo.Record {
	var got []*kgo.Record
	card.Until(func() bool {
		short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		defer cancel()
		got = append(got, c.PollFetches(short).Records()...)
		return len(got) >= count
	})
	return got
}

func rows(got []*kgo.Record) []string {
	var out []string
	for _, r := range got {
		out = append(out, card.Row(int(r.Partition), r.Offset, r.Key, r.Value, fmt.Sprint(r.Headers)))
	}
	sort.Strings(out)
	return out
}

func createTopic() (card.Map, error) {
	value := "123456789"
	made, err := admin.CreateTopic(ctx, 2, 1, map[string]*string{"retention.ms": &value}, topic)
	if err != nil {
		return nil, err
	}
	_, again := admin.CreateTopic(ctx, 2, 1, nil, topic)
	details, err := admin.ListTopics(ctx, topic)
	return card.Map{"partitions": made.NumPartitions, "configs": len(made.Configs), "listed": len(details[topic].Partitions), "again": card.Text(again)}, err
}

func produce(codec kgo.CompressionCodec, name string) (card.Map, error) {
	name = prefix + name
	if _, err := admin.CreateTopic(ctx, 1, 1, nil, name); err != nil {
		return nil, err
	}
	p := client(kgo.ProducerBatchCompression(codec), kgo.ProducerLinger(5*time.Millisecond))
	defer p.Close()
	var records []*kgo.Record
	for i := 0; i < card.Count; i++ {
		k, v := card.Record(i)
		records = append(records, &kgo.Record{Topic: name, Key: k, Value: v, Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("1")}}})
	}
	if err := p.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return nil, err
	}
	c := client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{name: {0: kgo.NewOffset().AtStart()}}))
	defer c.Close()
	got := read(c, card.Count)
	return card.Map{"count": len(got), "read": card.Digest(rows(got))}, nil
}

// listOffsets: ten records, a second apart.
func listOffsets() (card.Map, error) {
	name := prefix + "times"
	if _, err := admin.CreateTopic(ctx, 1, 1, nil, name); err != nil {
		return nil, err
	}
	p := client()
	defer p.Close()
	for i := range int64(10) {
		r := &kgo.Record{Topic: name, Value: []byte(fmt.Sprint(i)), Timestamp: time.UnixMilli(1700000000000 + 1000*i)}
		if err := p.ProduceSync(ctx, r).FirstErr(); err != nil {
			return nil, err
		}
	}
	out := card.Map{}
	add := func(what string, r kadm.ListedOffsets, err error) {
		o, _ := r.Lookup(name, 0)
		out[what] = fmt.Sprint(o.Offset, " ", o.Timestamp, " ", o.LeaderEpoch, " ", card.Text(o.Err), " ", card.Text(err))
	}
	r, err := admin.ListStartOffsets(ctx, name)
	add("start", r, err)
	r, err = admin.ListEndOffsets(ctx, name)
	add("end", r, err)
	r, err = admin.ListCommittedOffsets(ctx, name)
	add("stable", r, err)
	r, err = admin.ListMaxTimestampOffsets(ctx, name)
	add("max timestamp", r, err)
	r, err = admin.ListOffsetsAfterMilli(ctx, 1700000004500, name)
	add("of a time", r, err)
	r, err = admin.ListOffsetsAfterMilli(ctx, 1800000000000, name)
	add("too late", r, err)
	return out, nil
}

// first is the offset of the record that a consumer that begins at an offset sees first.
func first(offset int64, reset kgo.Offset) string {
	c := client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{prefix + "times": {0: kgo.NewOffset().At(offset)}}), kgo.ConsumeResetOffset(reset))
	defer c.Close()
	out := ""
	card.Until(func() bool {
		short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		defer cancel()
		f := c.PollFetches(short)
		for _, e := range f.Errors() {
			if short.Err() == nil {
				out = card.Text(e.Err)
			}
		}
		if r := f.Records(); len(r) > 0 {
			out = fmt.Sprint(r[0].Offset)
		}
		return out != ""
	})
	return out
}

func seek() (card.Map, error) {
	out := card.Map{"inside": first(7, kgo.NoResetOffset()), "beyond, start": first(1000, kgo.NewOffset().AtStart()), "beyond, two before the end": first(1000, kgo.NewOffset().AtEnd().Relative(-2)),
		"beyond, none": first(1000, kgo.NoResetOffset())}
	var where kadm.Offsets
	where.Add(kadm.Offset{Topic: prefix + "times", At: 4})
	if _, err := admin.DeleteRecords(ctx, where); err != nil {
		return nil, err
	}
	out["deleted, start"], out["deleted, none"] = first(1, kgo.NewOffset().AtStart()), first(1, kgo.NoResetOffset())
	return out, nil
}

func fill(n int) error {
	p := client()
	defer p.Close()
	for i := 0; i < n; i++ {
		if err := p.ProduceSync(ctx, &kgo.Record{Topic: topic, Partition: int32(i % 2), Value: []byte(fmt.Sprint(i))}).FirstErr(); err != nil {
			return err
		}
	}
	return nil
}

func committed() (string, error) {
	offsets, err := admin.FetchOffsets(ctx, groupName)
	var out []string
	offsets.Each(func(o kadm.OffsetResponse) { out = append(out, fmt.Sprintf("%d=%d", o.Partition, o.At)) })
	sort.Strings(out)
	return fmt.Sprint(out), err
}

func consumeGroup() (card.Map, error) {
	if err := fill(100); err != nil {
		return nil, err
	}
	c := inGroup(groupName)
	defer c.Close()
	got := read(c, 100)
	if err := c.CommitUncommittedOffsets(ctx); err != nil {
		return nil, err
	}
	at, err := committed()
	return card.Map{"read": card.Digest(rows(got)), "committed": at}, err
}

func rebalance(balancer kgo.GroupBalancer) (card.Map, error) {
	group := groupName + balancer.ProtocolName()
	shares := func(want ...int) bool {
		return card.Until(func() bool {
			d, err := admin.DescribeGroups(ctx, group)
			if err != nil || d[group].State != "Stable" || len(d[group].Members) != len(want) {
				return false
			}
			var have []int
			for _, m := range d[group].Members {
				n := 0
				if a, ok := m.Assigned.AsConsumer(); ok {
					for _, t := range a.Topics {
						n += len(t.Partitions)
					}
				}
				have = append(have, n)
			}
			return fmt.Sprint(have) == fmt.Sprint(want)
		})
	}
	keep := func(c *kgo.Client) {
		for !c.PollFetches(ctx).IsClientClosed() {
		}
	}
	a := inGroup(group, kgo.Balancers(balancer))
	defer a.Close()
	go keep(a)
	out := card.Map{"alone": shares(2)}
	b := inGroup(group, kgo.Balancers(balancer))
	go keep(b)
	out["two"] = shares(1, 1)
	b.Close()
	out["left"] = shares(2)
	return out, nil
}

// staticMember comes back under its instance id and gets its share again; the group does not notice that it was away.
func staticMember() (card.Map, error) {
	group, out := groupName+"static", card.Map{}
	for _, turn := range []string{"first", "second"} {
		c := inGroup(group, kgo.InstanceID("one"))
		out[turn] = card.Digest(rows(read(c, 1))) != ""
		c.Close()
	}
	d, err := admin.DescribeGroups(ctx, group)
	if err != nil {
		return nil, err
	}
	out["state"], out["members"] = d[group].State, len(d[group].Members)
	gone, err := admin.LeaveGroup(ctx, kadm.LeaveGroup(group).InstanceIDs("one"))
	if err != nil {
		return nil, err
	}
	out["removed"] = card.Text(gone.Error())
	d, err = admin.DescribeGroups(ctx, group)
	out["left"] = d[group].State
	return out, err
}

func resume() (card.Map, error) {
	if err := fill(20); err != nil {
		return nil, err
	}
	first := inGroup(groupName)
	var got []*kgo.Record
	for len(got) < 10 {
		got = append(got, first.PollRecords(ctx, 5).Records()...)
	}
	if err := first.CommitRecords(ctx, got...); err != nil {
		return nil, err
	}
	first.Close()
	second := inGroup(groupName)
	defer second.Close()
	got = append(got, read(second, 20-len(got))...)
	return card.Map{"records": len(got), "read": card.Digest(rows(got))}, nil
}

func describeGroups() (card.Map, error) {
	group := groupName + "-seen"
	c := inGroup(group, kgo.ClientID("watched"))
	defer c.Close()
	read(c, 1)
	d, err := admin.DescribeGroups(ctx, group)
	if err != nil || len(d[group].Members) == 0 {
		return nil, fmt.Errorf("described: %v, %d members", err, len(d[group].Members))
	}
	listed, err := admin.ListGroups(ctx)
	m := d[group].Members[0]
	lag, lagErr := admin.Lag(ctx, groupName)
	return card.Map{"state": d[group].State, "protocol": d[group].ProtocolType + " " + d[group].Protocol, "client": m.ClientID, "host": m.ClientHost, "listed": listed[group].State + " " + listed[groupName].State,
		"lag": lag[groupName].Lag.Total(), "lag error": card.Text(lagErr)}, err
}

func addPartitions() (card.Map, error) {
	four, err := admin.UpdatePartitions(ctx, 4, topic)
	if err != nil {
		return nil, err
	}
	fewer, err := admin.UpdatePartitions(ctx, 3, topic)
	return card.Map{"four": card.Text(four[topic].Err), "fewer": card.Text(fewer[topic].Err), "listed": card.Until(func() bool {
		d, err := admin.ListTopics(ctx, topic)
		return err == nil && len(d[topic].Partitions) == 4
	})}, err
}

func shown() string {
	r, err := admin.DescribeTopicConfigs(ctx, topic)
	if err != nil || len(r) != 1 {
		return card.Text(err)
	}
	var out []string
	for _, c := range r[0].Configs {
		if c.Key == "retention.ms" || c.Key == "cleanup.policy" || c.Key == "max.message.bytes" {
			out = append(out, fmt.Sprint(c.Key, "=", c.MaybeValue(), " ", c.Source, " ", len(c.Synonyms)))
		}
	}
	sort.Strings(out)
	return fmt.Sprint(out)
}

func configs() (card.Map, error) {
	alter := func(value string) string {
		r, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &value}}, topic)
		if err == nil && len(r) == 1 {
			err = r[0].Err
		}
		return card.Text(err)
	}
	before := shown()
	done := alter("55555555")
	card.Until(func() bool { return shown() != before })
	return card.Map{"before": before, "done": done, "after": shown(), "bad value": alter("abc")}, nil
}

func deleteRecords() (card.Map, error) {
	var where kadm.Offsets
	where.Add(kadm.Offset{Topic: topic, Partition: 0, At: 15})
	r, err := admin.DeleteRecords(ctx, where)
	if err != nil {
		return nil, err
	}
	begin, err := admin.ListStartOffsets(ctx, topic)
	return card.Map{"low": r[topic][0].LowWatermark, "begin": begin[topic][0].Offset}, err
}

func alterOffsets() (card.Map, error) {
	var where kadm.Offsets
	where.Add(kadm.Offset{Topic: topic, Partition: 1, At: 7, LeaderEpoch: -1, Metadata: "by hand"})
	r, err := admin.CommitOffsets(ctx, groupName, where)
	if err != nil {
		return nil, err
	}
	after, err := committed()
	var gone kadm.TopicsSet
	gone.Add(topic, 1)
	deleted, err2 := admin.DeleteOffsets(ctx, groupName, gone)
	last, err3 := committed()
	return card.Map{"altered": card.Text(r.Error()), "after": after, "deleted": card.Text(deleted.Error()), "last": last}, errors.Join(err, err2, err3)
}

func cluster() (card.Map, error) {
	brokers, err := admin.ListBrokers(ctx)
	if err != nil {
		return nil, err
	}
	var where kadm.TopicsSet
	where.Add(topic, 0)
	dirs, err := admin.DescribeAllLogDirs(ctx, where)
	elected, err2 := admin.ElectLeaders(ctx, kadm.ElectPreferredReplica, where)
	producers, err3 := admin.DescribeProducers(ctx, where)
	var epoch kadm.OffsetForLeaderEpochRequest
	epoch.Add(topic, 0, 0)
	ends, err4 := admin.OffsetForLeaderEpoch(ctx, epoch)
	n := 0
	dirs[1].Each(func(d kadm.DescribedLogDir) { d.Topics.Each(func(kadm.DescribedLogDirPartition) { n++ }) })
	return card.Map{"brokers": brokers.NodeIDs(), "logs": n, "elected": card.Text(elected[topic][0].Err), "producers": card.Text(producers[topic].Partitions[0].Err), "leader": ends[topic][0].NodeID,
		"epoch": ends[topic][0].LeaderEpoch, "answer": card.Text(ends[topic][0].Err)}, errors.Join(err, err2, err3, err4)
}

func main() {
	c := client()
	admin = kadm.NewClient(c)
	card.Scenario("create topic", createTopic)
	for _, codec := range []struct {
		name  string
		codec kgo.CompressionCodec
	}{{"none", kgo.NoCompression()}, {"gzip", kgo.GzipCompression()}, {"snappy", kgo.SnappyCompression()}, {"lz4", kgo.Lz4Compression()}, {"zstd", kgo.ZstdCompression()}} {
		card.Scenario("produce and read "+codec.name, func() (card.Map, error) { return produce(codec.codec, codec.name) })
	}
	card.Scenario("list offsets", listOffsets)
	card.Scenario("seek, offset out of range", seek)
	card.Scenario("consume in a group, commit", consumeGroup)
	card.Scenario("second member joins and leaves, range", func() (card.Map, error) { return rebalance(kgo.RangeBalancer()) })
	card.Scenario("second member joins and leaves, cooperative", func() (card.Map, error) { return rebalance(kgo.CooperativeStickyBalancer()) })
	card.Scenario("static member", staticMember)
	card.Scenario("commit and resume", resume)
	card.Scenario("list and describe groups, lag", describeGroups)
	card.Scenario("alter and delete committed offsets", alterOffsets)
	card.Scenario("add partitions", addPartitions)
	card.Scenario("alter and describe configs", configs)
	card.Scenario("delete records", deleteRecords)
	card.Scenario("cluster, log dirs, leader election, producers", cluster)
	card.Scenario("delete group", func() (card.Map, error) {
		r, err := admin.DeleteGroups(ctx, groupName)
		if err != nil {
			return nil, err
		}
		at, err := committed()
		return card.Map{"deleted": card.Text(r[groupName].Err), "offsets": at}, err
	})
	card.Scenario("delete topic", func() (card.Map, error) {
		r, err := admin.DeleteTopics(ctx, topic)
		return card.Map{"deleted": card.Text(r[topic].Err), "gone": card.Until(func() bool {
			d, err := admin.ListTopics(ctx)
			return err == nil && !d.Has(topic)
		})}, err
	})
	c.Close()
}
