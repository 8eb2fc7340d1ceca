package acts

import (
	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/cli/command"
	"github.com/bessemer-metal/bessemer/server/selection"
)

// SelectorsCommand explains --where.
func SelectorsCommand() *cobra.Command {
	cmd := command.Exactly("selectors", 0)
	cmd.Short = "Explain how commands select nodes: --where"
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.Long = Help + "\n\n" + selection.Grammar + `

  bessemer inspect --where state=manageable,extra.rack=7 --watch
  bessemer node set --where 'name=rack7-*' --resource-class big
  bessemer provide --where 'state=manageable,resource_class=big|huge,traits!=CUSTOM_KEEP' --dry-run

With one node that is named the command just acts; for several, and where data is lost, it asks first, or wants --yes
where nobody can be asked. The exit code is the worst result: 0 all was done, 3 nodes were left out, 1 some failed,
2 the command line was wrong.`
	return cmd
}
