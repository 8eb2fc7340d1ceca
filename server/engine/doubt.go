package engine

import (
	"context"
	"strconv"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/engine/retry"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// doubt makes every node unverified when the store says that its records are older than what was done since (I15, F35).
// The store keeps saying so until all are, so a stop in the middle starts over. Stored effects are dropped: they were
// decided on the same records.
func (eng *Engine) doubt(ctx context.Context) error {
	var why, epoch string
	var effects []conductor.Effect
	err := retry.View(ctx, eng.cfg.Store, eng.cfg.Log, func(tx conductor.Tx) (err error) {
		if why, err = tx.Setting(conductor.SettingDoubt); err != nil || why == "" {
			return err
		}
		if epoch, err = tx.Setting(conductor.SettingEpoch); err != nil {
			return err
		}
		effects, err = tx.Effects()
		return err
	})
	if err != nil || why == "" {
		return err
	}
	nodes, _, err := eng.nodeIDs(ctx)
	if err != nil {
		return err
	}
	n, err := strconv.ParseUint(epoch, 10, 32)
	if err != nil {
		return err
	}
	eng.cfg.Log.Error("the records may be older than the machines: nothing is done to any until its node is confirmed", "why", why, "nodes", len(nodes))
	all := make([]change, 0, len(effects)+len(nodes))
	for _, e := range effects {
		all = append(all, change{node: e.Node, more: func(tx conductor.Tx) error { return tx.DoneEffect(e.ID) }})
	}
	for _, id := range nodes {
		all = append(all, change{node: id, events: []conductor.Event{conductor.RecordsDoubted{Why: why, Floor: n * conductor.PerEpoch}}})
	}
	var left error
	err = eng.recoverAll(ctx, all, func(c change, err error) {
		eng.cfg.Log.Error("make a node unverified", "uuid", c.node, "err", err)
		left = err
	})
	if err != nil {
		return err
	}
	if left != nil {
		return left // fail closed: nothing is granted to anyone while one node is believed that should not be
	}
	return eng.stored(ctx, func() error {
		return eng.cfg.Store.Update(ctx, func(tx conductor.Tx) error { return tx.PutSetting(conductor.SettingDoubt, "") })
	})
}

// ConfirmNode takes an operator's word that the node's record is right; a node that is not in doubt stays as it is.
func (eng *Engine) ConfirmNode(ctx context.Context, who conductor.Caller, ident string) error {
	n, err := eng.Node(ctx, ident)
	if err != nil {
		return err
	}
	return eng.apply(ctx, n.UUID, conductor.RecordsConfirmed{Caller: who}, nil)
}

// fromLater takes a token of this server's that names a later boot than the record knows: the record is older than what
// was done since (I15). The token's signature was checked.
func (eng *Engine) fromLater(ctx context.Context, s conductor.Session, refusal error) error {
	if !fault.Has(refusal, fault.ChannelToken) {
		return refusal
	}
	n, err := eng.Node(ctx, string(s.Claims.Node))
	if err != nil || s.Claims.Generation <= n.Generation {
		return refusal
	}
	floor := (s.Claims.Generation/conductor.PerEpoch + 1) * conductor.PerEpoch
	why := "an agent has a token of this server for boot " + strconv.FormatUint(s.Claims.Generation, 10) +
		", but the record knows boots up to " + strconv.FormatUint(n.Generation, 10) + " only: it is older than the machine"
	if err := eng.apply(ctx, n.UUID, conductor.RecordsDoubted{Why: why, Floor: floor}, nil); err != nil {
		eng.cfg.Log.Error("make a node unverified", "uuid", n.UUID, "err", err)
	}
	return refusal
}
