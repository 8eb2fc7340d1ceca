package fleet

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/cli/acts"
	"github.com/bessemer-metal/bessemer/server/cli/command"
	"github.com/bessemer-metal/bessemer/server/cli/input"
	"github.com/bessemer-metal/bessemer/server/cli/output"
	"github.com/bessemer-metal/bessemer/server/cli/work"
	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/server/migrate"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// importFlags say where from, and how.
type importFlags struct {
	from, user, passwordFile, ca, secrets, moving string
	apply                                         bool
}

// ImportCommand takes over the machines of another Ironic.
func ImportCommand(c *command.Run) *cobra.Command {
	var i importFlags
	cmd := command.Exactly("import URL", 1)
	cmd.Short = "Take over the machines of another Ironic"
	cmd.Long = `Reads the Ironic at URL and shows what would be made here: chassis, deploy templates, runbooks, nodes with their ports,
port groups and traits, under the same UUIDs. Only --apply makes it. The source is only read, never written.

Active nodes become active here by adopt: nothing is written to their disks, and they are neither stopped nor started.
The source must have stopped to act on them by then: bessemer does not notice a second server that does.
Manageable and available ones become manageable; bessemer provide is what erases disks and offers them. Nodes that the
source works on are left out. Passwords are masked by the source: give them by --secrets, a YAML file by node:

  "*": {redfish_password: the same for all}
  n7: {redfish_password: another}

An import that was cut off, or in which some nodes failed, is run again: what is done already stays as it is.`
	cmd.Example = `  bessemer import --from ironic http://192.0.2.20:6385
  bessemer import --from ironic https://old.example:6385 --from-user admin --from-password-file old.txt --secrets bmc.yaml --apply`
	m := acts.On(c, cmd)
	cmd.Flags().Lookup("where").Hidden = true // an import is of all there is
	cmd.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		if i.from != "ironic" {
			return input.Usage("--from is %q, expected ironic", i.from)
		}
		if m.Dry && i.apply || m.Where != "" {
			return input.Usage("give --dry-run or --apply, and no --where")
		}
		return importFrom(ctx, c, a, m, args[0], i)
	})
	f := cmd.Flags()
	f.StringVar(&i.from, "from", "", "what the source is: ironic")
	f.StringVar(&i.user, "from-user", "", "user name at the source")
	f.StringVar(&i.passwordFile, "from-password-file", "", "file that holds the password at the source")
	f.StringVar(&i.ca, "from-ca", "", "file of certificates to trust for the source")
	f.StringVar(&i.secrets, "secrets", "", "YAML file of passwords that the source does not tell, by node and key; - is the standard input")
	f.StringVar(&i.moving, "ignore-maintenance", "", "do not carry over maintenance that has this reason: it was set at the source for the move")
	f.BoolVar(&i.apply, "apply", false, "do it; without it only the differences are shown")
	return cmd
}

func importFrom(ctx context.Context, c *command.Run, a *client.Client, m *acts.Nodes, url string, i importFlags) error {
	secrets, err := importSecrets(c, i.secrets)
	if err != nil {
		return err
	}
	source, version, err := source(ctx, c, url, i)
	if err != nil {
		return ofSource(err)
	}
	defer source.Close()
	there, err := migrate.Read(ctx, source, version)
	if err != nil {
		return ofSource(err)
	}
	if i.moving != "" {
		there.EndMaintenance(i.moving)
	}
	here, err := migrate.Read(ctx, a, api.MaxVersion)
	if err != nil {
		return err
	}
	plan := migrate.Compare(there, here, secrets)
	w := c.Notes()
	fmt.Fprintf(w, "read from %s (API %s); nothing is written there\n", source.Server(), version)
	showImport(c, w, plan)
	count := plan.Count()
	todo := count[migrate.Create] + count[migrate.Change]
	if !i.apply || todo == 0 {
		if todo > 0 {
			fmt.Fprintln(w, "nothing was done; --apply does it")
		}
		if err := c.EmitOnly(plan); err != nil || count[migrate.Blocked] == 0 {
			return err
		}
		return command.ErrLeftOut
	}
	if err := m.Consent(fmt.Sprintf("import of %d objects", todo), "", todo); err != nil {
		return err
	}
	return applyImport(ctx, c, a, m, plan)
}

// ofSource gives an answer that did not come the hint for the flags that are about the source.
func ofSource(err error) error {
	f := fault.From(err)
	if f.Reason != fault.ServerUnreachable {
		return err
	}
	told := *f
	return told.WithHint("this is the Ironic that is read: is it running, and is its URL right? --from-ca FILE trusts its certificate")
}

func importSecrets(c *command.Run, file string) (migrate.Secrets, error) {
	if file == "" {
		return nil, nil
	}
	doc, err := c.Document(file, "--secrets")
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	var out migrate.Secrets
	if err := json.Unmarshal(text, &out); err != nil {
		return nil, input.Usage("%s is not of the form NODE: {KEY: SECRET}; texts that look like numbers stand in quotes", file)
	}
	return out, nil
}

