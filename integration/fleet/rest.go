package fleet

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// callers is how many requests to the REST API are open at once.
const callers = 32

// each does act for every machine; the first error ends it.
func (f *Fleet) each(ctx context.Context, act func(context.Context, *machine) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	todo := make(chan *machine)
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for m := range todo {
				if err := act(ctx, m); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, m := range f.machines {
		if ctx.Err() != nil {
			break
		}
		todo <- m
	}
	close(todo)
	wg.Wait()
	return context.Cause(ctx)
}

func (f *Fleet) name(m *machine) string { return fmt.Sprintf("%s%d", f.Prefix, m.number) }

// Register makes the nodes that the server does not have yet, each with a port.
func (f *Fleet) Register(ctx context.Context) error {
	return f.each(ctx, func(ctx context.Context, m *machine) error {
		_, err := f.API.CreateNode(ctx, map[string]any{
			"uuid": string(m.node), "name": f.name(m), "driver": "fake-hardware", "resource_class": "simulated",
			"deploy_interface": "direct", "inspect_interface": "agent", // an agent does the work; the default only pretends
		})
		if err == nil {
			_, err = f.API.CreatePort(ctx, map[string]any{"node_uuid": string(m.node), "address": MAC(m.number)})
		}
		if fault.Is(err, fault.Conflict) {
			return nil // it was made by an earlier run
		}
		return err
	})
}

// Manage takes the nodes under management, and waits until they are.
func (f *Fleet) Manage(ctx context.Context) error {
	return f.verb(ctx, "manage", []state.State{state.Enroll, state.Available, state.CleanFail}, state.Verifying, state.Enroll)
}

// Provide asks for the automated cleaning of every node. It does not wait: the machines are powered on meanwhile.
func (f *Fleet) Provide(ctx context.Context) error {
	return f.verb(ctx, "provide", []state.State{state.Manageable})
}

// CleanAgain asks for a cleaning of the nodes that are clean. One that failed stays so, for all to see.
func (f *Fleet) CleanAgain(ctx context.Context) error {
	if err := f.verb(ctx, "manage", []state.State{state.Available}); err != nil {
		return err
	}
	return f.Provide(ctx)
}

// verb asks the nodes in the states from for a verb, and waits until none is in one of the states while.
func (f *Fleet) verb(ctx context.Context, verb string, from []state.State, while ...state.State) error {
	now, err := f.states(ctx, from...)
	if err != nil {
		return err
	}
	err = f.each(ctx, func(ctx context.Context, m *machine) error {
		if !slices.Contains(from, now[m.node]) {
			return nil
		}
		return f.API.Provision(ctx, string(m.node), api.Provision{Target: verb})
	})
	for err == nil && len(while) > 0 {
		var left map[api.NodeID]state.State
		if left, err = f.states(ctx, while...); err != nil || len(left) == 0 {
			break
		}
		err = pause(ctx, max(time.Second, time.Duration(f.Nodes)*time.Millisecond/4)) // the list of many is work for both
	}
	if err != nil {
		return fmt.Errorf("%s the nodes: %w", verb, err)
	}
	return nil
}

// states gives the fleet's nodes that are in one of the states; none given is all.
func (f *Fleet) states(ctx context.Context, in ...state.State) (map[api.NodeID]state.State, error) {
	out := map[api.NodeID]state.State{}
	filters := []url.Values{}
	for _, s := range in {
		filters = append(filters, url.Values{"provision_state": {string(s)}})
	}
	if len(in) == 0 {
		filters = append(filters, nil)
	}
	for _, q := range filters {
		nodes, err := f.API.Nodes(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, n := range nodes {
			if f.byNode[api.NodeID(n.UUID)] != nil && n.ProvisionState != nil {
				out[api.NodeID(n.UUID)] = state.State(*n.ProvisionState)
			}
		}
	}
	return out, nil
}

// Idle waits until no node of the fleet is being cleaned.
func (f *Fleet) Idle(ctx context.Context) error {
	for {
		busy, err := f.states(ctx, state.Cleaning, state.CleanWait)
		if err != nil {
			return err
		}
		if len(busy) == 0 {
			return nil
		}
		if err := pause(ctx, 2*time.Second); err != nil {
			return err
		}
	}
}

// States counts the fleet's nodes by provision state.
func (f *Fleet) States(ctx context.Context) (map[string]int, error) {
	all, err := f.states(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string]int{}
	for _, s := range all {
		out[string(s)]++
	}
	return out, nil
}
