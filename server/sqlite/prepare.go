package sqlite

import (
	"context"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/sqlite/nodes"
)

// Prepare sets how rows are prepared from now on. It is called once, before anything else uses the store; PrepareRows
// then makes those of another form.
func (s *Store) Prepare(form string, row func(n *conductor.Node) ([]byte, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.preparer = nodes.NewPreparer(form, row)
}

// PrepareRows prepares the rows of another form: those that an older program wrote, or one with other rules of what may
// be shown; and those that were lost. Until then lists decode these nodes, so it runs while the store is in use, in
// transactions so short that they hold nobody up. Called again after an error it goes on.
func (s *Store) PrepareRows(ctx context.Context) error {
	s.mu.Lock()
	p := s.preparer
	s.mu.Unlock()
	if done, err := s.allPrepared(ctx, p); done || err != nil {
		return err
	}
	const batch = 50
	for after := int64(0); ; {
		var n int
		var last int64
		var lost []conductor.NodeID
		err := s.update(ctx, func(t *tx) (err error) {
			n, last, lost, err = t.PrepareNext(after, batch)
			return err
		})
		for _, id := range lost {
			s.cfg.Log.Warn("the row of a node in lists was lost; made anew from the node", "node", id, "err", err)
		}
		if err != nil || n < batch {
			return err
		}
		after = last
	}
}

// allPrepared tells whether every node has its row. It is asked of a reader: the writer would keep what it read in its cache,
// which is large.
func (s *Store) allPrepared(ctx context.Context, p *nodes.Preparer) (all bool, err error) {
	err = s.view(ctx, func(t *tx) (err error) {
		all, err = t.AllPrepared(p)
		return err
	})
	return all, err
}

// RowsWorn gets a token when somebody who read prepared rows found that some were lost or damaged: MendRows is to be called.
func (s *Store) RowsWorn() <-chan struct{} { return s.worn }

// MendRows looks at all prepared rows and makes those anew that were lost or damaged, each with a line in the log. Nodes are only
// read.
func (s *Store) MendRows(ctx context.Context) error {
	all, err := s.wornRows(ctx)
	if err != nil {
		return err
	}
	err = s.update(ctx, func(t *tx) error {
		for _, w := range all {
			if err := t.Discard(w); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, w := range all {
		if w.Damage != nodes.RowLost { // PrepareRows tells of those
			s.cfg.Log.Warn("the row of a node in lists was damaged; made anew from the node", "node", w.Node, "damage", w.Damage)
		}
	}
	return s.PrepareRows(ctx)
}

// WornRows counts the prepared rows that were lost or damaged, and has them mended if there are any.
func (s *Store) WornRows(ctx context.Context) (int, error) {
	all, err := s.wornRows(ctx)
	if len(all) > 0 {
		select {
		case s.worn <- struct{}{}:
		default:
		}
	}
	return len(all), err
}

func (s *Store) wornRows(ctx context.Context) (all []nodes.Worn, err error) {
	err = s.view(ctx, func(t *tx) (err error) {
		all, err = nodes.FindWorn(func(q string, each func(scan func(...any) error) error) error { return t.Rows(q, nil, each) })
		return err
	})
	return all, err
}
