package image_test

import (
	"bytes"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestF31_QCOW2FromMirrors: a name that leads each request to another mirror, as those of Fedora and openSUSE do. The mirrors' files are
// the same and their validators are not: what is read in parts has to come of one of them.
func TestF31_QCOW2FromMirrors(t *testing.T) {
	img := holes(t)
	file := qcow(t, img, "-c")
	for name, expires := range map[string]int64{"stay": 1 << 30, "expire": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked, told atomic.Int64
			b := newBench(t, 32*mib, func(w http.ResponseWriter, r *http.Request) {
				mirror, at, mirrored := strings.Cut(strings.TrimPrefix(r.URL.Path, "/mirror"), "/")
				if !mirrored || !strings.HasPrefix(r.URL.Path, "/mirror") {
					n := told.Add(1)
					if expires == 3 {
						n = 1 // one mirror, whose addresses do not stay good
					}
					http.Redirect(w, r, "/mirror"+strconv.FormatInt(n, 10)+"/"+url.PathEscape(strconv.FormatInt(asked.Load(), 10)), http.StatusFound)
					return
				}
				since, _ := strconv.ParseInt(at, 10, 64)
				if asked.Add(1)-since > expires {
					http.Error(w, "expired", http.StatusForbidden)
					return
				}
				w.Header().Set("ETag", `"`+mirror+`"`)
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(file))
			})
			b.old()
			w, err := b.write(b.spec("/a.qcow2", file))
			if err != nil {
				t.Fatal(err)
			}
			b.same(img)
			if w.Restarted != 0 {
				t.Errorf("it was started again %d times", w.Restarted)
			}
		})
	}
}
