// kafkago: the scenarios of the report card with segmentio's kafka-go.
package main

import (
	"context"
	"fmt"
	"os"
	"sort"
	"time"

	"github.com/segmentio/kafka-go"

	"klamm/interop/clients/card"
)

var (
	ctx              = context.Background()
	seed             = os.Args[1]
	prefix           = os.Args[2] + "kafkago-"
	topic, groupName = prefix + "topic", prefix + "group"
	client           = &kafka.Client{Addr: kafka.TCP(seed), Timeout: 60 * time.Second}
)

func create(name string, partitions int, configs ...kafka.ConfigEntry) error {
	r, err := client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{Topic: name, NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: configs}}})
	if err == nil {
		err = r.Errors[name]
	}
	return err
}

func partitions() int {
	r, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil || len(r.Topics) != 1 {
		return -1
	}
	return len(r.Topics[0].Partitions)
}

func write(name string, codec kafka.Compression, balancer kafka.Balancer, messages []kafka.Message) error {
	w := &kafka.Writer{Addr: kafka.TCP(seed), Topic: name, Balancer: balancer, RequiredAcks: kafka.RequireAll, Compression: codec, BatchTimeout: 5 * time.Millisecond}
	defer w.Close()
	return w.WriteMessages(ctx, messages...)
}

func row(m kafka.Message) string {
	headers := ""
	for _, h := range m.Headers {
		headers += fmt.Sprintf("%s=%s", h.Key, h.Value)
	}
	return card.Row(m.Partition, m.Offset, m.Key, m.Value, headers)
}

func produce(codec kafka.Compression, name string) (card.Map, error) {
	name = prefix + name
	if err := create(name, 1); err != nil {
		return nil, err
	}
	var messages []kafka.Message
	for i := 0; i < card.Count; i++ {
		k, v := card.Record(i)
		messages = append(messages, kafka.Message{Key: k, Value: v, Headers: []kafka.Header{{Key: "h", Value: []byte("1")}}})
	}
	if err := write(name, codec, &kafka.RoundRobin{}, messages); err != nil {
		return nil, err
	}
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{seed}, Topic: name, MaxWait: 100 * time.Millisecond})
	defer r.Close()
	var got []string
	for len(got) < card.Count {
		short, cancel := context.WithTimeout(ctx, 90*time.Second)
		m, err := r.ReadMessage(short)
		cancel()
		if err != nil {
			return nil, err
		}
		got = append(got, row(m))
	}
	return card.Map{"read": card.Digest(got)}, nil
}

// listOffsets: ten records, a second apart.
func listOffsets() (card.Map, error) {
	name := prefix + "times"
	if err := create(name, 1); err != nil {
		return nil, err
	}
	var messages []kafka.Message
	for i := range int64(10) {
		messages = append(messages, kafka.Message{Value: []byte(fmt.Sprint(i)), Time: time.UnixMilli(1700000000000 + 1000*i)})
	}
	if err := write(name, 0, &kafka.RoundRobin{}, messages); err != nil {
		return nil, err
	}
	r, err := client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{name: {kafka.FirstOffsetOf(0), kafka.LastOffsetOf(0), kafka.TimeOffsetOf(0, time.UnixMilli(1700000004500))}}})
	if err != nil || len(r.Topics[name]) != 1 {
		return nil, fmt.Errorf("listed: %v", err)
	}
	p := r.Topics[name][0]
	return card.Map{"first": p.FirstOffset, "last": p.LastOffset, "of a time": fmt.Sprint(p.Offsets[5].UnixMilli()), "answer": card.Text(p.Error)}, nil
}

// seek: kafka-go's reader has no policy for offsets that are not there, so they are fetched.
func seek() (card.Map, error) {
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{seed}, Topic: prefix + "times", MaxWait: 100 * time.Millisecond})
	defer r.Close()
	if err := r.SetOffset(7); err != nil {
		return nil, err
	}
	short, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	m, err := r.ReadMessage(short)
	if err != nil {
		return nil, err
	}
	out := card.Map{"inside": m.Offset}
	for _, at := range []int64{7, 10, 1000} {
		f, err := client.Fetch(ctx, &kafka.FetchRequest{Topic: prefix + "times", Offset: at, MinBytes: 1, MaxBytes: 1 << 20, MaxWait: 100 * time.Millisecond})
		if err != nil {
			return nil, err
		}
		out[fmt.Sprint("fetched at ", at)] = fmt.Sprint(f.HighWatermark, " ", f.LogStartOffset, " ", card.Text(f.Error))
	}
	return out, nil
}

