package nodes

import (
	"strings"
	"testing"
)

func TestNamesHaveLettersAndALength(t *testing.T) {
	for name, want := range map[string]bool{
		"a": true, "A-1._~": true, strings.Repeat("a", 255): true,
		"": false, strings.Repeat("a", 256): false, "a b": false, "a\n": false, "a/b": false, "ä": false,
	} {
		if IsName(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}
