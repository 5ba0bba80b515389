// sarama: the scenarios of the report card with IBM's Sarama.
package main

import (
	"context"
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"klamm/interop/clients/card"
)

var (
	seeds            = []string{os.Args[1]}
	prefix           = os.Args[2] + "sarama-"
	topic, groupName = prefix + "topic", prefix + "group"
	admin            sarama.ClusterAdmin
)

func config() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.V3_9_0_0
	c.ClientID = "watched"
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Return.Successes = true
	c.Producer.Partitioner = sarama.NewManualPartitioner
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Enable = false
	c.Consumer.Group.Session.Timeout = 6 * time.Second
	c.Consumer.Group.Heartbeat.Interval = 300 * time.Millisecond
	return c
}

func row(m *sarama.ConsumerMessage) string {
	headers := ""
	for _, h := range m.Headers {
		headers += fmt.Sprintf("%s=%s", h.Key, h.Value)
	}
	return card.Row(int(m.Partition), m.Offset, m.Key, m.Value, headers)
}

func partitions() int {
	d, err := admin.DescribeTopics([]string{topic})
	if err != nil || len(d) != 1 {
		return -1
	}
	return len(d[0].Partitions)
}

func createTopic() (card.Map, error) {
	value := "123456789"
	if err := admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: 2, ReplicationFactor: 1, ConfigEntries: map[string]*string{"retention.ms": &value}}, false); err != nil {
		return nil, err
	}
	again := admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: 2, ReplicationFactor: 1}, false)
	return card.Map{"partitions": partitions(), "again": card.Text(again)}, nil
}

func produce(codec sarama.CompressionCodec, name string) (card.Map, error) {
	name = prefix + name
	if err := admin.CreateTopic(name, &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, false); err != nil {
		return nil, err
	}
	c := config()
	c.Producer.Compression = codec
	c.Producer.Idempotent = true
	c.Net.MaxOpenRequests = 1
	p, err := sarama.NewSyncProducer(seeds, c)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	var messages []*sarama.ProducerMessage
	for i := 0; i < card.Count; i++ {
		k, v := card.Record(i)
		m := &sarama.ProducerMessage{Topic: name, Key: sarama.ByteEncoder(k), Headers: []sarama.RecordHeader{{Key: []byte("h"), Value: []byte("1")}}}
		if v != nil {
			m.Value = sarama.ByteEncoder(v)
		}
		messages = append(messages, m)
	}
	if err := p.SendMessages(messages); err != nil {
		return nil, err
	}
	consumer, err := sarama.NewConsumer(seeds, config())
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	pc, err := consumer.ConsumePartition(name, 0, sarama.OffsetOldest)
	if err != nil {
		return nil, err
	}
	defer pc.Close()
	var got []string
	for end := time.After(90 * time.Second); len(got) < card.Count; {
		select {
		case m := <-pc.Messages():
			got = append(got, row(m))
		case <-end:
			return nil, fmt.Errorf("%d records within 90 s", len(got))
		}
	}
	return card.Map{"read": card.Digest(got)}, nil
}

// listOffsets: ten records, a second apart.
func listOffsets() (card.Map, error) {
	name := prefix + "times"
	if err := admin.CreateTopic(name, &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, false); err != nil {
		return nil, err
	}
	p, err := sarama.NewSyncProducer(seeds, config())
	if err != nil {
		return nil, err
	}
	defer p.Close()
	for i := range int64(10) {
		if _, _, err := p.SendMessage(&sarama.ProducerMessage{Topic: name, Value: sarama.StringEncoder(fmt.Sprint(i)), Timestamp: time.UnixMilli(1700000000000 + 1000*i)}); err != nil {
			return nil, err
		}
	}
	out := card.Map{}
	for _, at := range []int64{sarama.OffsetOldest, sarama.OffsetNewest, 1700000004500, 1800000000000} {
		r, err := admin.ListOffsets(map[string]map[int32]int64{name: {0: at}}, nil)
		if err != nil {
			return nil, err
		}
		o := r[name][0]
		out[fmt.Sprint(at)] = fmt.Sprint(o.Offset, " ", o.Timestamp, " ", o.LeaderEpoch, " ", card.Text(o.Err))
	}
	return out, nil
}

