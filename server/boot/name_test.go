package boot

import (
	"path"
	"strings"
	"testing"
)

// A BMC that shows only a medium's name tells the medium of one boot from that of another by it (F24).
func TestF24_EachMediumHasANameOfItsOwn(t *testing.T) {
	const base = "http://192.0.2.1:6387"
	a, b := URL(base, tokenA), URL(base, tokenA+"b")
	if path.Base(a) == path.Base(b) || a != URL(base, tokenA) {
		t.Errorf("media of two boots are named %s and %s", path.Base(a), path.Base(b))
	}
	if n := path.Base(a); !strings.HasSuffix(n, ".iso") || strings.Contains(n, tokenA) || len(n) > 32 {
		t.Errorf("the name is %s", n)
	}
	h, _, _ := serve(t, one{})
	for file, want := range map[string]int{
		path.Base(a): 200, path.Base(b): 404,
		"bessemer.iso": 200, // a medium that a server before an upgrade gave (F39)
	} {
		if w := ask(h, "HEAD", Path+tokenA+"/"+file, bmc, ""); w.Code != want {
			t.Errorf("%s: status %d, expected %d", file, w.Code, want)
		}
	}
}
