package rest_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/bessemer-metal/bessemer/integration/bubbles"
)

// TestMain also holds the package to what TestOpenAPIDescribesEveryRoute can't see: that each route was asked for by some test
// whose answer was compared with the description. A run of a part of the tests shows nothing of that.
func TestMain(m *testing.M) {
	bubbles.Calm()
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		part := slices.ContainsFunc([]string{"test.run", "test.skip", "test.list", "test.fuzz", "test.bench"}, func(name string) bool {
			f := flag.Lookup(name)
			return f != nil && f.Value.String() != ""
		})
		if code == 0 && !part {
			if missing := unrecorded(); len(missing) > 0 {
				fmt.Printf("FAIL: no test has an answer of these routes, so their descriptions (/v1/openapi) are not checked; add them to TestOpenAPIOfWhatIsSeldomAsked:\n\t%s\n", strings.Join(missing, "\n\t"))
				code = 1
			}
		}
		os.Exit(code)
	}))
}
