package channel

import (
	"context"
	"crypto/tls"
	"errors"
	"runtime"
	"sync"
	"time"
)

// handshakeWait is how long a connection waits for its handshake to be computed; its peer tries again, later each time.
// Longer would only make those wait who come too many at once: nobody can be told to come back before a handshake.
const handshakeWait = time.Second

// handshakes bound how many handshakes are computed at once. Each takes a millisecond of a processor, and thousands
// that begin together, after a power failure or when the server was restarted under its fleet, would take their share
// each before anything else is answered. A place is held while this side computes, never while it waits for the peer:
// a peer that stalls holds none.
type handshakes struct{ room chan struct{} }

func newHandshakes() *handshakes { return &handshakes{make(chan struct{}, runtime.GOMAXPROCS(0))} }

// begin is tls.Config's GetConfigForClient: it is called when the peer's first message is there. The place is given
// back when the first answer is written (counted.Write), or the connection is closed.
func (h *handshakes) begin(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	conn, ok := hello.Conn.(*counted)
	if !ok {
		return nil, errors.New("a connection that was not counted")
	}
	ctx, cancel := context.WithTimeout(hello.Context(), handshakeWait)
	defer cancel()
	select {
	case h.room <- struct{}{}:
		conn.computes(sync.OnceFunc(func() { <-h.room }))
		return nil, nil
	case <-ctx.Done():
		return nil, errors.New("the server has no time for another handshake")
	}
}
