package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A whole server reads the file of checksums that an image's digest is in, as Metal3's users give it.
func TestAFileOfChecksumsIsRead(t *testing.T) {
	files := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(strings.Repeat("d", 64) + "  other.raw\n" + strings.Repeat("e", 64) + "  os.raw\n"))
	}))
	defer files.Close()
	r := start(t, settings(t))
	r.must(t, "POST", "/v1/nodes", map[string]any{"name": "n", "driver": "fake-hardware", "deploy_interface": "direct",
		"instance_info": map[string]any{"image_source": "http://192.0.2.1/os.raw", "image_checksum": files.URL + "/SHA256SUMS"}})
	if plan := r.must(t, "GET", "/v1/nodes/n/plan?target=active", nil); !strings.Contains(plan, strings.Repeat("e", 64)) || strings.Contains(plan, strings.Repeat("d", 64)) {
		t.Errorf("planned %s", plan)
	}
	if valid := r.must(t, "GET", "/v1/nodes/n/validate", nil); !strings.Contains(valid, `"deploy":{"result":true}`) {
		t.Errorf("validated %s", valid)
	}
}