func fill(n int) error {
	var messages []kafka.Message
	for i := 0; i < n; i++ {
		messages = append(messages, kafka.Message{Value: []byte(fmt.Sprint(i))})
	}
	return write(topic, 0, &kafka.RoundRobin{}, messages)
}

func reader(group string) *kafka.Reader {
	return kafka.NewReader(kafka.ReaderConfig{Brokers: []string{seed}, GroupID: group, GroupTopics: []string{topic}, MaxWait: 100 * time.Millisecond, StartOffset: kafka.FirstOffset, SessionTimeout: 6 * time.Second,
		HeartbeatInterval: 300 * time.Millisecond, JoinGroupBackoff: 100 * time.Millisecond, WatchPartitionChanges: false})
}

// read fetches and commits count records.
func read(r *kafka.Reader, count int) ([]string, error) {
	var got []string
	for len(got) < count {
		short, cancel := context.WithTimeout(ctx, 90*time.Second)
		m, err := r.FetchMessage(short)
		if err == nil {
			err = r.CommitMessages(short, m)
		}
		cancel()
		if err != nil {
			return got, err
		}
		got = append(got, row(m))
	}
	return got, nil
}

func committed() (string, error) {
	r, err := client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: groupName, Topics: map[string][]int{topic: {0, 1}}})
	if err != nil {
		return "", err
	}
	n := int64(0)
	for _, p := range r.Topics[topic] {
		n += p.CommittedOffset
	}
	return fmt.Sprint("sum ", n), r.Error
}

func consumeGroup() (card.Map, error) {
	if err := fill(100); err != nil {
		return nil, err
	}
	r := reader(groupName)
	got, err := read(r, 100)
	r.Close()
	if err != nil {
		return nil, err
	}
	at, err := committed()
	return card.Map{"count": len(got), "committed": at}, err
}

func described(group string) (kafka.DescribeGroupsResponseGroup, error) {
	r, err := client.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{group}})
	if err != nil || len(r.Groups) != 1 {
		return kafka.DescribeGroupsResponseGroup{}, fmt.Errorf("described: %v", err)
	}
	return r.Groups[0], r.Groups[0].Error
}

func shares(group string, want ...int) bool {
	return card.Until(func() bool {
		d, err := described(group)
		if err != nil || d.GroupState != "Stable" {
			return false
		}
		var have []int
		for _, m := range d.Members {
			n := 0
			for _, t := range m.MemberAssignments.Topics {
				n += len(t.Partitions)
			}
			have = append(have, n)
		}
		return fmt.Sprint(have) == fmt.Sprint(want)
	})
}

func rebalance() (card.Map, error) {
	group := groupName + "two"
	a := reader(group)
	defer a.Close()
	out := card.Map{"alone": shares(group, 2)}
	b := reader(group)
	out["two"] = shares(group, 1, 1)
	b.Close()
	out["left"] = shares(group, 2)
	return out, nil
}

func resume() (card.Map, error) {
	if err := fill(20); err != nil {
		return nil, err
	}
	var all []string
	for range 2 {
		r := reader(groupName)
		got, err := read(r, 10)
		r.Close()
		if err != nil {
			return nil, err
		}
		all = append(all, got...)
	}
	sort.Strings(all)
	for i := 1; i < len(all); i++ {
		if all[i] == all[i-1] {
			return nil, fmt.Errorf("read twice: %s", all[i])
		}
	}
	return card.Map{"records": len(all)}, nil
}

func describeGroups() (card.Map, error) {
	group := groupName + "-seen"
	r := reader(group)
	defer r.Close()
	shares(group, 2)
	d, err := described(group)
	if err != nil {
		return nil, err
	}
	listed, err := client.ListGroups(ctx, &kafka.ListGroupsRequest{})
	if err != nil {
		return nil, err
	}
	n := 0
	for _, g := range listed.Groups {
		if g.GroupID == group || g.GroupID == groupName {
			n++
		}
	}
	return card.Map{"state": d.GroupState, "members": len(d.Members), "host": d.Members[0].ClientHost, "listed": n}, nil
}

func shown() string {
	r, err := client.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{IncludeSynonyms: true, Resources: []kafka.DescribeConfigRequestResource{{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic,
		ConfigNames: []string{"retention.ms", "cleanup.policy"}}}})
	if err != nil || len(r.Resources) != 1 {
		return card.Text(err)
	}
	var out []string
	for _, e := range r.Resources[0].ConfigEntries {
		out = append(out, fmt.Sprint(e.ConfigName, "=", e.ConfigValue, " ", e.ConfigSource, " ", e.ReadOnly, " ", e.IsSensitive, " ", len(e.ConfigSynonyms)))
	}
	sort.Strings(out)
	return fmt.Sprint(out)
}