// first is the offset of the record that a consumer that begins at an offset sees first; Sarama has no policy for others.
func first(offset int64) string {
	consumer, err := sarama.NewConsumer(seeds, config())
	if err != nil {
		return card.Text(err)
	}
	defer consumer.Close()
	pc, err := consumer.ConsumePartition(prefix+"times", 0, offset)
	if err != nil {
		return card.Text(err)
	}
	defer pc.Close()
	select {
	case m := <-pc.Messages():
		return fmt.Sprint(m.Offset)
	case <-time.After(90 * time.Second):
		return "timed out"
	}
}

func seek() (card.Map, error) {
	out := card.Map{"inside": first(7), "beyond": first(1000)}
	err := admin.DeleteRecords(prefix+"times", map[int32]int64{0: 4})
	out["deleted"], out["begin"] = first(1), first(sarama.OffsetOldest)
	return out, err
}

func fill(n int) error {
	p, err := sarama.NewSyncProducer(seeds, config())
	if err != nil {
		return err
	}
	defer p.Close()
	for i := 0; i < n; i++ {
		if _, _, err := p.SendMessage(&sarama.ProducerMessage{Topic: topic, Partition: int32(i % 2), Value: sarama.StringEncoder(fmt.Sprint(i))}); err != nil {
			return err
		}
	}
	return nil
}

// member is one consumer of a group, until it is stopped.
type member struct {
	mu     sync.Mutex
	share  int
	got    []string
	limit  int // marks and commits no more than so many
	stop   context.CancelFunc
	ended  chan bool
	commit bool
}

func (m *member) Setup(s sarama.ConsumerGroupSession) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.share = len(s.Claims()[topic])
	return nil
}

func (m *member) Cleanup(s sarama.ConsumerGroupSession) error {
	if m.commit {
		s.Commit()
	}
	return nil
}

func (m *member) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case msg := <-claim.Messages():
			if msg == nil {
				return nil
			}
			m.mu.Lock()
			if m.limit == 0 || len(m.got) < m.limit {
				m.got = append(m.got, row(msg))
				if m.commit {
					s.MarkMessage(msg, "")
				}
			}
			m.mu.Unlock()
		case <-s.Context().Done():
			return nil
		}
	}
}

func join(group string, limit int, commit bool, instance ...string) (*member, error) {
	c := config()
	if len(instance) > 0 {
		c.Consumer.Group.InstanceId = instance[0]
	}
	g, err := sarama.NewConsumerGroup(seeds, group, c)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{limit: limit, stop: cancel, ended: make(chan bool), commit: commit}
	go func() {
		for ctx.Err() == nil {
			if err := g.Consume(ctx, []string{topic}, m); err != nil {
				break
			}
		}
		g.Close()
		close(m.ended)
	}()
	return m, nil
}

func (m *member) leave() {
	m.stop()
	<-m.ended
}

func (m *member) has(count int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.got) >= count
}

func (m *member) owns(n int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.share == n
}

func committed() (string, error) {
	r, err := admin.ListConsumerGroupOffsets(groupName, map[string][]int32{topic: {0, 1}})
	if err != nil {
		return "", err
	}
	return fmt.Sprint(r.Blocks[topic][0].Offset, r.Blocks[topic][1].Offset), nil
}

func consumeGroup() (card.Map, error) {
	if err := fill(100); err != nil {
		return nil, err
	}
	m, err := join(groupName, 0, true)
	if err != nil {
		return nil, err
	}
	card.Until(func() bool { return m.has(100) })
	m.leave()
	sort.Strings(m.got)
	at, err := committed()
	return card.Map{"read": card.Digest(m.got), "committed": at}, err
}

