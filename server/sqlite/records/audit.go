package records

import (
	"bytes"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/sqlite/session"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// link is the hash of an entry: SHA-256 over the hash before it (nothing for the first), the number, the body.
func link(before []byte, seq int64, body []byte) []byte {
	h := sha256.New()
	h.Write(before)
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(seq)))
	h.Write(body)
	return h.Sum(nil)
}

func (t *Tx) AppendAudit(a conductor.Audit) error {
	body, err := session.Encode("audit entry", a)
	if err != nil {
		return err
	}
	var seq int64
	var before []byte
	if err := t.Row("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1", nil, &seq, &before); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	seq++
	_, err = t.Exec("INSERT INTO audit (seq, body, hash) VALUES (?, ?, ?)", seq, body, link(before, seq, []byte(body)))
	return err
}

// Head is the end of the audit's chain. Who writes it down elsewhere can later tell whether what came before was
// changed: the chain itself has no key, so whoever may write the database could rebuild all of it.
type Head struct {
	Entries int64
	Hash    string // hex; "" without entries
}

// VerifyAudit walks the audit from its first entry, calls each for every one (each may be nil) and checks that none was
// changed, removed or put in between (I27). What does not fit is an internal fault naming the first wrong entry.
func (t *Tx) VerifyAudit(each func(conductor.Audit) error) (head Head, err error) {
	var before []byte
	err = t.Rows("SELECT seq, body, hash FROM audit ORDER BY seq", nil, func(scan func(...any) error) error {
		var seq int64
		var body, hash sql.RawBytes
		if err := scan(&seq, &body, &hash); err != nil {
			return err
		}
		head.Entries++
		if seq != head.Entries {
			return fault.New(fault.InternalError, "the audit lacks entry %d", head.Entries)
		}
		if before = link(before, seq, body); !bytes.Equal(before, hash) {
			return fault.New(fault.InternalError, "audit entry %d is not the one that was written", seq)
		}
		if each == nil {
			return nil
		}
		var a conductor.Audit
		if err := json.Unmarshal(body, &a); err != nil {
			return err
		}
		return each(a)
	})
	if err != nil {
		return head, err
	}
	// SQLite keeps the highest number ever given: a cut-off end shows by it.
	var last int64
	if err := t.Row("SELECT seq FROM sqlite_sequence WHERE name = 'audit'", nil, &last); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return head, err
	}
	if last != head.Entries {
		return head, fault.New(fault.InternalError, "the audit ends at entry %d, it had %d", head.Entries, last)
	}
	head.Hash = hex.EncodeToString(before)
	return head, nil
}