func configs() (card.Map, error) {
	alter := func(value string) string {
		r, err := client.IncrementalAlterConfigs(ctx, &kafka.IncrementalAlterConfigsRequest{Resources: []kafka.IncrementalAlterConfigsRequestResource{{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic,
			Configs: []kafka.IncrementalAlterConfigsRequestConfig{{Name: "retention.ms", Value: value, ConfigOperation: kafka.ConfigOperationSet}}}}})
		if err == nil && len(r.Resources) == 1 {
			err = r.Resources[0].Error
		}
		return card.Text(err)
	}
	before := shown()
	done := alter("55555555")
	card.Until(func() bool { return shown() != before })
	return card.Map{"before": before, "done": done, "after": shown(), "bad value": alter("abc") != "done"}, nil
}

func alterOffsets() (card.Map, error) {
	at := func() (out []int64, err error) {
		r, err := client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: groupName, Topics: map[string][]int{topic: {1}}})
		if err == nil {
			for _, p := range r.Topics[topic] {
				out = append(out, p.CommittedOffset)
			}
		}
		return
	}
	r, err := client.OffsetCommit(ctx, &kafka.OffsetCommitRequest{GroupID: groupName, GenerationID: -1, Topics: map[string][]kafka.OffsetCommit{topic: {{Partition: 1, Offset: 7, Metadata: "by hand"}}}})
	if err != nil {
		return nil, err
	}
	after, err := at()
	if err != nil {
		return nil, err
	}
	deleted, err := client.OffsetDelete(ctx, &kafka.OffsetDeleteRequest{GroupID: groupName, Topics: map[string][]int{topic: {1}}})
	if err != nil {
		return nil, err
	}
	last, err := at()
	return card.Map{"altered": card.Text(r.Topics[topic][0].Error), "after": after, "deleted": fmt.Sprint(card.Text(deleted.Error), " ", deleted.Topics[topic]), "last": last}, err
}

func election() (card.Map, error) {
	r, err := client.ElectLeaders(ctx, &kafka.ElectLeadersRequest{Topic: topic, Partitions: []int{0}, Timeout: 30 * time.Second})
	if err != nil {
		return nil, err
	}
	out := card.Map{"answer": card.Text(r.Error)}
	for _, p := range r.PartitionResults {
		out[fmt.Sprint(p.Partition)] = card.Text(p.Error)
	}
	return out, nil
}

func main() {
	card.Scenario("create topic", func() (card.Map, error) {
		if err := create(topic, 2, kafka.ConfigEntry{ConfigName: "retention.ms", ConfigValue: "123456789"}); err != nil {
			return nil, err
		}
		return card.Map{"again": card.Text(create(topic, 2)), "partitions": card.Until(func() bool { return partitions() == 2 })}, nil
	})
	for _, codec := range []struct {
		name  string
		codec kafka.Compression
	}{{"none", 0}, {"gzip", kafka.Gzip}, {"snappy", kafka.Snappy}, {"lz4", kafka.Lz4}, {"zstd", kafka.Zstd}} {
		card.Scenario("produce and read "+codec.name, func() (card.Map, error) { return produce(codec.codec, codec.name) })
	}
	card.Scenario("list offsets", listOffsets)
	card.Scenario("seek, offset out of range", seek)
	card.Scenario("consume in a group, commit", consumeGroup)
	card.Scenario("second member joins and leaves", rebalance)
	card.Scenario("commit and resume", resume)
	card.Scenario("list and describe groups", describeGroups)
	card.Scenario("alter and delete committed offsets", alterOffsets)
	card.Scenario("add partitions", func() (card.Map, error) {
		grow := func(n int32) string {
			r, err := client.CreatePartitions(ctx, &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: topic, Count: n}}})
			if err == nil {
				err = r.Errors[topic]
			}
			return card.Text(err)
		}
		return card.Map{"done": grow(4), "fewer": grow(3) != "done", "listed": card.Until(func() bool { return partitions() == 4 })}, nil
	})
	card.Scenario("alter and describe configs", configs)
	card.Scenario("leader election", election)
	card.Scenario("delete group", func() (card.Map, error) {
		r, err := client.DeleteGroups(ctx, &kafka.DeleteGroupsRequest{GroupIDs: []string{groupName}})
		if err != nil {
			return nil, err
		}
		at, err := committed()
		return card.Map{"deleted": card.Text(r.Errors[groupName]), "offsets": at}, err
	})
	card.Scenario("delete topic", func() (card.Map, error) {
		r, err := client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}})
		if err != nil {
			return nil, err
		}
		return card.Map{"deleted": card.Text(r.Errors[topic]), "gone": card.Until(func() bool { return partitions() <= 0 })}, nil
	})
}
