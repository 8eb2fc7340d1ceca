package qemu

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
)

var errGone = errors.New("QEMU ended")

// monitor speaks QMP, QEMU's control protocol. One command is under way at a time.
type monitor struct {
	conn    net.Conn
	events  func(name string, data json.RawMessage)
	turn    sync.Mutex
	answers chan answer
	done    chan struct{} // closed when QEMU hung up
}

type answer struct {
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Class string `json:"class"`
		Desc  string `json:"desc"`
	} `json:"error"`
	Event    string          `json:"event"`
	Data     json.RawMessage `json:"data"`
	Greeting json.RawMessage `json:"QMP"`
}

// read delivers answers and events until QEMU hangs up; the owner of the process runs it.
func (m *monitor) read() {
	defer close(m.done)
	in := json.NewDecoder(bufio.NewReader(m.conn))
	for {
		var a answer
		if err := in.Decode(&a); err != nil {
			return
		}
		switch {
		case a.Greeting != nil:
		case a.Event != "":
			m.events(a.Event, a.Data)
		default:
			select {
			case m.answers <- a:
			default: // nobody waits any more
			}
		}
	}
}

// run executes a command and waits for its answer.
func (m *monitor) run(ctx context.Context, command string, arguments map[string]any) error {
	m.turn.Lock()
	defer m.turn.Unlock()
	if arguments == nil {
		arguments = map[string]any{}
	}
	b, err := json.Marshal(map[string]any{"execute": command, "arguments": arguments})
	if err != nil {
		return fmt.Errorf("QMP %s: %w", command, err)
	}
	if _, err := m.conn.Write(b); err != nil {
		return fmt.Errorf("QMP %s: %w", command, errGone)
	}
	select {
	case a := <-m.answers:
		if a.Error != nil {
			return fmt.Errorf("QMP %s: %s", command, a.Error.Desc)
		}
		return nil
	case <-m.done:
		return fmt.Errorf("QMP %s: %w", command, errGone)
	case <-ctx.Done():
		// The answer that is still to come would be taken for the next command's: the connection is of no more use.
		m.conn.Close()
		return fmt.Errorf("QMP %s: %w", command, ctx.Err())
	}
}
