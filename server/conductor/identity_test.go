package conductor

import (
	"testing"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

func TestF24_WhatTellsMachinesApart(t *testing.T) {
	const a, b = "AAAAAAAA-bbbb-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002"
	for name, c := range map[string]struct {
		was, now Identity
		want     Match
	}{
		"the same":                     {IdentityOf(a, "S1"), IdentityOf(a, "S1"), SameMachine},
		"another case":                 {IdentityOf(a, ""), IdentityOf("aaaaaaaa-BBBB-4000-8000-000000000001", ""), SameMachine},
		"braces":                       {IdentityOf(a, ""), IdentityOf("{AAAAAAAA-BBBB-4000-8000-000000000001}", ""), SameMachine},
		"no hyphens":                   {IdentityOf(a, ""), IdentityOf("urn:uuid:AAAAAAAABBBB40008000000000000001", ""), SameMachine},
		"the other order of bytes":     {IdentityOf("01020304-0506-0708-090a-0b0c0d0e0f10", ""), IdentityOf("04030201-0605-0807-090a-0b0c0d0e0f10", ""), SameMachine},
		"another UUID":                 {IdentityOf(a, "S1"), IdentityOf(b, "S2"), OtherMachine},
		"a chassis' serial number":     {IdentityOf(a, "S1"), IdentityOf(b, "S1"), OtherMachine},
		"the BMC takes another number": {IdentityOf(a, "S1"), IdentityOf(a, "S2"), SameMachine},
		"no UUID now":                  {IdentityOf(a, "S1"), IdentityOf("", "S1"), SameMachine},
		"zero now":                     {IdentityOf(a, "S1"), IdentityOf("00000000-0000-0000-0000-000000000000", "S2"), OtherMachine},
		"nothing now":                  {IdentityOf(a, "S1"), IdentityOf("", "Default string"), Untold},
		"a maker's example":            {IdentityOf("03000200-0400-0500-0006-000700080009", ""), IdentityOf("03000200-0400-0500-0006-000700080009", ""), Untold},
		"by serial number":             {IdentityOf("", "S1"), IdentityOf(b, "S1"), SameMachine},
		"another serial number":        {IdentityOf("", "S1"), IdentityOf(b, "S2"), OtherMachine},
		"nothing known":                {Identity{}, IdentityOf(b, "S2"), Untold},
	} {
		if got := c.was.Match(c.now); got != c.want {
			t.Errorf("%s: %v and %v give %d, expected %d", name, c.was, c.now, got, c.want)
		}
		if got := c.now.Match(c.was); got != c.want {
			t.Errorf("%s, the other way round: %d, expected %d", name, got, c.want)
		}
	}
}

func TestF24_RecogniseKeepsWhatIsKnown(t *testing.T) {
	n := Node{Machine: IdentityOf("", "S1")}
	for name, c := range map[string]struct {
		was, now, want Identity
		other          bool
	}{
		"nothing known":     {Identity{}, IdentityOf("a1", "S1"), IdentityOf("a1", "S1"), false},
		"it tells more now": {IdentityOf("", "S1"), IdentityOf("a1", "S1"), IdentityOf("a1", "S1"), false},
		"it tells less now": {IdentityOf("a1", "S1"), IdentityOf("", "S1"), IdentityOf("a1", "S1"), false},
		"it tells nothing":  {IdentityOf("a1", "S1"), Identity{}, IdentityOf("a1", "S1"), false},
		"another":           {IdentityOf("a1", "S1"), IdentityOf("a2", "S2"), IdentityOf("a1", "S1"), true},
	} {
		n.Machine = c.was
		got, err := Recognise(n, c.now)
		if got != c.want || c.other != fault.Has(err, fault.BMCOtherMachine) || !c.other && err != nil {
			t.Errorf("%s: %+v, %v; expected %+v", name, got, err, c.want)
		}
	}
}
