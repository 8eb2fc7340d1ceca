package records

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/server/rest/mask"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// allocations is the collection of allocations.
func (a *API) allocations() *collection {
	return &collection{
		Records: serve.Records{Kind: conductor.KindAllocation, Named: 52, Owned: true}, path: "allocations", since: 52, changes: 57, absent: true, full: true,
		listing: access.AllocationList, reading: access.AllocationRead, creating: access.AllocationCreate, changing: access.AllocationChange,
		shape: shape.New(api.Allocation{}, api.AllocationFields()), show: showAllocation, prepare: a.prepareAllocation, judge: judgeAllocation, fields: allocationSetters,
		filters: []recordFilter{
			{serve.Argument{Name: "node", Doc: "only the one that has this node"}, func(c *serve.Call, f *conductor.RecordFilter, v string) error {
				if _, err := shape.Ident(v); err != nil {
					return err
				}
				n, err := c.FindNode(v)
				if fault.Is(err, fault.NotFound) { // 400, as Ironic has it here
					return fault.New(fault.RequestInvalid, "Node %s could not be found.", v)
				}
				f.Node = n.UUID
				return err
			}},
			is("resource_class", 52), is("state", 52), is("owner", 60),
		},
	}
}

func showAllocation(c *serve.Call, r conductor.Record) any {
	a := r.(*conductor.Allocation)
	out := api.Allocation{
		UUID: a.UUID, Name: shape.OrNull(a.Name), ResourceClass: shape.OrNull(a.Class), Traits: append([]string{}, a.Traits...), CandidateNodes: []string{},
		Owner: shape.OrNull(a.Owner), NodeUUID: shape.OrNull(a.Node), State: a.State, LastError: shape.OrNull(a.LastError), Extra: shape.Object(a.Extra),
		Links: api.LinkPair(c.Base, "allocations/"+a.UUID),
	}
	for _, id := range a.Candidates {
		out.CandidateNodes = append(out.CandidateNodes, string(id))
	}
	out.CreatedAt, out.UpdatedAt = stamps(&a.Head)
	return out
}

// prepareAllocation takes node, which a create body may have though the object has none: an allocation for a node in
// use. Its UUID is the instance's unless another is given.
func (a *API) prepareAllocation(c *serve.Call, r conductor.Record, doc map[string]any) error {
	given := doc["node"]
	delete(doc, "node")
	if given == nil || given == "" {
		return nil
	}
	if c.Version < 58 {
		return fault.New(fault.RequestInvalid, "Cannot set node when creating an allocation in this API version")
	}
	text, _ := given.(string)
	if _, err := shape.Ident(text); err != nil {
		return err
	}
	id, err := c.BodyNode(text)
	if err != nil {
		return err
	}
	n, err := a.backend.Node(c.R.Context(), string(id))
	if fault.Is(err, fault.NotFound) {
		return fault.New(fault.RequestInvalid, "Node %s could not be found.", text)
	}
	if err != nil {
		return err
	}
	r.(*conductor.Allocation).Node = n.UUID
	if doc["uuid"] == nil && shape.IsUUID(n.InstanceUUID) {
		doc["uuid"] = n.InstanceUUID
	}
	return nil
}

// judgeAllocation gives a new one its owner.
func judgeAllocation(c *serve.Call, r conductor.Record, d document, names []string) (_ []string, err error) {
	a := r.(*conductor.Allocation)
	if a.State != "" {
		return names, nil
	}
	d["owner"], err = ownerOf(c, d, names)
	return append(slices.Clone(names), "owner"), err
}

var allocationSetters = setters[conductor.Allocation]{
	"resource_class": textTo(func(a *conductor.Allocation) *string { return &a.Class }),
	"traits": func(_ *serve.Call, a *conductor.Allocation, d document, field string) (err error) {
		if a.Traits, err = d.texts(field); err != nil {
			return err
		}
		for _, t := range a.Traits {
			if err := shape.CheckTrait(t); err != nil {
				return err
			}
		}
		return nil
	},
	"candidate_nodes": func(c *serve.Call, a *conductor.Allocation, d document, field string) error {
		nodes, err := d.texts(field)
		if err != nil {
			return err
		}
		a.Candidates = nil
		for _, id := range nodes {
			if _, err := shape.Ident(id); err != nil {
				return err
			}
			if err := c.MayRefer(id); err != nil {
				return err
			}
			a.Candidates = append(a.Candidates, conductor.NodeID(id))
		}
		return nil
	},
	"owner": textTo(func(a *conductor.Allocation) *string { return &a.Owner }),
	"extra": objectTo(func(a *conductor.Allocation) *map[string]any { return &a.Extra }),
}

