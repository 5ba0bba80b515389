// Package card is what the Go programs of the report card share: the records, and one line of JSON a scenario (see tests/interop/card.py).
package card

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"
)

// Count is the number of records that each codec writes.
const Count = 200

// Map is an outcome.
type Map = map[string]any

// Record is the i-th record; value nil now and then.
func Record(i int) (key, value []byte) {
	key = []byte(fmt.Sprintf("key%d", i%17))
	if i%10 != 3 {
		value = []byte(fmt.Sprintf("value %d %s", i, strings.Repeat("x", i%60)))
	}
	return
}

// Digest of rows that are too many to show.
func Digest(rows any) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(fmt.Sprint(rows))))[:16]
}

// Row is a record as it was read.
func Row(partition int, offset int64, key, value []byte, headers string) string {
	return fmt.Sprintf("%d %d %s %v %s", partition, offset, key, value, headers)
}

// Text of an error, "done" for none.
func Text(err error) string {
	if err == nil {
		return "done"
	}
	return err.Error()
}

// missed counts the conditions of a scenario that did not come true.
var missed int

// Scenario prints what fn returns; an error is an outcome, too.
func Scenario(name string, fn func() (Map, error)) {
	missed = 0
	outcome, err := func() (m Map, err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %v", p)
			}
		}()
		return fn()
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, name, err)
		outcome = Map{"error": err.Error()}
	}
	line, _ := json.Marshal(outcome)
	fmt.Printf("{\"scenario\": %q, \"outcome\": %s, \"missed\": %d}\n", name, line, missed)
}

// Until asks every 20 ms, for 90 s at most.
func Until(condition func() bool) bool {
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if condition() {
			return true
		}
	}
	missed++
	return false
}
