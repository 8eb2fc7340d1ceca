package simnet

import (
	"context"
	"net"
	"testing"
	"testing/synctest"

	"github.com/bessemer-metal/bessemer/integration/bubbles"
)

func TestMain(m *testing.M) {
	bubbles.Calm()
	m.Run()
}

// A machine that was dialling when the network went away must not keep a connection through the partition.
func TestNoConnectionOutlivesTheNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		type dialled struct {
			c   net.Conn
			err error
		}
		got := make(chan dialled, 1)
		go func() {
			c, err := n.Dial(context.Background(), "192.0.2.1")
			got <- dialled{c, err}
		}()
		synctest.Wait() // it waits for a listener
		n.Down(true)
		l := n.Listen()
		defer l.Close()
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if d := <-got; d.err == nil {
			t.Errorf("dialled %v while the network was away", d.c)
		}
		if k, err := server.Read(make([]byte, 1)); err == nil {
			t.Errorf("read %d bytes of a connection that was cut", k)
		}
	})
}
