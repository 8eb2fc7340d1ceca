package sqlite

import (
	"context"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/sqlite/records"
)

// VerifyAudit is that of records, in a view.
func (s *Store) VerifyAudit(ctx context.Context, each func(conductor.Audit) error) (head records.Head, err error) {
	err = s.View(ctx, func(ct conductor.Tx) (err error) {
		head, err = ct.(*tx).VerifyAudit(each)
		return err
	})
	return head, err
}

// Audited calls each for every entry of an audit that verifies.
func (s *Store) Audited(ctx context.Context, each func(conductor.Audit) error) error {
	_, err := s.VerifyAudit(ctx, each)
	return err
}
