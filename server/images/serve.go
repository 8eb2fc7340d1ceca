package images

import (
	"net/http"
	"strings"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Prefix is the path below which Handler serves images.
const Prefix = "/images/"

// Handler serves GET and HEAD of /images/NAME with ranges and validators: the ETag is the content's SHA-256, so that a
// client that resumes never joins two contents (F31, F34). Nothing else is served, a list neither.
func (s *Store) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "images are only read here", http.StatusMethodNotAllowed)
			return
		}
		name, ok := strings.CutPrefix(r.URL.Path, Prefix)
		if !ok {
			http.NotFound(w, r)
			return
		}
		img, f, err := s.OpenImage(name)
		if err != nil {
			told := fault.From(err)
			http.Error(w, told.Message, told.Code.Status())
			return
		}
		defer f.Close()
		h := w.Header()
		h.Set("ETag", `"`+img.SHA256+`"`)
		h.Set("Content-Type", "application/octet-stream")
		h.Set("X-Content-Type-Options", "nosniff")
		http.ServeContent(w, r, "", img.Created, f)
	})
}
