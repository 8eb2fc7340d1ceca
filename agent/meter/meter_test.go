package meter_test

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/agent/meter"
	"github.com/bessemer-metal/bessemer/shared/step"
)

func TestMeterCountsAllDisks(t *testing.T) {
	now := time.Unix(0, 0)
	var got step.Progress
	m := meter.New(func(p step.Progress) { got = p }, func() time.Time { return now })
	a, b := m.Track("a", 1000), m.Track("b", 3000)
	a.Stage("overwrite")
	b.Stage("overwrite")
	now = now.Add(10 * time.Second)
	a.Add(500)
	now = now.Add(time.Second)
	b.Add(1000)
	// Both work at once: what is left takes as long as the slower one.
	if got.Percent != 37.5 || got.Done != 1500 || got.Total != 4000 || math.Round(got.Rate) != 45+91 || got.Left.Round(time.Second) != 22*time.Second {
		t.Errorf("got %+v", got)
	}
	if got.Item != "overwrite b" || got.Devices[1].Done != 1000 || got.Devices[1].Total != 3000 || got.Devices[0].Left.Round(time.Second) != 11*time.Second {
		t.Errorf("the disks: %+v", got)
	}
	b.Restart()
	if got.Percent != 37.5 || math.Round(got.Devices[1].Percent) != 33 || got.Devices[1].Rate != 0 || got.Left != 0 {
		t.Errorf("after a restart %+v", got)
	}
}

// TestMeterRateIsRecent: a disk that became slow shows so within seconds, whatever it did before.
func TestMeterRateIsRecent(t *testing.T) {
	now := time.Unix(0, 0)
	var got step.Progress
	m := meter.New(func(p step.Progress) { got = p }, func() time.Time { return now })
	a := m.Track("a", 1_000_000)
	a.Stage("overwrite")
	for range 100 {
		now = now.Add(time.Second)
		a.Add(1000)
	}
	if got.Rate != 1000 || got.Left != 900*time.Second {
		t.Errorf("fast: %v, %v", got.Rate, got.Left)
	}
	for range 11 {
		now = now.Add(time.Second)
		a.Add(10)
	}
	if got.Rate != 10 {
		t.Errorf("slow: %v", got.Rate)
	}
	a.Skip(500_000)
	now = now.Add(time.Second)
	a.Add(10)
	if got.Rate != 10 || got.Devices[0].Done != 600_120 {
		t.Errorf("after a jump: %+v", got)
	}
}

// TestMeterTellsOfADiskThatHangs: without a byte done there are reports still, and the rate goes down to zero.
func TestMeterTellsOfADiskThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reports int
		var got step.Progress
		m := meter.New(func(p step.Progress) { reports++; got = p }, time.Now)
		stop := m.Tick()
		a := m.Track("a", 1000)
		a.Stage("overwrite")
		<-time.After(2 * time.Second)
		a.Add(100)
		<-time.After(30 * time.Second)
		synctest.Wait()
		stop()
		if reports < 25 || got.Rate != 0 || got.Left != 0 || got.Percent != 10 {
			t.Errorf("%d reports, the last %+v", reports, got)
		}
	})
}

func TestMeterTellsMethodAndVerifyState(t *testing.T) {
	var got step.DeviceProgress
	m := meter.New(func(p step.Progress) { got = p.Devices[0] }, time.Now)
	a := m.Track("a", 100)
	a.Method("nvme-format")
	a.Stage("format")
	if got.Method != "nvme-format" || got.Stage != "format" || got.Verify != "" {
		t.Errorf("%+v", got)
	}
	a.Stage("verify")
	if got.Verify != step.Verifying {
		t.Errorf("%+v", got)
	}
	a.Stage("failed")
	if got.Verify != step.Refuted {
		t.Errorf("%+v", got)
	}
	a.Method("overwrite")
	a.Stage("overwrite")
	if got.Method != "overwrite" || got.Verify != "" {
		t.Errorf("%+v", got)
	}
	a.Stage("verify")
	a.Stage("done")
	if got.Verify != step.Verified {
		t.Errorf("%+v", got)
	}
}
