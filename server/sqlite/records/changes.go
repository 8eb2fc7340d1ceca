package records

import (
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/sqlite/session"
)

// How long the journal is, in entries, and how often it is pruned: as the trigger changes_pruned has them.
const (
	KeptChanges = 500_000
	PruneEvery  = 4096
)

// seenBy selects the changes that a project is told of.
const seenBy = "(owner = ? OR lessee = ? OR was_owner = ? OR was_lessee = ?)"

func (t *Tx) Changes(f conductor.ChangeFilter) ([]conductor.Change, conductor.Position, error) {
	pos, err := t.position()
	if err != nil {
		return nil, pos, err
	}
	where, args := "seq > ?", []any{f.After}
	and := func(cond string, a ...any) { where, args = where+" AND "+cond, append(args, a...) }
	project := []any{session.Text(f.VisibleTo), session.Text(f.VisibleTo), session.Text(f.VisibleTo), session.Text(f.VisibleTo)}
	if f.Until > 0 {
		and("seq <= ?", f.Until)
	}
	if f.Node != "" {
		and("node = ?", session.Text(string(f.Node)))
	}
	if f.VisibleTo != "" {
		and(seenBy, project...)
	}
	if f.Told {
		and("told = 1")
	}
	switch {
	case f.Newest && f.VisibleTo != "":
		and("NOT EXISTS (SELECT 1 FROM changes later WHERE later.node = changes.node AND later.seq > changes.seq AND "+seenByLater+")", project...)
	case f.Newest:
		and("NOT EXISTS (SELECT 1 FROM changes later WHERE later.node = changes.node AND later.seq > changes.seq)")
	}
	q := `SELECT seq, node, name, state, target, power, maintenance, last_error, at, gone, told, owner, lessee, was_owner, was_lessee
		FROM changes WHERE ` + where + " ORDER BY seq"
	if f.Limit > 0 {
		q, args = q+" LIMIT ?", append(args, f.Limit)
	}
	var out []conductor.Change
	err = t.Rows(q, args, func(scan func(...any) error) error {
		var c conductor.Change
		var at string
		if err := scan(&c.Seq, &c.Node, &c.Name, &c.State, &c.Target, &c.Power, &c.Maintenance, &c.LastError, &at, &c.Gone, &c.Told,
			&c.Owner, &c.Lessee, &c.WasOwner, &c.WasLessee); err != nil {
			return err
		}
		if at != "" {
			var err error
			if c.At, err = time.Parse(time.RFC3339Nano, at); err != nil {
				return err
			}
		}
		out = append(out, c)
		return nil
	})
	pos.Upto = max(f.After, pos.Last)
	if f.Limit > 0 && len(out) == f.Limit {
		pos.Upto = out[len(out)-1].Seq
	}
	return out, pos, err
}

// seenByLater is seenBy of the entries called later.
var seenByLater = strings.NewReplacer("owner =", "later.owner =", "lessee =", "later.lessee =", "was_owner =", "later.was_owner =", "was_lessee =", "later.was_lessee =").Replace(seenBy)

func (t *Tx) position() (p conductor.Position, err error) {
	if err := t.Row("SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'changes'), 0)", nil, &p.Last); err != nil {
		return p, err
	}
	p.First = max(0, p.Last/PruneEvery*PruneEvery-KeptChanges)
	p.Epoch, err = t.Setting(conductor.SettingEpoch)
	return p, err
}
