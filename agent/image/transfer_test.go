package image_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/bessemer-metal/bessemer/agent/disk/disktest"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// flaky serves b but breaks off every answer after cut bytes.
func flaky(b []byte, cut int, alter func(n int64, w http.ResponseWriter, r *http.Request) bool) http.HandlerFunc {
	var n atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) {
		if alter != nil && alter(n.Add(1), w, r) {
			return
		}
		from := 0
		w.Header().Set("ETag", `"v1"`)
		if h := r.Header.Get("Range"); h != "" {
			fmt.Sscanf(h, "bytes=%d-", &from)
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(b)-1, len(b)))
			w.Header().Set("Content-Length", strconv.Itoa(len(b)-from))
			w.WriteHeader(http.StatusPartialContent)
		} else {
			w.Header().Set("Content-Length", strconv.Itoa(len(b)))
		}
		end := min(len(b), from+cut)
		w.Write(b[from:end])
		if end < len(b) {
			panic(http.ErrAbortHandler)
		}
	}
}

// TestF31_F34_BrokenTransfers: a broken transfer goes on only where the server proves that it serves the same bytes.
func TestF31_F34_BrokenTransfers(t *testing.T) {
	img := disktest.Bootable(t, 24*mib)
	other := bytes.Clone(img)
	other[22*mib] ^= 1
	for name, c := range map[string]struct {
		serve              func() http.HandlerFunc
		resumed, restarted int
		want               fault.Reason
	}{
		"drops thrice, goes on": {func() http.HandlerFunc { return flaky(img, 7*mib, nil) }, 3, 0, ""},
		"answers 503 in between": {func() http.HandlerFunc {
			return flaky(img, 16*mib, func(n int64, w http.ResponseWriter, _ *http.Request) bool {
				if n == 1 || n == 3 {
					http.Error(w, "later", http.StatusServiceUnavailable)
				}
				return n == 1 || n == 3
			})
		}, 1, 0, ""},
		"ignores Range": {func() http.HandlerFunc {
			return flaky(img, 16*mib, func(n int64, w http.ResponseWriter, r *http.Request) bool {
				if r.Header.Get("Range") == "" && n < 3 {
					return false
				}
				w.Write(img) // 200, all of it
				return true
			})
		}, 0, 1, ""},
		"no validator": {func() http.HandlerFunc {
			return flaky(img, 16*mib, func(n int64, w http.ResponseWriter, _ *http.Request) bool {
				if n > 1 {
					w.Write(img)
					return true
				}
				w.Header().Set("Content-Length", strconv.Itoa(len(img)))
				w.Write(img[:16*mib])
				panic(http.ErrAbortHandler)
			})
		}, 0, 1, ""},
		"another image meanwhile, honest server": {func() http.HandlerFunc {
			return flaky(img, 16*mib, func(n int64, w http.ResponseWriter, _ *http.Request) bool {
				if n == 1 {
					return false
				}
				w.Header().Set("ETag", `"v2"`)
				w.Write(other)
				return true
			})
		}, 0, 1, fault.ImageDigest},
		"another image meanwhile, 206 with another validator": {func() http.HandlerFunc {
			return flaky(img, 16*mib, func(n int64, w http.ResponseWriter, r *http.Request) bool {
				if n == 2 {
					w.Header().Set("ETag", `"v2"`)
					w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", 16*mib, len(img)-1, len(img)))
					w.WriteHeader(http.StatusPartialContent)
					return true
				}
				if n > 2 {
					w.Write(img)
				}
				return n > 2
			})
		}, 0, 1, ""},
		"another image meanwhile, lying server": {func() http.HandlerFunc {
			one, two := flaky(img, 16*mib, nil), flaky(other, 32*mib, nil)
			var n atomic.Int64
			return func(w http.ResponseWriter, r *http.Request) {
				if n.Add(1) == 1 {
					one(w, r)
				}
				two(w, r)
			}
		}, 1, 0, fault.ImageDigest},
		"wrong place in 206": {func() http.HandlerFunc {
			return flaky(img, 16*mib, func(n int64, w http.ResponseWriter, r *http.Request) bool {
				if n == 2 {
					w.Header().Set("ETag", `"v1"`)
					w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", 15*mib, len(img)-1, len(img)))
					w.WriteHeader(http.StatusPartialContent)
					return true
				}
				if n > 2 {
					w.Write(img)
				}
				return n > 2
			})
		}, 0, 1, ""},
		"not there": {func() http.HandlerFunc { return http.NotFound }, 0, 0, fault.ImageUnreachable},
		"redirect loop": {func() http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/again", http.StatusFound) }
		}, 0, 0, fault.ImageUnreachable},
		"redirect to a file": {func() http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "ftp://example.org/x", http.StatusFound)
			}
		}, 0, 0, fault.ImageUnreachable},
		"encoded": {func() http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Encoding", "gzip"); w.Write(img) }
		}, 0, 0, fault.ImageUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, 32*mib, c.serve())
			w, err := b.write(b.spec("/a.raw", img))
			if c.want != "" {
				if !fault.Has(err, c.want) {
					t.Fatalf("got %v, want %s", err, c.want)
				}
				b.notBootable()
			} else if err != nil {
				t.Fatal(err)
			}
			if w.Resumed != c.resumed || w.Restarted != c.restarted {
				t.Errorf("resumed %d and restarted %d times, want %d and %d", w.Resumed, w.Restarted, c.resumed, c.restarted)
			}
		})
	}
}

func TestF31_ServerThatAlwaysDropsIsGivenUp(t *testing.T) {
	img := disktest.Bootable(t, 24*mib)
	b := newBench(t, 32*mib, func(w http.ResponseWriter, r *http.Request) { // never a validator
		w.Header().Set("Content-Length", strconv.Itoa(len(img)))
		w.Write(img[:mib])
		panic(http.ErrAbortHandler)
	})
	if _, err := b.write(b.spec("/a.raw", img)); !fault.Has(err, fault.ImageTruncated) {
		t.Fatalf("got %v", err)
	}
	b.notBootable()
}
