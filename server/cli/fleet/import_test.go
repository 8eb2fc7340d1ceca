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

// What is wrong with the source is said of the source, and not of the server that the machines go to.
func TestImportNamesTheSource(t *testing.T) {
	target := httptest.NewServer(http.NotFoundHandler())
	defer target.Close()
	source := httptest.NewTLSServer(http.NotFoundHandler())
	defer source.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for url, want := range map[string]string{gone.URL: "the Ironic that is read", source.URL: "--from-ca FILE"} {
		got := clitest.Run(t, target.URL, false, "import", "--from", "ironic", url)
		if !strings.Contains(got, url) || !strings.Contains(got, want) || strings.Contains(got, "BESSEMER_SERVER") || strings.Contains(got, " --ca ") || !strings.Contains(got, "exit 1") {
			t.Errorf("import from %s: %s", url, got)
		}
	}
}