// ownerOf is whose something new is: a project's users make what is the project's.
func ownerOf(c *serve.Call, d document, names []string) (string, error) {
	switch owner := d.text("owner"); {
	case c.Grant.Project == "":
		return owner, nil
	case slices.Contains(names, "owner") && owner != c.Grant.Project:
		return "", fault.New(fault.RequestForbidden, "the owner can only be the caller's own project, %s", c.Grant.Project)
	}
	return c.Grant.Project, nil
}

// texts is a list of strings.
func (d document) texts(name string) ([]string, error) {
	list, _ := d[name].([]any)
	var out []string
	for _, v := range list {
		t, ok := v.(string)
		if !ok {
			return nil, fault.New(fault.RequestInvalid, "%s must be a list of strings", name)
		}
		out = append(out, t)
	}
	return out, nil
}

// allocationOf finds the allocation that has a node, for who has the right to it: it is its own owner's, which need not
// be the node's. To who may not see it, there is none. The routes' own right is only for the node (access.NodeRead).
func (a *API) allocationOf(c *serve.Call, node string, need access.Right) (conductor.Allocation, error) {
	x, err := a.backend.NodeAllocation(c.R.Context(), node)
	if err != nil {
		return x, err
	}
	project, public := x.OwnedBy()
	verdict := c.Grant.On(access.Object{Owner: project, Public: public}, need)
	if verdict == access.Hidden {
		c.Denied(need, x.UUID)
		return conductor.Allocation{}, fault.New(fault.AllocationNotFound, "Allocation for node %s was not found", node)
	}
	return x, c.Judged(need, verdict, x.UUID)
}

// nodeAllocation shows the allocation that has a node.
func (a *API) nodeAllocation(c *serve.Call) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	k := a.collection(conductor.KindAllocation)
	sel, err := c.FieldsAsked(k.shape)
	if err != nil {
		return err
	}
	x, err := a.allocationOf(c, id, access.AllocationRead)
	if err != nil {
		return err
	}
	return a.sendRecord(c, k, http.StatusOK, &x, sel)
}

func (a *API) deleteNodeAllocation(c *serve.Call) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	x, err := a.allocationOf(c, id, access.AllocationChange)
	if err != nil {
		return err
	}
	if err := a.backend.DeleteRecord(c.R.Context(), c.Who, conductor.KindAllocation, x.UUID); err != nil {
		return err
	}
	return c.Empty(http.StatusNoContent)
}

// templates is the collection of deploy templates.
func templates() *collection {
	return &collection{
		Records: serve.Records{Kind: conductor.KindTemplate, Named: 55}, path: "deploy_templates", since: 55, absent: true, named: true,
		listing: access.TemplateRead, reading: access.TemplateRead, creating: access.TemplateChange, changing: access.TemplateChange, shape: shape.New(api.Template{}, api.TemplateFields()),
		show: func(c *serve.Call, r conductor.Record) any {
			t := r.(*conductor.Template)
			out := api.Template{UUID: t.UUID, Name: t.Name, Steps: []api.TemplateStep{}, Description: shape.OrNull(t.Description), Extra: shape.Object(t.Extra),
				Links: api.LinkPair(c.Base, "deploy_templates/"+t.UUID)}
			for _, s := range t.Steps {
				args, _ := mask.Deep(shape.Object(s.Args)).(map[string]any)
				out.Steps = append(out.Steps, api.TemplateStep{Interface: s.Interface, Step: s.Step, Args: args, Priority: s.Priority})
			}
			out.CreatedAt, out.UpdatedAt = stamps(&t.Head)
			return out
		},
		fields: setters[conductor.Template]{
			"name":        traitTo(func(t *conductor.Template) *string { return &t.Name }),
			"steps":       stepsTo("priority", func(t *conductor.Template) *[]conductor.RequestedStep { return &t.Steps }),
			"description": textTo(func(t *conductor.Template) *string { return &t.Description }),
			"extra":       objectTo(func(t *conductor.Template) *map[string]any { return &t.Extra }),
		},
	}
}

// runbooks is the collection of runbooks.
func runbooks() *collection {
	return &collection{
		Records: serve.Records{Kind: conductor.KindRunbook, Named: 92, Owned: true}, path: "runbooks", since: 92, absent: true, named: true,
		listing: access.RunbookList, reading: access.RunbookRead, creating: access.RunbookCreate, changing: access.RunbookChange, shape: shape.New(api.Runbook{}, api.RunbookFields()),
		show: func(c *serve.Call, r conductor.Record) any {
			b := r.(*conductor.Runbook)
			out := api.Runbook{UUID: b.UUID, Name: b.Name, Steps: []api.RunbookStep{}, DisableRamdisk: b.NoRamdisk, Public: b.Public,
				Owner: shape.OrNull(b.Owner), Extra: shape.Object(b.Extra), Links: api.LinkPair(c.Base, "runbooks/"+b.UUID)}
			for _, s := range b.Steps {
				args, _ := mask.Deep(shape.Object(s.Args)).(map[string]any)
				out.Steps = append(out.Steps, api.RunbookStep{Interface: s.Interface, Step: s.Step, Args: args, Order: s.Order})
			}
			out.CreatedAt, out.UpdatedAt = stamps(&b.Head)
			return out
		},
		judge: judgeRunbook, fields: runbookSetters,
	}
}