func rebalance() (card.Map, error) {
	a, err := join(groupName+"two", 0, false)
	if err != nil {
		return nil, err
	}
	out := card.Map{"alone": card.Until(func() bool { return a.owns(2) })}
	b, err := join(groupName+"two", 0, false)
	if err != nil {
		return nil, err
	}
	out["two"] = card.Until(func() bool { return a.owns(1) && b.owns(1) })
	b.leave()
	out["left"] = card.Until(func() bool { return a.owns(2) })
	a.leave()
	return out, nil
}

// staticMember comes back under its instance id and gets its share again; the group does not notice that it was away.
func staticMember() (card.Map, error) {
	group, out := groupName+"static", card.Map{}
	for _, turn := range []string{"first", "second"} {
		m, err := join(group, 0, false, "one")
		if err != nil {
			return nil, err
		}
		out[turn] = card.Until(func() bool { return m.owns(2) })
		m.leave()
	}
	members := func() int {
		d, err := admin.DescribeConsumerGroups([]string{group})
		if err != nil || len(d) != 1 {
			return -1
		}
		return len(d[0].Members)
	}
	out["members"] = members()
	r, err := admin.RemoveMemberFromConsumerGroup(group, []string{"one"})
	if err != nil {
		return nil, err
	}
	out["removed"] = card.Text(r.Err)
	for _, m := range r.Members {
		out["removed "+*m.GroupInstanceId] = card.Text(m.Err)
	}
	out["left"] = members()
	return out, nil
}

func resume() (card.Map, error) {
	if err := fill(20); err != nil {
		return nil, err
	}
	var got []string
	for _, n := range []int{10, 10} {
		m, err := join(groupName, n, true)
		if err != nil {
			return nil, err
		}
		card.Until(func() bool { return m.has(n) })
		m.leave()
		got = append(got, m.got...)
	}
	sort.Strings(got)
	return card.Map{"records": len(got), "read": card.Digest(got)}, nil
}

func describeGroups() (card.Map, error) {
	m, err := join(groupName+"-seen", 0, false)
	if err != nil {
		return nil, err
	}
	defer m.leave()
	card.Until(func() bool { return m.has(1) })
	d, err := admin.DescribeConsumerGroups([]string{groupName + "-seen"})
	if err != nil || len(d) != 1 {
		return nil, fmt.Errorf("described: %v", err)
	}
	out := card.Map{"state": d[0].State, "protocol": d[0].ProtocolType + " " + d[0].Protocol, "members": len(d[0].Members)}
	for _, x := range d[0].Members {
		out["client"], out["host"] = x.ClientId, x.ClientHost
	}
	listed, err := admin.ListConsumerGroups()
	out["listed"] = listed[groupName] + " " + listed[groupName+"-seen"]
	return out, err
}

func shown() string {
	entries, err := admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: topic, ConfigNames: []string{"retention.ms", "cleanup.policy"}})
	var out []string
	for _, e := range entries {
		out = append(out, fmt.Sprint(e.Name, "=", e.Value, " ", e.Source, " ", e.ReadOnly, " ", e.Sensitive, " ", len(e.Synonyms)))
	}
	sort.Strings(out)
	return fmt.Sprint(out, card.Text(err))
}

func configs() (card.Map, error) {
	alter := func(value string) string {
		return card.Text(admin.IncrementalAlterConfig(sarama.TopicResource, topic, map[string]sarama.IncrementalAlterConfigsEntry{"retention.ms": {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value}}, false))
	}
	before := shown()
	done := alter("55555555")
	card.Until(func() bool { return shown() != before })
	after, bad, value := shown(), alter("abc"), "44444444"
	replaced := card.Text(admin.AlterConfig(sarama.TopicResource, topic, map[string]*string{"segment.bytes": &value}, false))
	return card.Map{"before": before, "done": done, "after": after, "bad value": bad != "done", "replaced": replaced, "last": card.Until(func() bool { return shown() != after })}, nil
}

