package nodewire

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest/mask"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// Lists of nodes are put together from prepared rows: the values of all fields as JSON, secrets masked, which the store
// keeps beside each node and writes with it. A list takes the values that it shows and copies them. What depends on the
// request (links, names of states in old versions, the server's host name) and what is kept in memory (when a ramdisk was
// heard) is filled in; steps in progress are looked up.

// Preparer makes the rows. Two programs whose Form is equal make equal rows of equal nodes.
type Preparer struct {
	wire *Wire
	form string
}

// driversOnly is a backend that knows the hardware types, which is all that showing a node needs.
type driversOnly struct {
	Backend
	drivers []conductor.Driver
}

func (d driversOnly) Drivers() []conductor.Driver { return d.drivers }

// RamdiskHeard is filled in when a row is shown.
func (d driversOnly) RamdiskHeard(conductor.NodeID) time.Time { return time.Time{} }

// preparedFormat grows with every change of a row's layout, or of what may be in it.
const preparedFormat = 2

// NewPreparer makes the preparer for these hardware types. What they say is secret is a part of the form: with other
// ones, old rows are not shown.
func NewPreparer(drivers []conductor.Driver) (*Preparer, error) {
	w := New(driversOnly{drivers: drivers}, "", "")
	rules, err := json.Marshal([]any{preparedFormat, api.NodeFields(), w.sealed, w.interfaces, api.SecretWords(), mask.CommonInfo})
	if err != nil {
		return nil, err
	}
	p := &Preparer{wire: w}
	// A sample too, as what is shown is code.
	sample := conductor.Node{UUID: "u", Name: "n", State: state.Active, Driver: "redfish",
		DriverInfo:   map[string]any{"x": "y", "password": 1, "deploy_kernel": "https://u:p@h/", "m": map[string]any{"token": "t"}},
		InstanceInfo: map[string]any{"configdrive": "c", "image_url": "i", "l": []any{map[string]any{"secret": "s"}}}, Ramdisk: &conductor.Ramdisk{Given: time.Unix(1, 0), URL: "r"}}
	row, err := p.Row(&sample)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(append(rules, row...))
	p.form = hex.EncodeToString(sum[:8])
	return p, nil
}

// Form names the rules that rows are made by.
func (p *Preparer) Form() string { return p.form }

// The parts of a row that are not a field's value as it is shown.
var (
	linkFields = map[string]string{"links": "", "ports": "/ports", "states": "/states", "portgroups": "/portgroups", "volume": "/volume"}
	stepFields = []string{"clean_step", "deploy_step", "service_step"}
)

// The marks of a row.
const (
	inFlow    byte = 1 << iota // the node is in a flow: it may have a step in progress
	inRamdisk                  // driver_internal_info tells of a ramdisk; before it stands when that got its token (givenSize)
)

const givenSize = 8 // bytes of a time, nanoseconds since 1970, big endian

// Row is a node's prepared row: a byte of marks, then for each field of the table the length of its value and the value.
func (p *Preparer) Row(n *conductor.Node) ([]byte, error) {
	c := &serve.Call{Version: api.MaxVersion}
	shown := reflect.ValueOf(p.wire.masked(c, *n))
	row := make([]byte, 1, 2048)
	if _, ok := state.FlowOf(n.State); ok {
		row[0] |= inFlow
	}
	if n.Ramdisk != nil {
		row[0] |= inRamdisk
	}
	var value []byte
	var err error
	for _, f := range p.wire.Shape.Fields {
		value = value[:0]
		_, link := linkFields[f.Name]
		switch {
		case link || f.Name == "conductor" || slices.Contains(stepFields, f.Name):
		case f.Name == "reservation":
			if conductor.Busy(*n) {
				value = append(value, '1')
			}
		default:
			if f.Name == "driver_internal_info" && n.Ramdisk != nil {
				value = binary.BigEndian.AppendUint64(value, uint64(n.Ramdisk.Given.UnixNano()))
			}
			if value, err = shape.AppendValue(value, p.wire.Shape.Value(shown, f.Name)); err != nil {
				return nil, fmt.Errorf("prepare field %s: %w", f.Name, err)
			}
		}
		row = binary.AppendUvarint(row, uint64(len(value)))
		row = append(row, value...)
	}
	return row, nil
}

