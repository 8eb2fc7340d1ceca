package figures_test

import (
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/integration/figures"
)

func TestMedian(t *testing.T) {
	if m := figures.Median([]time.Duration{5, 1, 3}); m != 3 {
		t.Error(m)
	}
	if m := figures.Median([]time.Duration{4, 1, 3, 2}); m != 2 {
		t.Error(m)
	}
}

func TestShare(t *testing.T) {
	all := []time.Duration{1, 2, 3, 4}
	if figures.Share(nil, 0.5) != 0 || figures.Share(all, 0.5) != 2 || figures.Share(all, 0.99) != 4 || figures.Share(all, 1) != 4 || figures.Share(all[:1], 0.01) != 1 {
		t.Error(figures.Share(all, 0.5), figures.Share(all, 0.99), figures.Share(all, 1))
	}
}
