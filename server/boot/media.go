// Package boot serves what nodes boot from: one base ISO on disk for BMCs, and one EFI program for firmware that boots over
// HTTPS, with the boot region of the boot at hand laid over it while it is read. It keeps no copy per node and decides nothing
// about who may boot what: that is Media's and Programs'. Start at Handler.
package boot

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/initramfs/media"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/failpoint"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Media says what a boot medium carries. token is the unguessable part of its URL, from the address that asks.
// Faults: not_found (no such boot, or it is over), forbidden (not to this address); a caller learns no difference.
type Media interface {
	Medium(ctx context.Context, token string, from netip.Addr) (api.BootConfig, error)
}

// Programs says what the ramdisk of a boot carries that machines' firmware loads. load false is for who asks for the length alone, and is
// given nothing of it. Its faults are Media's.
type Programs interface {
	Program(ctx context.Context, token string, from netip.Addr, load bool) (api.BootConfig, error)
}

// Path is where the handlers are mounted; URL and ProgramURL make an address below a server's base URL.
const Path = "/boot/"

// URL is the address of a boot's medium. It ends in .iso because some BMCs look at nothing else.
func URL(base, token string) string {
	return strings.TrimSuffix(base, "/") + Path + token + "/" + fileName(token) + isoName
}

// ProgramURL is the address of a boot's ramdisk as one EFI program. Firmware goes by the type that the server tells, some by .efi.
func ProgramURL(base, token string) string {
	return strings.TrimSuffix(base, "/") + Path + token + "/" + fileName(token) + efiName
}

const (
	isoName  = ".iso"
	efiName  = ".efi"
	oldName  = "bessemer.iso" // what earlier servers gave every medium: one that is in still has to be read to its end (F39)
	maxToken = 256
)

// fileName is another one for each medium, because some BMCs show nothing else of what is in a drive: the medium of a
// boot before must not pass for this one's. The digest gives nothing of the token away.
func fileName(token string) string {
	sum := sha256.Sum256([]byte(token))
	return fmt.Sprintf("bessemer-%x", sum[:8])
}

// Handler serves GET and HEAD of what URL gives, with ranges. iso is the file of the base medium; it is
// opened for each request, so that a newly built one is served from the next request on.
func Handler(iso string, media Media, log *slog.Logger) http.Handler {
	return &handler{file: iso, kind: isoName, mime: "application/x-iso9660-image", find: api.FindRegion, log: log,
		config: func(ctx context.Context, token string, from netip.Addr, _ bool) (api.BootConfig, error) {
			return media.Medium(ctx, token, from)
		}}
}

// ProgramHandler serves GET and HEAD of what ProgramURL gives. program is the file of the base program, opened for each request
// too. It must be mounted behind TLS alone: what it serves carries the boot's secret, and who reads it is not known by an address.
func ProgramHandler(program string, programs Programs, log *slog.Logger) http.Handler {
	return &handler{file: program, kind: efiName, mime: "application/efi", find: media.FindRegion, config: programs.Program, log: log}
}

type handler struct {
	file   string // the base
	kind   string // how its name ends
	mime   string
	find   func(base io.ReaderAt) (offset, length int64, err error) // where its region lies
	config func(ctx context.Context, token string, from netip.Addr, load bool) (api.BootConfig, error)
	log    *slog.Logger
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token, ok := h.token(r.URL.Path)
	if !ok {
		refuse(w)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
		return
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		refuse(w)
		return
	}
	config, err := h.config(r.Context(), token, from.Addr().Unmap(), r.Method == http.MethodGet)
	if err != nil {
		f := fault.From(err)
		if f.Code == fault.NotFound || f.Code == fault.Forbidden {
			h.log.Warn("boot medium refused", "from", from.Addr().Unmap(), "err", err)
			refuse(w)
			return
		}
		h.fail(w, err)
		return
	}
	base, err := os.Open(h.file)
	if err != nil {
		h.fail(w, fmt.Errorf("open the base medium: %w", err))
		return
	}
	defer base.Close()
	m, err := h.splice(base, config)
	if err != nil {
		h.fail(w, err)
		return
	}
	// Nothing of it may be kept by a proxy: it carries the boot's secret.
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", h.mime)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	// A BMC that goes on with another range must notice when the base was replaced meanwhile.
	w.Header().Set("ETag", fmt.Sprintf(`"%x-%x-%x"`, m.size, m.modified.UnixNano(), config.Generation))
	failpoint.Here("medium.answer.before")
	http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(m, 0, m.size))
	failpoint.Here("medium.answer.after")
}

// token takes the token out of the path of a medium.
func (h *handler) token(path string) (string, bool) {
	rest, ok := strings.CutPrefix(path, Path)
	if !ok {
		return "", false
	}
	token, file, ok := strings.Cut(rest, "/")
	return token, ok && (named(file, fileName(token)+h.kind) || h.kind == isoName && named(file, oldName)) && token != "" && len(token) <= maxToken
}

func named(file, name string) bool {
	return subtle.ConstantTimeCompare([]byte(file), []byte(name)) == 1
}

// refuse is the one answer for a token that is unknown, over, or another's.
func refuse(w http.ResponseWriter) { http.Error(w, "no such boot medium", http.StatusNotFound) }

// fail tells the BMC to try later and the operator, by the log, what is wrong here.
func (h *handler) fail(w http.ResponseWriter, err error) {
	h.log.Error("boot medium can't be served", "err", err)
	w.Header().Set("Retry-After", strconv.Itoa(5))
	http.Error(w, "the boot medium can't be served now", http.StatusServiceUnavailable)
}

// medium is the base medium with a region laid over it.
type medium struct {
	base     io.ReaderAt
	size     int64
	modified time.Time
	region   []byte
	at       int64
}

func (h *handler) splice(base *os.File, c api.BootConfig) (*medium, error) {
	fi, err := base.Stat()
	if err != nil {
		return nil, fmt.Errorf("base medium: %w", err)
	}
	at, n, err := h.find(base)
	if err != nil {
		return nil, fmt.Errorf("base medium %s: %w; build it with bessemer ramdisk build", base.Name(), err)
	}
	if at+n > fi.Size() {
		return nil, fmt.Errorf("base medium %s is truncated; build it with bessemer ramdisk build", base.Name())
	}
	region, err := api.EncodeBootConfig(c, n)
	if err != nil {
		return nil, err
	}
	return &medium{base: base, size: fi.Size(), modified: fi.ModTime(), region: region, at: at}, nil
}

// ReadAt reads the base and overlays what of the region falls into p.
func (m *medium) ReadAt(p []byte, off int64) (int, error) {
	n, err := m.base.ReadAt(p, off)
	from, to := max(off, m.at), min(off+int64(n), m.at+int64(len(m.region)))
	if from < to {
		copy(p[from-off:to-off], m.region[from-m.at:])
	}
	return n, err
}
