package main

import (
	"context"
	"time"
)

const rowsAgain = time.Minute // after a failure to make the rows of lists anew

// prepareRows makes the rows of node lists anew that another program wrote, once the stored work is taken up: nodes with
// open work are written then anyway, and nobody waits for the others. Then it mends what readers find damaged.
func (s *server) prepareRows(ctx context.Context, ready <-chan struct{}) {
	select {
	case <-ready:
	case <-ctx.Done():
		return
	}
	for work := s.store.PrepareRows; ; work = s.store.MendRows {
		for {
			err := work(ctx)
			if err == nil || ctx.Err() != nil {
				break
			}
			s.log.Warn("the rows of node lists are not all made anew; lists of those nodes are slower until they are", "again_in", rowsAgain, "err", err)
			select {
			case <-time.After(rowsAgain):
			case <-ctx.Done():
				return
			}
		}
		select {
		case <-s.store.RowsWorn():
		case <-ctx.Done():
			return
		}
	}
}
