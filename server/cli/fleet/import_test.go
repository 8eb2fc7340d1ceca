package fleet_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/cli/clitest"
)

func TestImportUsage(t *testing.T) {
	closed := httptest.NewServer(http.NotFoundHandler())
	defer closed.Close()
	secrets := filepath.Join(t.TempDir(), "secrets.yaml")
	if err := os.WriteFile(secrets, []byte("n1: [a]"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"expected ironic":                {"--from", "maas", closed.URL},
		"--dry-run or --apply":           {"--from", "ironic", closed.URL, "--dry-run", "--apply"},
		"is not of the form NODE":        {"--from", "ironic", closed.URL, "--secrets", secrets},
		"absent: no such file":           {"--from", "ironic", closed.URL, "--from-password-file", "absent"},
		"read the CA file: no such file": {"--from", "ironic", closed.URL, "--from-ca", "absent"},
	} {
		if got := clitest.Run(t, closed.URL, false, append([]string{"import"}, args...)...); !strings.Contains(got, want) || !strings.Contains(got, "exit 2") {
			t.Errorf("%v: %s", args, got)
		}
	}
}
