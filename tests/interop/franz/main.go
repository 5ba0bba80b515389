// franz: produces and consumes with franz-go, comparing content; run by tests/interop/run.
//
//	franz BOOTSTRAP TOPIC CODEC RECORDS
//
// Writes RECORDS records with keys, null values and headers to partition 0 (idempotent, acks=all), reads them back without a group and compares
// every one. Exit 0 if all came back once, unchanged and in order.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

var codecs = map[string]kgo.CompressionCodec{
	"none":   kgo.NoCompression(),
	"gzip":   kgo.GzipCompression(),
	"snappy": kgo.SnappyCompression(),
	"lz4":    kgo.Lz4Compression(),
	"zstd":   kgo.ZstdCompression(),
}

// The i-th record: the same rule as tests/interop/run.
func record(topic string, i int) *kgo.Record {
	r := &kgo.Record{Topic: topic, Partition: 0, Key: []byte(fmt.Sprintf("key%d", i%997)), Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("1")}}}
	if i%10 != 3 {
		r.Value = []byte(fmt.Sprintf("value %d ", i) + strings.Repeat("x", i%60))
	}
	return r
}

func produce(ctx context.Context, seeds []string, topic string, codec kgo.CompressionCodec, count int) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(seeds...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(codec),
		kgo.ProducerLinger(5*time.Millisecond), kgo.RecordDeliveryTimeout(time.Minute))
	if err != nil {
		return err
	}
	defer client.Close()
	failed := make(chan error, 1)
	for i := 0; i < count; i++ {
		client.Produce(ctx, record(topic, i), func(_ *kgo.Record, err error) {
			if err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		})
	}
	if err := client.Flush(ctx); err != nil {
		return err
	}
	select {
	case err := <-failed:
		return fmt.Errorf("produce: %w", err)
	default:
		return nil
	}
}

func same(got, want *kgo.Record) bool {
	return string(got.Key) == string(want.Key) && (got.Value == nil) == (want.Value == nil) && string(got.Value) == string(want.Value) &&
		len(got.Headers) == 1 && got.Headers[0].Key == "h" && string(got.Headers[0].Value) == "1"
}

func consume(ctx context.Context, seeds []string, topic string, count int) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(seeds...),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
	if err != nil {
		return err
	}
	defer client.Close()
	for next := 0; next < count; {
		fetches := client.PollFetches(ctx)
		if errs := fetches.Errors(); len(errs) > 0 {
			return fmt.Errorf("fetch at %d: %w", next, errs[0].Err)
		}
		for it := fetches.RecordIter(); !it.Done(); next++ {
			r := it.Next()
			if want := record(topic, next); r.Offset != int64(next) || !same(r, want) {
				return fmt.Errorf("record %d: offset %d, key %q, value %q, headers %v; sent key %q, value %q", next, r.Offset, r.Key, r.Value,
					r.Headers, want.Key, want.Value)
			}
		}
	}
	return nil
}

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: franz BOOTSTRAP TOPIC CODEC RECORDS")
		os.Exit(2)
	}
	codec, known := codecs[os.Args[3]]
	count, err := strconv.Atoi(os.Args[4])
	if !known || err != nil {
		fmt.Fprintln(os.Stderr, "franz: want a codec and a number of records, got", os.Args[3], os.Args[4])
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	seeds := strings.Split(os.Args[1], ",")
	if err = produce(ctx, seeds, os.Args[2], codec, count); err == nil {
		err = consume(ctx, seeds, os.Args[2], count)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "franz:", err)
		os.Exit(1)
	}
}
