package crash

import (
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/bessemer-metal/bessemer/integration/bmc"
)

// images serves firmware to the emulated BMCs: at /firmware/COMPONENT/VERSION an image that brings that version.
type images struct {
	server *http.Server
	ended  chan error
}

func openImages(addr string) (*images, error) {
	ln, err := net.Listen("tcp", addr+imagesPort)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /firmware/{component}/{version}", func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(bmc.FirmwareImage(r.PathValue("component"), r.PathValue("version"), 1<<20)) // a BMC that is gone needs none
	})
	i := &images{server: &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}, ended: make(chan error, 1)}
	go func() { i.ended <- i.server.Serve(ln) }()
	return i, nil
}

// Images is the address below which firmware is served, by component and version.
func (s *Site) Images() string { return "http://" + s.addr + imagesPort + "/firmware" }

func (i *images) close() error {
	err := i.server.Close()
	if ended := <-i.ended; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}
