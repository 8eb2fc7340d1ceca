package command

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/cli/input"
	"github.com/bessemer-metal/bessemer/server/cli/output"
	"github.com/bessemer-metal/bessemer/server/client"
)

// Page is which part of a list is wanted, and in which order.
type Page struct {
	limit  int // 0 is all
	marker string
	sort   string
}

// Add adds the flags.
func (p *Page) Add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.IntVar(&p.limit, "limit", 0, "how many at most; 0 is all")
	f.StringVar(&p.marker, "marker", "", "begin behind this one: the UUID of the last one seen")
	f.StringVar(&p.sort, "sort", "", "KEY or KEY:desc, one field to sort by; default: in the order in which they were made")
}

// Query adds what is wanted to a request.
func (p *Page) Query(q url.Values) error {
	if p.limit < 0 {
		return input.Usage("--limit is %d, expected 0 for all or more", p.limit)
	}
	if p.limit > 0 {
		q.Set("limit", strconv.Itoa(p.limit))
	}
	if p.marker != "" {
		q.Set("marker", p.marker)
	}
	if p.sort == "" {
		return nil
	}
	key, dir, given := strings.Cut(p.sort, ":")
	if given && dir != "asc" && dir != "desc" || strings.Contains(key, ",") || key == "" {
		return input.Usage("--sort is %q, expected one KEY, KEY:asc or KEY:desc", p.sort)
	}
	q.Set("sort_key", output.FieldOf(key))
	if given {
		q.Set("sort_dir", dir)
	}
	return nil
}

// All is the part of a list that is wanted.
func (p *Page) All(ctx context.Context, a *client.Client, path, key string, q url.Values, keep func(map[string]any) bool) ([]map[string]any, error) {
	enough := errors.New("enough")
	all := []map[string]any{}
	err := a.Each(ctx, path, key, q, func(o map[string]any) error {
		if keep == nil || keep(o) {
			all = append(all, o)
		}
		if p.limit > 0 && len(all) == p.limit {
			return enough
		}
		return nil
	})
	if errors.Is(err, enough) {
		err = nil
	}
	return all, err
}