// judgeRunbook keeps a runbook either public or somebody's.
func judgeRunbook(c *serve.Call, r conductor.Record, d document, names []string) (_ []string, err error) {
	b := r.(*conductor.Runbook)
	publishes := slices.Contains(names, "public") && d.flag("public")
	if c.Grant.Project != "" { // of one project it stays
		if publishes {
			return nil, fault.New(fault.RequestForbidden, "Cannot make a runbook public as a user of a project")
		}
		if d["owner"], err = ownerOf(c, d, names); err != nil {
			return nil, err
		}
		names = append(slices.Clone(names), "owner")
	}
	if owned := slices.Contains(names, "owner") && d.text("owner") != ""; owned && (publishes || b.Public && !slices.Contains(names, "public")) {
		return nil, fault.New(fault.RequestInvalid, "There cannot be an owner for a public runbook")
	}
	if publishes {
		b.Owner = ""
	}
	return names, nil
}

var runbookSetters = setters[conductor.Runbook]{
	"name":            traitTo(func(b *conductor.Runbook) *string { return &b.Name }),
	"steps":           stepsTo("order", func(b *conductor.Runbook) *[]conductor.RequestedStep { return &b.Steps }),
	"disable_ramdisk": flagTo(func(b *conductor.Runbook) *bool { return &b.NoRamdisk }),
	"public":          flagTo(func(b *conductor.Runbook) *bool { return &b.Public }),
	"owner":           textTo(func(b *conductor.Runbook) *string { return &b.Owner }),
	"extra":           objectTo(func(b *conductor.Runbook) *map[string]any { return &b.Extra }),
}

func stepsTo[R any](rank string, at func(*R) *[]conductor.RequestedStep) setter[R] {
	return func(_ *serve.Call, to *R, d document, _ string) (err error) {
		*at(to), err = d.steps(rank)
		return err
	}
}

// steps reads a list of steps; rank is the key that orders them. Nothing secret may be in it: it is not sealed, and
// every answer shows it.
func (d document) steps(rank string) ([]conductor.RequestedStep, error) {
	list, _ := d["steps"].([]any)
	if len(list) == 0 {
		return nil, fault.New(fault.RequestInvalid, "steps must be a list of at least one step")
	}
	var out []conductor.RequestedStep
	seen := map[string]bool{}
	for i, x := range list {
		m, ok := x.(map[string]any)
		if !ok {
			return nil, fault.New(fault.RequestInvalid, "steps: entry %d is no object", i+1)
		}
		known := []string{"interface", "step", "args", rank}
		if unknown := slices.DeleteFunc(slices.Sorted(maps.Keys(m)), func(k string) bool { return slices.Contains(known, k) }); len(unknown) > 0 {
			return nil, fault.New(fault.RequestInvalid, "steps: entry %d has %s; known are %s", i+1, strings.Join(unknown, ", "), strings.Join(known, ", "))
		}
		s := conductor.RequestedStep{}
		s.Interface, _ = m["interface"].(string)
		s.Step, _ = m["step"].(string)
		if !slices.Contains(drivers.StepKinds, s.Interface) || s.Step == "" {
			return nil, fault.New(fault.RequestInvalid, "steps: entry %d needs a step and one of the interfaces %s", i+1, strings.Join(drivers.StepKinds, ", "))
		}
		args, given := m["args"]
		if s.Args, ok = args.(map[string]any); !ok && (given || rank == "priority") {
			return nil, fault.New(fault.RequestInvalid, "steps: args of entry %d must be an object", i+1)
		}
		if mask.HasSecret(s.Args) {
			return nil, fault.New(fault.RequestInvalid, "steps: args of entry %d would hold a secret, and this server keeps none there", i+1)
		}
		n, ok := shape.WholeNumber(m[rank])
		if !ok {
			return nil, fault.New(fault.RequestInvalid, "steps: %s of entry %d must be a whole number from 0 on", rank, i+1)
		}
		if rank == "priority" {
			s.Priority = n
		} else {
			s.Order = n
		}
		id := s.Interface + "." + s.Step
		if seen[id] {
			return nil, fault.New(fault.RequestInvalid, "Duplicate deploy steps. A template cannot have multiple deploy steps with the same interface and step. Duplicates: interface: %s, step: %s",
				s.Interface, s.Step)
		}
		seen[id] = true
		out = append(out, s)
	}
	return out, nil
}
