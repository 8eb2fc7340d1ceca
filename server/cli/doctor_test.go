package cli_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/cli"
	"github.com/bessemer-metal/bessemer/server/cli/host"
	"github.com/bessemer-metal/bessemer/server/config"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// When the server does not answer, doctor says what is in its data directory, in each format.
func TestDoctorWithoutAServer(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	dir := t.TempDir()
	for format, want := range map[string]string{
		"table": "what is in the data directory " + dir + ":\nok     database  is sound\nWRONG  lock      held by process 7\n                 what to do: end it\n",
		"json":  "\"found\": \"held by process 7\"", "yaml": "found: held by process 7",
	} {
		var out, errs bytes.Buffer
		code := cli.Run(t.Context(), []string{"doctor", "--data-dir", dir, "-o", format}, cli.Streams{In: strings.NewReader(""), Out: &out, Err: &errs, Now: time.Now,
			Environment: config.Environment{Home: dir, Variables: []string{"BESSEMER_SERVER=" + gone.URL}}}, host.Programs{
			Examine: func(_ context.Context, s config.Server) []api.Check {
				if s.DataDir != dir {
					t.Errorf("%s is examined", s.DataDir)
				}
				return []api.Check{{Name: "database", OK: true, Found: "is sound"}, {Name: "lock", Found: "held by process 7", Hint: "end it"}}
			}})
		if code != cli.Failed || !strings.Contains(out.String(), want) || !strings.Contains(errs.String(), "does not answer") {
			t.Errorf("%s: %d %s%s", format, code, out.String(), errs.String())
		}
	}
}
