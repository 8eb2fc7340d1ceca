package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/images"
)

// A stored image may be deployed although its URL is in the server's own network; nothing else gets by so (T4).
func TestT04_OwnImagesPassTheOriginCheck(t *testing.T) {
	files, err := images.Open(t.TempDir(), 1<<20, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { files.Close() })
	store := imageStore{files, "http://192.0.2.2:6387"}
	made, err := store.Put(t.Context(), "debian.raw", strings.NewReader(strings.Repeat("disk", 4096)))
	if err != nil {
		t.Fatal(err)
	}
	refused := errors.New("refused")
	check := store.origin(func(context.Context, string) error { return refused })
	if err := check(t.Context(), made.URL); err != nil {
		t.Errorf("the store's own %s: %v", made.URL, err)
	}
	for _, other := range []string{
		"http://192.0.2.2:6387/images/none.raw", "http://192.0.2.2:6387/images/", "http://192.0.2.2:6387/images/../boot/debian.raw",
		"http://192.0.2.2:6387/boot/debian.raw", "http://192.0.2.2:63870/images/debian.raw", "https://192.0.2.2:6387/images/debian.raw",
		"http://192.0.2.2:6387@127.0.0.1/images/debian.raw", "http://127.0.0.1:6387/images/debian.raw",
	} {
		if err := check(t.Context(), other); !errors.Is(err, refused) {
			t.Errorf("%s passed the check: %v", other, err)
		}
	}
}
