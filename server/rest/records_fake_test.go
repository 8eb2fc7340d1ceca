package rest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// The records of the backend without a store: it selects by node, mark and plain fields, and sorts nothing.

func (b *backend) record(kind conductor.Kind, ident string) (int, error) {
	i := slices.IndexFunc(b.beside, func(r conductor.Record) bool {
		k := r.Keys()
		return k.Kind == kind && (k.UUID == ident || k.Name != "" && k.Name == ident)
	})
	if i < 0 {
		return i, kind.Missing(ident)
	}
	return i, nil
}

func (b *backend) Record(_ context.Context, kind conductor.Kind, ident string) (conductor.Record, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i, err := b.record(kind, ident)
	if err != nil {
		return nil, err
	}
	return b.beside[i], nil
}

func (b *backend) Records(_ context.Context, kind conductor.Kind, f conductor.RecordFilter) (out []conductor.Record, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = f
	from := 0
	if f.After != "" {
		if from, err = b.record(kind, f.After); err != nil {
			return nil, err
		}
		from++
	}
	for _, r := range b.beside[from:] {
		k, fields := r.Keys(), fieldsOf(r)
		fits := k.Kind == kind && (f.Node == "" || k.Node == f.Node) && (f.Mark == "" || k.Mark == f.Mark)
		if f.Owned && f.VisibleTo != "" {
			if fields["owner"] != f.VisibleTo && fields["public"] != true {
				continue
			}
		} else if at := b.at(string(k.Node)); f.VisibleTo != "" && (at < 0 || b.nodes[at].Owner != f.VisibleTo && b.nodes[at].Lessee != f.VisibleTo) {
			continue
		}
		for name, values := range f.Is {
			text, _ := fields[name].(string)
			fits = fits && slices.Contains(values, text)
		}
		if fits && (f.Limit == 0 || len(out) < f.Limit) {
			out = append(out, r)
		}
	}
	return out, nil
}

func fieldsOf(r conductor.Record) map[string]any {
	raw, _ := json.Marshal(r)
	m := map[string]any{}
	_ = json.Unmarshal(raw, &m)
	return m
}

func (b *backend) CreateRecord(_ context.Context, _ conductor.Caller, r conductor.Record) (conductor.Record, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if of := string(r.Keys().Node); of != "" && b.at(of) < 0 {
		return nil, fault.New(fault.RequestInvalid, "Node %s could not be found.", of)
	}
	if r.Top().UUID == "" {
		r.Top().UUID = fmt.Sprintf("00000000-0000-4000-9000-%012d", len(b.beside)+1)
	}
	r.Top().Created = now
	b.beside = append(b.beside, r)
	return r, nil
}

func (b *backend) UpdateRecord(_ context.Context, _ conductor.Caller, kind conductor.Kind, ident string, change func(conductor.Record) error) (conductor.Record, error) {
	b.mu.Lock()
	i, err := b.record(kind, ident)
	b.mu.Unlock() // change may ask for a node
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(b.beside[i])
	if err != nil {
		return nil, err
	}
	r := kind.Empty()
	if err := json.Unmarshal(raw, r); err != nil {
		return nil, err
	}
	if err := change(r); err != nil {
		return nil, err
	}
	r.Top().Updated = now.Add(time.Minute)
	b.beside[i] = r
	return r, nil
}

func (b *backend) DeleteRecord(_ context.Context, _ conductor.Caller, kind conductor.Kind, ident string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	i, err := b.record(kind, ident)
	if err == nil {
		b.beside = slices.Delete(b.beside, i, i+1)
	}
	return err
}

func (b *backend) NodeAllocation(ctx context.Context, ident string) (conductor.Allocation, error) {
	n, err := b.Node(ctx, ident)
	if err != nil {
		return conductor.Allocation{}, err
	}
	if n.Allocation == "" {
		return conductor.Allocation{}, fault.New(fault.AllocationNotFound, "Allocation for node %s was not found", ident)
	}
	r, err := b.Record(ctx, conductor.KindAllocation, n.Allocation)
	if err != nil {
		return conductor.Allocation{}, err
	}
	return *r.(*conductor.Allocation), nil
}

func (b *backend) Shards(context.Context) ([]conductor.Shard, error) {
	return []conductor.Shard{{Name: "s1", Count: 2}, {Count: 1}}, nil
}

// PreparedNodes begins twice, as a store does that was busy at first.
func (b *backend) PreparedNodes(ctx context.Context, f conductor.NodeFilter, form string, begin func() func(conductor.PreparedNode) error) error {
	nodes, err := b.Nodes(ctx, f)
	if err != nil {
		return err
	}
	for range 2 {
		each := begin()
		for _, n := range nodes {
			p := conductor.PreparedNode{UUID: string(n.UUID), Node: &n}
			if b.rows != nil && b.rows.Form() == form {
				row, err := b.rows.Row(&n)
				if err != nil {
					return err
				}
				if b.cut > 0 {
					row = row[:b.cut]
				}
				p.Row, p.Node = string(row), nil
			}
			if err := each(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// ready is a backend whose rows are in memory.
type ready struct {
	*backend
	ids, rows []string
}

func (r *ready) PreparedNodes(_ context.Context, _ conductor.NodeFilter, _ string, begin func() func(conductor.PreparedNode) error) error {
	each := begin()
	for i := range r.rows {
		if err := each(conductor.PreparedNode{UUID: r.ids[i], Row: r.rows[i]}); err != nil {
			return err
		}
	}
	return nil
}

func clock() time.Time { return now }

var quiet = slog.New(slog.DiscardHandler)
