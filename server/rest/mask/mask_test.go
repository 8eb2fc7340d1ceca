package mask

import (
	"reflect"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
)

// A BIOS setting is a pair: the word that tells of the secret is a value, not a key.
func TestI22_SecretsInPairs(t *testing.T) {
	pair := func(name, value string) map[string]any { return map[string]any{"name": name, "value": value} }
	args := map[string]any{"settings": []any{pair("AdminPassword", "canary"), pair("BootMode", "Uefi")}}
	if !HasSecret(args) || !HasSecretPair(args) {
		t.Error("the password is not seen")
	}
	want := map[string]any{"settings": []any{pair("AdminPassword", conductor.Masked), pair("BootMode", "Uefi")}}
	if got := Deep(args); !reflect.DeepEqual(got, want) {
		t.Errorf("shown as %v", got)
	}
	for _, fine := range []any{want, pair("BootMode", "Uefi"), map[string]any{"name": "AdminPassword"}, []any{"AdminPassword"}, nil} {
		if HasSecretPair(fine) {
			t.Errorf("a secret is seen in %v", fine)
		}
	}
}
