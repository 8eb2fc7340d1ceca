package medium

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
)

// The network block device protocol, newstyle, as far as a read-only export needs it
// (NetworkBlockDevice/nbd, doc/proto.md).
const (
	nbdMagic      = 0x4e42444d41474943
	nbdOption     = 0x49484156454f5054
	nbdOptReply   = 0x3e889045565a9
	nbdRequest    = 0x25609513
	nbdReply      = 0x67446698
	optExportName = 1
	optAbort      = 2
	optInfo       = 6
	optGo         = 7
	repAck        = 1
	repInfo       = 3
	repUnknown    = 1<<31 | 1
	flagsExport   = 0x3 // has flags, read-only
	flagFixed     = 0x3 // fixed newstyle, no zeroes
	cmdRead       = 0
	cmdDisconnect = 2
	errPermission = 1
	errIO         = 5
	errInvalid    = 22
	maxRead       = 32 << 20
)

// Image is what an Export serves.
type Image interface {
	io.ReaderAt
	Size() int64
}

// Export serves one image on a listener until Close.
type Export struct {
	image Image
	log   *slog.Logger
	ln    net.Listener
	wg    sync.WaitGroup
	mu    sync.Mutex
	conns map[net.Conn]struct{} // nil once closed
}

// NewExport starts serving; the listener belongs to the export from here on.
func NewExport(ln net.Listener, image Image, log *slog.Logger) *Export {
	e := &Export{image: image, log: log, ln: ln, conns: map[net.Conn]struct{}{}}
	e.wg.Go(e.accept)
	return e
}

// Close ends the service and waits for its connections. A read from the server that is under way ends with the
// context given to Open.
func (e *Export) Close() error {
	err := e.ln.Close()
	e.mu.Lock()
	for c := range e.conns {
		c.Close()
	}
	e.conns = nil
	e.mu.Unlock()
	e.wg.Wait()
	return err
}

func (e *Export) accept() {
	for {
		c, err := e.ln.Accept()
		if err != nil {
			return
		}
		e.mu.Lock()
		if e.conns == nil {
			e.mu.Unlock()
			c.Close()
			return
		}
		e.conns[c] = struct{}{}
		e.wg.Go(func() { e.serve(c) })
		e.mu.Unlock()
	}
}

func (e *Export) serve(c net.Conn) {
	defer func() {
		c.Close()
		e.mu.Lock()
		delete(e.conns, c)
		e.mu.Unlock()
	}()
	r, w := bufio.NewReader(c), bufio.NewWriter(c)
	err := e.negotiate(r, w)
	for err == nil {
		err = e.answer(r, w)
	}
	if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
		e.log.Warn("virtual medium: connection to QEMU ended", "err", err)
	}
}

func put(w io.Writer, fields ...any) error {
	for _, f := range fields {
		if err := binary.Write(w, binary.BigEndian, f); err != nil {
			return err
		}
	}
	return nil
}

// negotiate agrees on the one export there is, whatever its name; it returns nil when transmission begins.
func (e *Export) negotiate(r *bufio.Reader, w *bufio.Writer) error {
	if err := errors.Join(put(w, uint64(nbdMagic), uint64(nbdOption), uint16(flagFixed)), w.Flush()); err != nil {
		return err
	}
	var client uint32
	if err := binary.Read(r, binary.BigEndian, &client); err != nil {
		return err
	}
	for {
		var o struct {
			Magic        uint64
			Option, Size uint32
		}
		if err := binary.Read(r, binary.BigEndian, &o); err != nil {
			return err
		}
		if o.Magic != nbdOption || o.Size > 1<<16 {
			return fmt.Errorf("negotiate: malformed option %d of %d bytes", o.Option, o.Size)
		}
		if _, err := r.Discard(int(o.Size)); err != nil {
			return err
		}
		reply := func(kind uint32, data ...byte) error {
			return put(w, uint64(nbdOptReply), o.Option, kind, uint32(len(data)), data)
		}
		switch o.Option {
		case optExportName:
			err := put(w, uint64(e.image.Size()), uint16(flagsExport))
			if client&2 == 0 { // the client wants the 124 zeroes of old
				err = errors.Join(err, put(w, make([]byte, 124)))
			}
			return errors.Join(err, w.Flush())
		case optInfo, optGo:
			err := errors.Join(reply(repInfo, e.info()...), reply(repAck), w.Flush())
			if err != nil || o.Option == optGo {
				return err
			}
		case optAbort:
			return errors.Join(reply(repAck), w.Flush(), io.EOF)
		default:
			if err := errors.Join(reply(repUnknown), w.Flush()); err != nil {
				return err
			}
		}
	}
}

// info is the reply's NBD_INFO_EXPORT: kind 0, size, flags.
func (e *Export) info() []byte {
	b := binary.BigEndian.AppendUint64([]byte{0, 0}, uint64(e.image.Size()))
	return binary.BigEndian.AppendUint16(b, flagsExport)
}

func (e *Export) answer(r *bufio.Reader, w *bufio.Writer) error {
	var q struct {
		Magic          uint32
		Flags, Command uint16
		Handle, Offset uint64
		Length         uint32
	}
	if err := binary.Read(r, binary.BigEndian, &q); err != nil {
		return err
	}
	if q.Magic != nbdRequest {
		return fmt.Errorf("request with magic %#x", q.Magic)
	}
	fail := uint32(0)
	var b []byte
	switch {
	case q.Command == cmdDisconnect:
		return io.EOF
	case q.Command != cmdRead:
		fail = errPermission
		if q.Command == 1 { // a write carries its data
			if _, err := r.Discard(int(q.Length)); err != nil {
				return err
			}
		}
	case q.Length > maxRead || q.Offset+uint64(q.Length) > uint64(e.image.Size()):
		fail = errInvalid
	default:
		b = make([]byte, q.Length)
		if _, err := e.image.ReadAt(b, int64(q.Offset)); err != nil {
			e.log.Warn("virtual medium: read failed", "offset", q.Offset, "bytes", q.Length, "err", err)
			fail, b = errIO, nil
		}
	}
	return errors.Join(put(w, uint32(nbdReply), fail, q.Handle, b), w.Flush())
}
