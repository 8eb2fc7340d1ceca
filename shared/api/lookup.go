package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/bessemer-metal/bessemer/shared/inventory"
)

// inventoryField is the key of what a lookup mostly is.
const inventoryField = "inventory"

// none stands where there is no inventory.
const none = "null"

// EncodeLookup is a lookup as an agent sends it, each time that it is told to come back: its inventory, which is JSON
// already, is not looked through again.
func EncodeLookup(q LookupRequest) ([]byte, error) {
	raw := q.Inventory
	q.Inventory = nil
	b, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	const last = none + "}" // the field that the inventory is
	head, ok := bytes.CutSuffix(b, []byte(last))
	if !ok {
		return nil, fmt.Errorf("a lookup ends in %.20q", b[max(0, len(b)-20):])
	}
	out := make([]byte, 0, len(head)+len(raw)+1)
	return append(append(append(out, head...), raw...), '}'), nil
}

// ReadLookup reads the body of a lookup; size is how many bytes are announced, -1 if none are. The faults are those of
// Decode's reading.
func ReadLookup(r io.Reader, size int64) ([]byte, error) { return read(r, MaxLookup, size) }

// DecodeLookup is Decode for a lookup and the inventory in it, which is most of it: that is decoded once, and v.Inventory
// is the bytes as they came. A body that can't be decoded by a peer of another protocol version is refused for the
// version: such a peer may well send fields that this one does not know, and is to hear of the version rather than of
// them. Without an inventory v.Inventory is empty, which v.Check refuses. v keeps the body.
func DecodeLookup(body []byte, v *LookupRequest, inv *inventory.Inventory) error {
	if err := bounded(body); err != nil {
		return err
	}
	if err := lookup(body, v, inv); err != nil {
		return otherVersion(body, err)
	}
	return CheckProtocol(v.Protocol)
}

// lookup decodes the inventory where it stands, and the rest with null in its place. Both being JSON, the body is.
func lookup(body []byte, v *LookupRequest, inv *inventory.Inventory) error {
	start, end := member(body, inventoryField)
	if start == end { // none, or its key is spelled in a way that only the decoder reads
		err := strict(body, v)
		if err == nil && len(v.Inventory) > 0 {
			err = strict(v.Inventory, inv)
		}
		return err
	}
	rest := make([]byte, 0, len(body)-(end-start)+len(none))
	rest = append(append(append(rest, body[:start]...), none...), body[end:]...)
	if err := strict(rest, v); err != nil {
		return err
	}
	if string(v.Inventory) != none {
		return invalid("%s is there more than once", inventoryField)
	}
	v.Inventory = body[start:end:end]
	return strict(v.Inventory, inv)
}

// otherVersion tells of the protocol version what could not be decoded for another reason.
func otherVersion(body []byte, why error) error {
	var peek struct {
		Protocol int `json:"protocol"`
	}
	if err := json.Unmarshal(body, &peek); err != nil {
		return malformed(err)
	}
	if err := CheckProtocol(peek.Protocol); err != nil {
		return err
	}
	return why
}

// member finds the value of the last member of that name of the object that body is, without white space around it;
// start and end are equal when there is none. Like bounded it need not understand JSON fully.
func member(body []byte, name string) (start, end int) {
	depth, text, from := 0, -1, -1
	key := []byte(`"` + name + `"`)
	for i := 0; i < len(body); i++ {
		c := body[i]
		if text >= 0 {
			switch c {
			case '\\':
				i++
			case '"':
				if depth == 1 && from < 0 && bytes.Equal(body[text:i+1], key) {
					if n := i + 1 + spaces(body[i+1:]); n < len(body) && body[n] == ':' {
						from = n + 1
						i = n
					}
				}
				text = -1
			}
			continue
		}
		switch c {
		case '"':
			text = i
		case '[', '{':
			depth++
		case ']', '}', ',':
			if depth == 1 && from >= 0 {
				value := bytes.TrimSpace(body[from:i])
				start = from + spaces(body[from:])
				end, from = start+len(value), -1
			}
			if c != ',' {
				depth--
			}
		}
	}
	return start, end
}

func spaces(b []byte) int { return len(b) - len(bytes.TrimLeft(b, " \t\r\n")) }
