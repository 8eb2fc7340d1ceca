package main

import (
	"os"
	"testing"
)

// Behind /dev/null, which cron and service managers give, nobody can be asked, though it is a character device.
func TestNobodyIsBehindTheNullDevice(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if terminal(null) {
		t.Errorf("%s is taken for a terminal", os.DevNull)
	}
}
