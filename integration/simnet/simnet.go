// Package simnet is a network in memory for tests in a synctest bubble: machines dial a server by name, and the test
// makes the network slow, takes it away or cuts a connection inside a write. It opens no socket. Start at Network.
package simnet

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// Network connects machines to the listeners of one server. Unlike net.Pipe its connections have room for what is
// written, as sockets have: a writer never waits, so that a lock it holds can't stop the bubble's time.
type Network struct {
	conns chan net.Conn

	mu     sync.Mutex
	down   bool
	delay  time.Duration
	open   []*wire
	writes int
	cut    int
}

// New makes a network without faults.
func New() *Network { return &Network{conns: make(chan net.Conn)} }

// Slow makes every later write take d to arrive.
func (n *Network) Slow(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delay = d
}

// CutAt ends a connection in the middle of the k-th write, counted from the first write ever.
func (n *Network) CutAt(k int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = k
}

// Writes is how many writes there were.
func (n *Network) Writes() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.writes
}

// Dial connects the machine with address from to whoever listens; it waits for a listener until ctx ends.
func (n *Network) Dial(ctx context.Context, from string) (net.Conn, error) {
	unreachable := &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("network is unreachable")}
	n.mu.Lock()
	away := n.down
	n.mu.Unlock()
	if away {
		return nil, unreachable
	}
	up, down := newPipe(), newPipe()
	client, server := &wire{n: n, in: down, out: up, from: from}, &wire{n: n, in: up, out: down, from: from}
	select {
	case n.conns <- server:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down { // taken away since: no connection outlives it
		return nil, errors.Join(unreachable, client.Close(), server.Close())
	}
	n.open = append(n.open, client, server)
	return client, nil
}

// Down takes the network down, cutting what is open, or brings it up.
func (n *Network) Down(down bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = down
	if down {
		for _, c := range n.open {
			c.Close()
		}
		n.open = nil
	}
}

// Listen gives a listener; several share what is dialled.
func (n *Network) Listen() net.Listener { return &listener{n: n, shut: make(chan struct{})} }

// listener is the network's end at a server.
type listener struct {
	n    *Network
	shut chan struct{}
	once sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.n.conns:
		return c, nil
	case <-l.shut:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.shut) })
	return nil
}

func (l *listener) Addr() net.Addr { return &net.TCPAddr{} }

// wire is one end of a connection.
type wire struct {
	n       *Network
	in, out *pipe
	from    string
}

func (w *wire) Read(p []byte) (int, error) { return w.in.read(p) }

func (w *wire) Write(p []byte) (int, error) {
	w.n.mu.Lock()
	w.n.writes++
	cut, delay := w.n.writes == w.n.cut, w.n.delay
	w.n.mu.Unlock()
	if !cut {
		return w.out.write(p, delay)
	}
	k, err := w.out.write(p[:len(p)/2], delay)
	return k, errors.Join(errors.New("connection reset"), err, w.Close())
}

func (w *wire) Close() error {
	w.in.end(net.ErrClosed)
	w.out.end(io.EOF)
	return nil
}

func (w *wire) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (w *wire) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.ParseIP(w.from), Port: 4000} }
func (w *wire) SetWriteDeadline(time.Time) error { return nil } // a write never waits
func (w *wire) SetReadDeadline(t time.Time) error {
	w.in.until(t)
	return nil
}
func (w *wire) SetDeadline(t time.Time) error { return w.SetReadDeadline(t) }

// pipe is one direction.
type pipe struct {
	mu       sync.Mutex
	pieces   []piece
	over     error // after the pieces
	deadline time.Time
	wake     chan struct{} // closed at each change
}

type piece struct {
	at   time.Time // when it arrives
	data []byte
}

func newPipe() *pipe { return &pipe{wake: make(chan struct{})} }

// change does f under the lock and wakes the reader.
func (p *pipe) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	close(p.wake)
	p.wake = make(chan struct{})
}

func (p *pipe) until(t time.Time) { p.change(func() { p.deadline = t }) }

func (p *pipe) end(why error) {
	p.change(func() {
		if p.over == nil {
			p.over = why
		}
		if errors.Is(why, net.ErrClosed) {
			p.pieces, p.over = nil, why // the reader itself closed
		}
	})
}

func (p *pipe) write(b []byte, delay time.Duration) (n int, err error) {
	p.change(func() {
		if p.over != nil {
			err = io.ErrClosedPipe
			return
		}
		n = len(b)
		p.pieces = append(p.pieces, piece{time.Now().Add(delay), append([]byte(nil), b...)})
	})
	return n, err
}

func (p *pipe) read(b []byte) (int, error) {
	for {
		p.mu.Lock()
		now, wait := time.Now(), time.Duration(-1)
		switch {
		case !p.deadline.IsZero() && !now.Before(p.deadline):
			p.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		case len(p.pieces) > 0 && !now.Before(p.pieces[0].at):
			n := copy(b, p.pieces[0].data)
			if p.pieces[0].data = p.pieces[0].data[n:]; len(p.pieces[0].data) == 0 {
				p.pieces = p.pieces[1:]
			}
			p.mu.Unlock()
			return n, nil
		case len(p.pieces) == 0 && p.over != nil:
			defer p.mu.Unlock()
			return 0, p.over
		case len(p.pieces) > 0:
			wait = p.pieces[0].at.Sub(now)
		}
		if !p.deadline.IsZero() && (wait < 0 || p.deadline.Sub(now) < wait) {
			wait = p.deadline.Sub(now)
		}
		wake := p.wake
		p.mu.Unlock()
		if wait < 0 {
			<-wake
			continue
		}
		t := time.NewTimer(wait)
		select {
		case <-wake:
		case <-t.C:
		}
		t.Stop()
	}
}
