package boot

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// FuzzT11_Requests: whatever is asked for, by whatever method, from wherever and in whatever pieces, only the machine that a boot
// is for gets bytes of its medium, by its whole address; nobody else learns whether there is one, and nothing fails here.
func FuzzT11_Requests(f *testing.F) {
	right := URL("", tokenA)
	for _, path := range []string{right, right + "/", "/boot/", "/boot/" + tokenA + "/bessemer.iso", "/boot//x.iso", "/boot/" + strings.Repeat("a", 300) + "/x.iso", "/boot/../" + tokenA, "/boot/%00/x"} {
		f.Add("GET", path, bmc, "bytes=0-99")
		f.Add("HEAD", path, "192.0.2.8:1", "")
	}
	f.Add("GET", right, bmc, "bytes=49152-49160,-1,0-")
	f.Add("GET", right, bmc, "bytes=99999999999999999999-")
	f.Add("PUT", right, "nowhere", "x")
	iso, data := base(f)
	f.Fuzz(func(t *testing.T, method, path, from, ranges string) {
		if !strings.HasPrefix(path, "/") {
			return
		}
		h := Handler(iso, one{}, slog.New(slog.DiscardHandler))
		r := httptest.NewRequest(http.MethodGet, "http://host/", nil)
		r.Method, r.URL, r.RemoteAddr = method, &url.URL{Path: path}, from
		r.Header.Set("Range", ranges)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Fatalf("%s %q from %q, %q: %d %s", method, path, from, ranges, w.Code, w.Body)
		}
		theirs := strings.HasPrefix(from, "192.0.2.7:") || strings.HasPrefix(from, "[::ffff:192.0.2.7]:")
		served := w.Code == http.StatusOK || w.Code == http.StatusPartialContent || w.Code == http.StatusRequestedRangeNotSatisfiable
		if served && !(theirs && strings.HasPrefix(path, "/boot/"+tokenA+"/")) {
			t.Fatalf("%s %q from %q is answered %d", method, path, from, w.Code)
		}
		if !served && (w.Code != http.StatusMethodNotAllowed && w.Code != http.StatusNotFound || bytes.Contains(w.Body.Bytes(), data[:16])) {
			t.Fatalf("%s %q from %q is refused by %d %s", method, path, from, w.Code, w.Body)
		}
		if whole := w.Body.Bytes(); w.Code == http.StatusOK && method == http.MethodGet && (len(whole) != size || !bytes.Equal(whole[:at], data[:at])) {
			t.Fatalf("%q gives %d bytes, expected %d", path, len(whole), size)
		}
	})
}