// source is a client of the other Ironic that can only read, of the newest version both know.
func source(ctx context.Context, c *command.Run, url string, i importFlags) (*client.Client, api.Version, error) {
	o := client.Options{Server: url, User: i.user, Timeout: c.Timeout, Version: api.MinVersion, ReadOnly: true}
	if i.passwordFile != "" {
		password, err := c.Secret(i.passwordFile, "--from-password-file")
		if err != nil {
			return nil, 0, err
		}
		o.Password = password
	}
	if i.ca != "" {
		text, err := os.ReadFile(i.ca)
		if err != nil {
			return nil, 0, input.Usage("read the CA file: %v", input.Cause(err))
		}
		o.CA = text
	}
	probe, err := client.New(o)
	if err != nil {
		return nil, 0, err
	}
	defer probe.Close()
	if o.Version, err = probe.Newest(ctx); err != nil {
		return nil, 0, err
	}
	a, err := client.New(o)
	return a, o.Version, err
}

// showImport lists what is not the same already, with the differences.
func showImport(c *command.Run, w io.Writer, p *migrate.Plan) {
	for _, k := range p.Unserved {
		fmt.Fprintf(w, "%s: not served here; left out\n", k)
	}
	notes := map[string][]string{} // to the objects they are about
	_ = output.Columns(w, func(w io.Writer) {
		output.Row(w, "ACTION", "KIND", "NAME", "STATE", "DETAIL")
		for _, i := range p.Items {
			if i.Action == migrate.Same {
				continue
			}
			way := ""
			if i.Kind == "node" {
				way = string(i.From) + " => " + string(i.Goal)
				if i.Action == migrate.Blocked {
					way = string(i.From)
				}
			}
			output.Row(w, string(i.Action), i.Kind, i.Label, output.Dash(way), cmp.Or(i.Why, diffText(i.Diffs)))
			for _, n := range i.Notes {
				notes[n] = append(notes[n], i.Label)
			}
		}
	})
	for _, n := range slices.Sorted(maps.Keys(notes)) {
		fmt.Fprintf(w, "%d of them: %s (%s)\n", len(notes[n]), n, list(notes[n]))
	}
	count := p.Count()
	var sums []string
	for _, x := range slices.Sorted(maps.Keys(count)) {
		sums = append(sums, fmt.Sprintf("%d %s", count[x], x))
	}
	fmt.Fprintln(w, cmp.Or(strings.Join(sums, ", "), "there is nothing to import"))
}

func diffText(diffs []migrate.Diff) string {
	var out []string
	for _, d := range diffs {
		out = append(out, d.Field+": "+output.ValueText(d.Here)+" -> "+output.ValueText(d.There))
	}
	return strings.Join(out, "; ")
}

// applyImport carries the plan out and tells each item's end.
func applyImport(ctx context.Context, c *command.Run, a *client.Client, m *acts.Nodes, plan *migrate.Plan) error {
	d := output.NewDisplay(c.Printer)
	type result struct {
		Kind  string `json:"kind"`
		UUID  string `json:"uuid"`
		Name  string `json:"name"`
		Error string `json:"error,omitempty"`
	}
	var lock sync.Mutex
	results, failed := []result{}, 0
	err := plan.Apply(ctx, a, migrate.Options{
		Parallel: m.Parallel,
		Settle:   func(ctx context.Context, node string) (state.State, string, error) { return settle(ctx, a, node) },
		Done: func(i migrate.Item, err error) {
			lock.Lock()
			defer lock.Unlock()
			r := result{Kind: i.Kind, UUID: i.UUID, Name: i.Label}
			if err != nil {
				failed++
				r.Error = err.Error()
				d.Line(fmt.Sprintf("%s %s: failed: %v", i.Kind, i.Label, err))
			} else if i.Kind == "node" {
				d.Line(fmt.Sprintf("node %s: %s", i.Label, i.Goal))
			}
			results = append(results, r)
		},
	})
	d.Close()
	fmt.Fprintf(c.Notes(), "import: %d done, %d failed, %d left out\n", len(results)-failed, failed, plan.Count()[migrate.Blocked])
	if err := errors.Join(err, c.EmitOnly(results)); err != nil {
		return err
	}
	switch {
	case failed > 0:
		return command.ErrTold
	case plan.Count()[migrate.Blocked] > 0:
		return command.ErrLeftOut
	}
	return nil
}

// settle waits until no work goes on at a node.
func settle(ctx context.Context, a *client.Client, node string) (end state.State, lastError string, err error) {
	err = work.Until(ctx, a, node, func(api.Event) (bool, error) {
		s, err := a.Steps(ctx, node, "")
		if err != nil {
			return false, err
		}
		if _, going := state.FlowOf(s.State); going || s.Run != nil && s.Run.Ended.IsZero() {
			return false, nil
		}
		end, lastError = s.State, s.LastError
		return true, nil
	})
	return end, lastError, err
}
