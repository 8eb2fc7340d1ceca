package watch

import (
	"context"
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Journal is the backend's journal of changes.
type Journal interface {
	Changes(ctx context.Context, f conductor.ChangeFilter) ([]conductor.Change, conductor.Position, error)
}

// Cursor is a place in the journal as clients keep it: opaque to them.
type Cursor struct {
	Epoch string
	Seq   int64
}

func (c Cursor) String() string {
	return base64.RawURLEncoding.EncodeToString([]byte(c.Epoch + "." + strconv.FormatInt(c.Seq, 10)))
}

// maxCursor bounds a cursor that a client sends.
const maxCursor = 64

// ParseCursor reads one: request.invalid for what String has not made.
func ParseCursor(text string) (Cursor, error) {
	wrong := fault.New(fault.RequestInvalid, "%.70q is no cursor", text).WithHint("give back what the server gave, or leave it empty to begin anew")
	if len(text) > maxCursor {
		return Cursor{}, wrong
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	epoch, number, ok := strings.Cut(string(raw), ".")
	seq, numErr := strconv.ParseInt(number, 10, 64)
	if err != nil || !ok || numErr != nil || seq < 0 {
		return Cursor{}, wrong
	}
	return Cursor{epoch, seq}, nil
}

// At is the cursor of a place in the journal.
func At(p conductor.Position, seq int64) Cursor { return Cursor{p.Epoch, seq} }

// Lost tells that entries after the cursor are gone, or that it is of a journal that is.
func (c Cursor) Lost(p conductor.Position) bool {
	return c.Epoch != p.Epoch || c.Seq < p.First || c.Seq > p.Last
}
