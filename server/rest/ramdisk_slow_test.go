package rest_test

import (
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// slowly begins an inspection whose body does not come to its end before the returned function is called.
func (s *server) slowly(from string) (end func() int) {
	s.Helper()
	body, send := io.Pipe()
	r := httptest.NewRequest("POST", "http://127.0.0.1:6385/v1/continue_inspection", body)
	r.RemoteAddr = from
	r.Header.Set(api.HeaderVersion, "latest")
	w := httptest.NewRecorder()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.handler.ServeHTTP(w, r)
	}()
	synctest.Wait()
	return func() int {
		if err := send.CloseWithError(errors.New("gone")); err != nil {
			s.Error(err)
		}
		<-done
		return w.Code
	}
}

// Whoever sends slowly keeps nobody but himself from an inspection (I25).
func TestI25_SlowSendersShutOutNoInspection(t *testing.T) {
	const good = `{"inventory":{"interfaces":[{"mac_address":"52:54:00:AA:00:01"}]}}`
	synctest.Test(t, func(t *testing.T) {
		s := withFake(t, state.InspectWait)
		var ends []func() int
		for range 8 {
			ends = append(ends, s.slowly("192.0.2.66:1"))
		}
		s.want(s.do("POST", "/v1/continue_inspection", good), 202)
		refused := 0
		for _, end := range ends {
			if end() == 503 {
				refused++
			}
		}
		if refused != 4 {
			t.Errorf("%d of 8 at once from one address are refused, expected 4", refused)
		}
		s.slowly("192.0.2.66:2")() // what has ended counts no more
		if code := s.slowly("192.0.2.66:3")(); code == 503 {
			t.Errorf("after the others ended: %d", code)
		}
	})
}

// However many addresses send, so much is held in memory and no more; addresses of one network are one (I25, T6).
func TestI25_T06_InspectionsHeldAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := withFake(t, state.InspectWait)
		var ends []func() int
		count := func() (refused int) {
			for _, end := range ends {
				if end() == 503 {
					refused++
				}
			}
			ends = nil
			return refused
		}
		for i := range 8 {
			ends = append(ends, s.slowly(fmt.Sprintf("[2001:db8::%x]:1", i+1)))
		}
		if n := count(); n != 4 {
			t.Errorf("%d of 8 from one network are refused, expected 4", n)
		}
		for i := range 20 {
			ends = append(ends, s.slowly(fmt.Sprintf("192.0.2.%d:1", i+1)))
		}
		if n := count(); n != 4 {
			t.Errorf("%d of 20 from as many addresses are refused, expected 4", n)
		}
	})
}

// TestZ1_InspectionsOf8MiB: an inventory is at most 8 MiB.
func TestZ1_InspectionsOf8MiB(t *testing.T) {
	s := withFake(t, state.InspectWait)
	const head, tail = `{"inventory":{"interfaces":[{"mac_address":"52:54:00:AA:00:01"}],"x":"`, `"}}`
	fits := strings.Repeat("x", 8<<20-len(head)-len(tail))
	s.want(s.do("POST", "/v1/continue_inspection", head+fits+tail), 202)
	s.want(s.do("POST", "/v1/continue_inspection", head+fits+"x"+tail), 413)
}
