package channel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/bessemer-metal/bessemer/shared/api"
)

// Serve answers agents on ln until ctx ends, then ends held heartbeats with an empty answer, waits for what is in
// hand and closes ln. Timeouts, header size and connection caps are those of safety.md T6.
func (c *Channel) Serve(ctx context.Context, ln net.Listener, id *Identity) error {
	held, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	srv := c.server(held, id)
	done := make(chan error, 1)
	go func() { done <- srv.ServeTLS(limited(ln, "agents'", c.Limits, c.Now, c.Log), "", "") }()
	select {
	case err := <-done:
		return fmt.Errorf("serve agents on %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	release()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	err := srv.Shutdown(grace)
	if err != nil {
		err = errors.Join(err, srv.Close())
	}
	<-done
	if err != nil {
		return fmt.Errorf("end the agent listener on %s: %w", ln.Addr(), err)
	}
	return nil
}

// server has a bound on every phase of a connection. The handshake is under ReadHeaderTimeout as well.
func (c *Channel) server(base context.Context, id *Identity) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	secure := id.TLS()
	secure.GetConfigForClient = newHandshakes().begin
	return &http.Server{
		Handler:           c,
		TLSConfig:         secure,
		Protocols:         protocols,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		WriteTimeout:      api.HeartbeatMax + time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    2 * api.MaxToken,
		BaseContext:       func(net.Listener) context.Context { return base },
		ConnContext:       remember,
		ErrorLog:          slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug),
	}
}
