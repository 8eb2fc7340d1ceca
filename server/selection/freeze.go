package selection

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// API is the part of the REST client that selecting needs. Nodes come as decoded JSON.
type API interface {
	// EachNode hands every node that the query of GET /v1/nodes gives to fn, page by page, until fn fails.
	EachNode(ctx context.Context, q url.Values, fn func(node map[string]any) error) error
	// NodeFields reads one node, only the named fields of it.
	NodeFields(ctx context.Context, node string, fields []string) (map[string]any, error)
}

// Node is a selected node as it was when it was selected.
type Node struct {
	UUID        string      `json:"uuid"`
	Name        string      `json:"name"` // "": it has none
	State       state.State `json:"provision_state"`
	Maintenance bool        `json:"maintenance"`
}

// Label is how a node is called: its name, or its UUID.
func (n Node) Label() string {
	if n.Name != "" {
		return n.Name
	}
	return n.UUID
}

// Selection is a frozen list of nodes. No run over it ever acts on a node that is not in it.
type Selection struct {
	Nodes []Node
	Where string // the expression that found them; "" for nodes that were named
	query Query
}

// basic are the fields that are always read.
var basic = []string{"uuid", "name", "provision_state", "maintenance"}

// Find freezes the nodes that an expression matches, in the order of the server's list.
func Find(ctx context.Context, a API, q Query) (Selection, error) {
	s := Selection{Where: q.String(), query: q}
	args := q.Filters()
	args.Set("fields", strings.Join(q.reads(), ","))
	err := a.EachNode(ctx, args, func(doc map[string]any) error {
		if q.Match(doc) {
			s.Nodes = append(s.Nodes, nodeOf(doc))
		}
		return nil
	})
	return s, err
}

// Named freezes nodes given by name or UUID, each once, in the order given. A node that does not exist fails it.
func Named(ctx context.Context, a API, idents []string) (Selection, error) {
	var s Selection
	for _, ident := range idents {
		doc, err := a.NodeFields(ctx, ident, basic)
		if err != nil {
			return s, err
		}
		n := nodeOf(doc)
		if !slices.ContainsFunc(s.Nodes, func(o Node) bool { return o.UUID == n.UUID }) {
			s.Nodes = append(s.Nodes, n)
		}
	}
	return s, nil
}

func (q Query) reads() []string {
	out := slices.Clone(basic)
	for _, f := range q.Fields() {
		if !slices.Contains(out, f) {
			out = append(out, f)
		}
	}
	return out
}

func nodeOf(doc map[string]any) Node {
	text := func(k string) string { s, _ := doc[k].(string); return s }
	m, _ := doc["maintenance"].(bool)
	return Node{UUID: text("uuid"), Name: text("name"), State: state.State(text("provision_state")), Maintenance: m}
}

// Outcome is what came of one node.
type Outcome string

// The outcomes, from good to bad.
const (
	Done    Outcome = "done"
	Skipped Outcome = "skipped" // nothing was asked of the node; Reason says why
	Failed  Outcome = "failed"
)

// Result is what came of one node of a run.
type Result struct {
	Node    Node    `json:"node"`
	Outcome Outcome `json:"outcome"`
	Reason  string  `json:"reason,omitempty"`
	Err     error   `json:"-"` // of a failed one
}

// Skip is the error with which an act says that it asked nothing of the node, and why.
type Skip struct{ Why string }

func (s *Skip) Error() string { return s.Why }

// Worst is the worst outcome of the results.
func Worst(all []Result) Outcome {
	worst := Done
	for _, r := range all {
		if r.Outcome == Failed || r.Outcome == Skipped && worst == Done {
			worst = r.Outcome
		}
	}
	return worst
}

// Run acts on each node of the selection, at most parallel at once, and gives the results in the selection's order.
// Each node is looked at again right before: one that has left the state it was selected in, or that the expression
// does not match any more, is skipped. One node's failure does not stop the others; nodes that were not begun when ctx
// ended are skipped.
func (s Selection) Run(ctx context.Context, a API, parallel int, act func(ctx context.Context, n Node) error) []Result {
	out := make([]Result, len(s.Nodes))
	slots := make(chan struct{}, max(1, parallel))
	var all sync.WaitGroup
	for i, n := range s.Nodes {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			out[i] = result(n, s.one(ctx, a, n, act))
		})
	}
	all.Wait()
	return out
}

func result(n Node, err error) Result {
	var skip *Skip
	switch {
	case err == nil:
		return Result{Node: n, Outcome: Done}
	case errors.As(err, &skip):
		return Result{Node: n, Outcome: Skipped, Reason: skip.Why}
	}
	return Result{Node: n, Outcome: Failed, Reason: err.Error(), Err: err}
}

func (s Selection) one(ctx context.Context, a API, n Node, act func(ctx context.Context, n Node) error) error {
	if ctx.Err() != nil {
		return &Skip{"the command was stopped before this node was begun"}
	}
	doc, err := a.NodeFields(ctx, n.UUID, s.query.reads())
	if fault.Has(err, fault.NodeNotFound) {
		return &Skip{"it was deleted after it was selected"}
	}
	if err != nil {
		return err
	}
	now := nodeOf(doc)
	switch {
	case now.State != n.State:
		return &Skip{fmt.Sprintf("it was %q when it was selected and is %q now", n.State, now.State)}
	case now.Maintenance && !n.Maintenance:
		return &Skip{"it was put into maintenance after it was selected"}
	case !s.query.Match(doc):
		return &Skip{fmt.Sprintf("it does not match %q any more", s.Where)}
	}
	return act(ctx, now)
}