func alterOffsets() (card.Map, error) {
	r, err := admin.AlterConsumerGroupOffsets(groupName, map[string]map[int32]sarama.OffsetAndMetadata{topic: {1: {Offset: 7, Metadata: "by hand", LeaderEpoch: -1}}}, nil)
	if err != nil {
		return nil, err
	}
	after, err := committed()
	if err != nil {
		return nil, err
	}
	err = admin.DeleteConsumerGroupOffset(groupName, topic, 1)
	last, _ := committed()
	return card.Map{"altered": fmt.Sprint(r.Errors), "after": strings.HasSuffix(after, " 7"), "deleted": card.Text(err), "last": strings.HasSuffix(last, " -1")}, nil
}

func cluster() (card.Map, error) {
	dirs, err := admin.DescribeLogDirs([]int32{1})
	if err != nil {
		return nil, err
	}
	brokers, controller, err := admin.DescribeCluster()
	if err != nil {
		return nil, err
	}
	elected, err := admin.ElectLeaders(sarama.PreferredElection, map[string][]int32{topic: {0}})
	out := card.Map{"dirs": len(dirs[1]), "brokers": len(brokers), "controller": controller}
	if r := elected[topic][0]; r != nil {
		out["elected"] = card.Text(r.ErrorCode)
	}
	return out, err
}

func main() {
	var err error
	if admin, err = sarama.NewClusterAdmin(seeds, config()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	card.Scenario("create topic", createTopic)
	for _, codec := range []sarama.CompressionCodec{sarama.CompressionNone, sarama.CompressionGZIP, sarama.CompressionSnappy, sarama.CompressionLZ4, sarama.CompressionZSTD} {
		card.Scenario("produce and read "+codec.String(), func() (card.Map, error) { return produce(codec, codec.String()) })
	}
	card.Scenario("list offsets", listOffsets)
	card.Scenario("seek, offset out of range", seek)
	card.Scenario("consume in a group, commit", consumeGroup)
	card.Scenario("second member joins and leaves", rebalance)
	card.Scenario("static member", staticMember)
	card.Scenario("commit and resume", resume)
	card.Scenario("list and describe groups", describeGroups)
	card.Scenario("alter and delete committed offsets", alterOffsets)
	card.Scenario("add partitions", func() (card.Map, error) {
		done := admin.CreatePartitions(topic, 4, nil, false)
		fewer := admin.CreatePartitions(topic, 3, nil, false)
		return card.Map{"done": card.Text(done), "fewer": fewer != nil, "listed": card.Until(func() bool { return partitions() == 4 })}, nil
	})
	card.Scenario("alter and describe configs", configs)
	card.Scenario("delete records", func() (card.Map, error) {
		if err := admin.DeleteRecords(topic, map[int32]int64{0: 15}); err != nil {
			return nil, err
		}
		c, err := sarama.NewClient(seeds, config())
		if err != nil {
			return nil, err
		}
		defer c.Close()
		begin, err := c.GetOffset(topic, 0, sarama.OffsetOldest)
		return card.Map{"begin": begin}, err
	})
	card.Scenario("cluster, log dirs, leader election", cluster)
	card.Scenario("delete group", func() (card.Map, error) {
		deleted := admin.DeleteConsumerGroup(groupName)
		at, err := committed()
		return card.Map{"deleted": card.Text(deleted), "offsets": at}, err
	})
	card.Scenario("delete topic", func() (card.Map, error) {
		deleted := admin.DeleteTopic(topic)
		return card.Map{"deleted": card.Text(deleted), "gone": card.Until(func() bool {
			all, err := admin.ListTopics()
			_, there := all[topic]
			return err == nil && !there
		})}, nil
	})
	admin.Close()
}