// piece is what a list writes for a field: the key, then the row's value or what make gives for it.
type piece struct {
	skip bool
	key  string
	make func(b []byte, uuid, value string, marks byte) []byte
	step bool // a step in progress; "{}" outside a flow
}

// pieces is one for each field of the table.
func (w *Wire) pieces(c *serve.Call, sel shape.Selection) []piece {
	quoted, _ := shape.AppendText(nil, c.Base)
	base := string(quoted[1 : len(quoted)-1])
	host, _ := shape.AppendText(nil, w.hostname)
	out := make([]piece, len(w.Shape.Fields))
	wanted := map[string]bool{}
	for _, name := range sel.Names {
		wanted[name] = true
	}
	for i, f := range w.Shape.Fields {
		p := piece{skip: !wanted[f.Name], key: `,"` + f.Name + `":`}
		if below, ok := linkFields[f.Name]; ok {
			self, mark, end := `[{"href":"`+base+`/v1/nodes/`, below+`","rel":"self"},{"href":"`+base+`/nodes/`, below+`","rel":"bookmark"}]`
			p.make = func(b []byte, uuid, _ string, _ byte) []byte {
				return append(append(append(append(append(b, self...), uuid...), mark...), uuid...), end...)
			}
		}
		switch f.Name {
		case "conductor":
			p.make = func(b []byte, _, _ string, _ byte) []byte { return append(b, host...) }
		case "reservation":
			p.make = func(b []byte, _, value string, _ byte) []byte {
				if len(value) == 0 {
					return append(b, "null"...)
				}
				return append(b, host...)
			}
		case "driver_internal_info":
			p.make = func(b []byte, uuid, value string, marks byte) []byte {
				if marks&inRamdisk == 0 || len(value) < givenSize {
					return append(b, value...)
				}
				given, value := time.Unix(0, int64(binary.BigEndian.Uint64([]byte(value[:givenSize])))), value[givenSize:]
				at := heardText(w.backend.RamdiskHeard(conductor.NodeID(uuid)), given)
				if at == "" {
					return append(b, value...)
				}
				// The first of its keys, as keys are sorted; there is always another, as there is a token.
				return append(append(append(append(b, `{"`+lastHeartbeat+`":"`...), at...), `",`...), value[1:]...)
			}
		case "provision_state", "target_provision_state":
			if c.Version < 39 {
				p.make = func(b []byte, _, value string, _ byte) []byte {
					if value[0] != '"' {
						return append(b, value...) // null
					}
					b, _ = shape.AppendValue(b, stateName(state.State(strings.Trim(value, `"`)), c.Version))
					return b
				}
			}
		}
		if p.step = slices.Contains(stepFields, f.Name); p.step {
			p.make = func(b []byte, _, _ string, _ byte) []byte { return append(b, "{}"...) }
		}
		out[i] = p
	}
	return out
}

// appendRow writes an object from a prepared row that is whole.
func appendRow(b []byte, pieces []piece, uuid, row string) []byte {
	from := len(b)
	marks := row[0]
	row = row[1:]
	for i := range pieces {
		n, used := valueSize(row)
		value := row[used : used+n]
		row = row[used+n:]
		p := &pieces[i]
		if p.skip {
			continue
		}
		b = append(b, p.key...)
		if p.make != nil {
			b = p.make(b, uuid, value, marks)
		} else {
			b = append(b, value...)
		}
	}
	if len(b) == from {
		return append(b, "{}"...)
	}
	b[from] = '{' // in place of the first comma
	return append(b, '}')
}

// whole tells whether a row has its marks and all its values.
func whole(row string, fields int) bool {
	if row == "" {
		return false
	}
	row = row[1:]
	for range fields {
		n, used := valueSize(row)
		if used == 0 || n > len(row)-used {
			return false
		}
		row = row[used+n:]
	}
	return true
}

// valueSize reads the length of the next value, as binary.AppendUvarint wrote it, and the bytes that it takes itself;
// 0: there is none.
func valueSize(row string) (n, used int) {
	if row != "" && row[0] < 0x80 { // nearly all are short
		return int(row[0]), 1
	}
	return longSize(row)
}

func longSize(row string) (n, used int) {
	for i := range min(len(row), 5) { // a row is shorter than 32 GiB
		n |= int(row[i]&0x7f) << (7 * i)
		if row[i] < 0x80 {
			return n, i + 1
		}
	}
	return 0, 0
}
