package command

import (
	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/cli/input"
)

// View is which fields a list or show writes.
type View struct {
	Fields []string
	Long   bool
}

// Add adds the flags.
func (v *View) Add(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&v.Fields, "fields", nil, "only these fields: a,b")
	cmd.Flags().BoolVar(&v.Long, "long", false, "all fields")
}

// Check refuses what contradicts itself.
func (v *View) Check() error {
	if v.Long && len(v.Fields) > 0 {
		return input.Usage("give --fields or --long, not both")
	}
	return nil
}

// Columns are the fields that were asked for, or else the short ones.
func (v *View) Columns(short []string) []string {
	if len(v.Fields) > 0 {
		return v.Fields
	}
	return short
}
