package api

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

// plainly decodes a lookup as simply as can be: all of it, then the inventory.
func plainly(body string) (v LookupRequest, inv inventory.Inventory, err error) {
	if err = Decode(strings.NewReader(body), MaxLookup, &v); err == nil && len(v.Inventory) > 0 {
		err = Decode(strings.NewReader(string(v.Inventory)), MaxLookup, &inv)
	}
	return v, inv, err
}

func TestT07_ALookupIsDecodedWithItsInventory(t *testing.T) {
	const kept = `{"disks": [{"name":"a\"]},b","size":7}] , "hostname":"inventory"}`
	for body, want := range map[string]string{ // the inventory's bytes; "refused"
		`{"protocol":1,"inventory":` + kept + `}`:                              kept,
		`{"inventory" : ` + kept + ` ,"protocol":1,"seq":3}`:                   kept,
		"{\n\"inventory\":\n\t{}\n\n}":                                         "refused", // no version
		`{"protocol":1,"boot_id":"inventory","serial":"\"inventory\":7"}`:      "",
		`{"protocol":1,"Inventory":` + kept + `}`:                              kept, // as encoding/json reads it
		`{"protocol":1,"\u0069nventory":` + kept + `}`:                         kept,
		`{"protocol":1,"inventory":null}`:                                      "null",
		`{"protocol":1,"inventory":{},"inventory":` + kept + `}`:               kept,
		`{"protocol":1,"inventory":` + kept + `,"Inventory":{}}`:               "refused",
		`{"protocol":1,"inventory":{"hostnames":1}}`:                           "refused",
		`{"protocol":1,"inventory":{"hostname":1}}`:                            "refused",
		`{"protocol":1,"inventory":[]}`:                                        "refused",
		`{"protocol":1,"inventory":}`:                                          "refused",
		`{"protocol":1,"inventory":1 2}`:                                       "refused",
		`{"protocol":1,"inventory":{}}}`:                                       "refused",
		`{"protocol":1,"inventory":{}}{}`:                                      "refused",
		`{"protocol":1,"inventory":{},}`:                                       "refused",
		`{"protocol":1,"inventory":{]}`:                                        "refused",
		`{"protocol":1,"inventory":{}`:                                         "refused",
		`{"protocol":1,"inventory" "x"}`:                                       "refused",
		`[{"protocol":1,"inventory":{}}]`:                                      "refused",
		`"inventory":{}`:                                                       "refused",
		`{"protocol":1,"addresses":["inventory"],"inventory":{"problems":[]}}`: `{"problems":[]}`,
	} {
		var v LookupRequest
		var inv inventory.Inventory
		err := DecodeLookup([]byte(body), &v, &inv)
		if want == "refused" {
			if err == nil {
				t.Errorf("%s was taken as %s, %+v", body, v.Inventory, inv)
			}
			continue
		}
		all, alone, plain := plainly(body)
		if err != nil || plain != nil || string(v.Inventory) != want || !reflect.DeepEqual(inv, alone) || !reflect.DeepEqual(v, all) {
			t.Errorf("%s: %v: %s, %+v; plainly %v: %s, %+v", body, err, v.Inventory, inv, plain, all.Inventory, alone)
		}
	}
}

func TestALookupIsEncodedAsItIs(t *testing.T) {
	for _, q := range []LookupRequest{
		{Protocol: 1, Addresses: []string{}, Inventory: json.RawMessage(`{"disks":[],"hostname":"null}"}`)},
		{Protocol: 1, Node: "n", Generation: 3, Secret: "s", Addresses: []string{"52:54:00:00:00:01"}, Serial: "<&>", BootID: "b", Seq: 7, AgentVersion: "v",
			Inventory: json.RawMessage(`{}`)},
	} {
		want, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := EncodeLookup(q); err != nil || string(got) != string(want) {
			t.Errorf("%s, want %s (%v)", got, want, err)
		}
	}
}

// FuzzZ1_Lookup compares with decoding as simply as can be: whatever is taken is taken as the same, and nothing is taken
// that is refused there.
func FuzzZ1_Lookup(f *testing.F) {
	f.Add(`{"protocol":1,"inventory":{"disks":[]},"seq":1}`)
	f.Add(`{"inventory" :{"hostname":"x,\"}"} , "Inventory":null,"protocol":1}`)
	f.Add(`{"protocol":1,"\u0069nventory":[{},"]"]}`)
	f.Fuzz(func(t *testing.T, body string) {
		var v LookupRequest
		var inv inventory.Inventory
		err := DecodeLookup([]byte(body), &v, &inv)
		all, alone, plain := plainly(body)
		switch {
		case err != nil:
		case plain != nil:
			t.Fatalf("taken; plainly: %v", plain)
		case string(v.Inventory) == string(all.Inventory) && !reflect.DeepEqual(inv, alone):
			t.Fatalf("%+v; plainly %+v", inv, alone)
		case !json.Valid(v.Inventory) && len(v.Inventory) > 0:
			t.Fatalf("what is kept is no JSON: %s", v.Inventory)
		}
	})
}

func TestI25_AnnouncedBytesAreNotBelieved(t *testing.T) {
	const body = `{"protocol":1,"inventory":{}}`
	for _, size := range []int64{-1, 0, 1, 1 << 62} {
		if got, err := ReadLookup(strings.NewReader(body), size); err != nil || string(got) != body || cap(got) > 2*believed {
			t.Errorf("%d announced: %q in %d, %v", size, got, cap(got), err)
		}
	}
	for _, more := range []int{0, 1} {
		_, err := ReadLookup(strings.NewReader(strings.Repeat("x", MaxLookup+more)), 10)
		if more == 0 && err != nil || more == 1 && !fault.Has(err, fault.RequestTooLarge) {
			t.Errorf("%d bytes more than the bound: %v", more, err)
		}
	}
}

// large is a lookup of about 64 kB, most of it PCI devices.
func large(tb testing.TB) string {
	inv := inventory.Inventory{Disks: []inventory.Disk{{Name: "/dev/sda", Serial: "S"}}}
	for i := range 595 {
		inv.PCIDevices = append(inv.PCIDevices, inventory.PCIDevice{VendorID: "8086", ProductID: fmt.Sprintf("%04x", i), Class: "020000", Revision: "01", Bus: fmt.Sprintf("0000:%02x:00.0", i&255)})
	}
	raw, err := json.Marshal(inv)
	if err != nil {
		tb.Fatal(err)
	}
	body, err := json.Marshal(LookupRequest{Protocol: 1, Addresses: []string{}, BootID: "b", Seq: 1, Inventory: raw})
	if err != nil {
		tb.Fatal(err)
	}
	return string(body)
}

func BenchmarkDecodeLookup(b *testing.B) {
	body := large(b)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if err := DecodeLookup([]byte(body), new(LookupRequest), new(inventory.Inventory)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeLookupPlainly(b *testing.B) {
	body := large(b)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := plainly(body); err != nil {
			b.Fatal(err)
		}
	}
}
