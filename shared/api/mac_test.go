package api

import "testing"

func TestMAC(t *testing.T) {
	for text, want := range map[string]string{
		"52:54:00:AA:bb:0c": "52:54:00:aa:bb:0c", "52-54-00-aa-bb-0c": "52:54:00:aa:bb:0c", "5254.00aa.bb0c": "52:54:00:aa:bb:0c",
		"": "", "52:54:00:aa:bb": "", "52:54:00:aa:bb:0c:01:02": "", "525400AABB0C": "52:54:00:aa:bb:0c", "52:54:00:aa:bb:0g": "", " 52:54:00:aa:bb:0c": "",
	} {
		if got, ok := MAC(text); got != want || ok != (want != "") {
			t.Errorf("%q is %q (%v), expected %q", text, got, ok, want)
		}
	}
}
