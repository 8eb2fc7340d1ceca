package images

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// FuzzI21_Requests: whatever path is asked for in whatever pieces, no file is served but an image of that very name, and of it
// nothing but its bytes.
func FuzzI21_Requests(f *testing.F) {
	for _, path := range []string{"/images/a.raw", "/images/", "/images/../names/a.raw.json", "/images/a.raw.json", "/images//a.raw", "/images/..", "/images/a.raw\x00", "/a.raw"} {
		f.Add("GET", path, "bytes=2-5")
		f.Add("HEAD", path, "")
	}
	f.Add("GET", "/images/a.raw", "bytes=-1,0-0,5-4")
	s, err := Open(f.TempDir(), 1<<20, func() time.Time { return noon })
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = s.Close() })
	content := "not much of a disk"
	if _, err := s.Put(f.Context(), "a.raw", strings.NewReader(content)); err != nil {
		f.Fatal(err)
	}
	h := s.Handler()
	f.Fuzz(func(t *testing.T, method, path, ranges string) {
		r := httptest.NewRequest(http.MethodGet, "http://host/", nil)
		r.Method, r.URL = method, &url.URL{Path: path}
		r.Header.Set("Range", ranges)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		body := w.Body.String()
		switch {
		case w.Code >= 500:
			t.Fatalf("%s %q, %q: %d %s", method, path, ranges, w.Code, body)
		case w.Code < 400 && (path != Prefix+"a.raw" || method != http.MethodGet && method != http.MethodHead):
			t.Fatalf("%s %q is answered %d %q", method, path, w.Code, body)
		case w.Code == http.StatusOK && method == http.MethodGet && body != content, w.Code == http.StatusPartialContent && !strings.Contains(w.Header().Get("Content-Type"), "multipart") && !strings.Contains(content, body):
			t.Fatalf("%q, %q gives %q", path, ranges, body)
		case w.Code >= 400 && bytes.Contains(w.Body.Bytes(), []byte(content)):
			t.Fatalf("%q is refused with the image in the answer", path)
		}
	})
}
