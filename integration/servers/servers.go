// Package servers runs the two servers whose APIs are compared: Debian's Ironic, from the Python package that
// integration/scripts/setup installs, and ours, built from this tree; and Debian's MariaDB, for an Ironic as production
// sites have it. All run on loopback without authentication, with their files below a directory of the caller's, and end
// with the process that started them. Nothing of the host is used but the programs: no service is started, no
// configuration in /etc is read.
//
// Start at Ironic and Bessemer; Start runs any other program that is to be measured.
package servers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// Server is a server that answers. Close ends it.
type Server struct {
	URL    string        // http://HOST:PORT, without /v1
	Host   string        // what it calls itself: the conductor's name
	Dir    string        // its files
	Start  time.Duration // from the start of the process to the first answer of /v1
	parts  []*Child
	logged string
}

// Close ends all its processes at once. Its files stay.
func (s *Server) Close() error {
	var errs []error
	for _, p := range s.parts {
		errs = append(errs, p.Kill())
	}
	s.parts = nil
	return errors.Join(errs...)
}

// CPU is the processor time, user and system, that its processes have used.
func (s *Server) CPU() (time.Duration, error) {
	return sum(s.parts, (*Child).CPU)
}

// Memory is the resident bytes of its processes.
func (s *Server) Memory() (int64, error) {
	return sum(s.parts, (*Child).memory)
}

func sum[N int64 | time.Duration](parts []*Child, of func(*Child) (N, error)) (N, error) {
	var all N
	for _, p := range parts {
		n, err := of(p)
		if err != nil {
			return 0, err
		}
		all += n
	}
	return all, nil
}

// Said is the end of what it logged.
func (s *Server) Said() string {
	text, err := os.ReadFile(s.logged)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-8000):])
}

// run starts a process whose words go to the server's log.
func (s *Server) run(env []string, program string, args ...string) error {
	log, err := s.log()
	if err != nil {
		return err
	}
	defer log.Close()
	c, err := Start(log, env, program, args...)
	if err == nil {
		s.parts = append(s.parts, c)
	}
	return err
}

func (s *Server) log() (*os.File, error) {
	return os.OpenFile(s.logged, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}

// answers waits until ready says so, or a process has ended. ready asks the server something.
func (s *Server) answers(ctx context.Context, pause time.Duration, ready func(*http.Client) bool) error {
	ask := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		if ready(ask) {
			return nil
		}
		for _, p := range s.parts {
			select {
			case <-p.ended:
				return fmt.Errorf("%s ended; it said:\n%s", filepath.Base(p.cmd.Path), s.Said())
			case <-ctx.Done():
				return fmt.Errorf("the server does not answer: %w; it said:\n%s", ctx.Err(), s.Said())
			case <-time.After(pause):
			}
		}
	}
}

// get tells the status and the body of an answer; status 0 is none.
func get(ask *http.Client, url, version string) (int, []byte) {
	q, err := http.NewRequest(http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, nil
	}
	q.Header.Set("X-OpenStack-Ironic-API-Version", version)
	a, err := ask.Do(q)
	if err != nil {
		return 0, nil
	}
	defer a.Body.Close()
	body, err := io.ReadAll(io.LimitReader(a.Body, 1<<20))
	if err != nil {
		return 0, nil
	}
	return a.StatusCode, body
}

// FreePorts finds ports of loopback that nobody listens on, for programs that can't choose some themselves and tell.
// Another program may have taken one by the time it is used.
func FreePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer ln.Close() //nolint:errcheck // it has accepted nothing
		ports = append(ports, ln.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
