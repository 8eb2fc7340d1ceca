package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

func TestI25_DecodeBounds(t *testing.T) {
	list := func(n int) string { return "[" + strings.TrimSuffix(strings.Repeat("0,", n), ",") + "]" }
	object := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"k%d":0`, i)
		}
		return "{" + strings.TrimPrefix(b.String(), ",") + "}"
	}
	nest := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for name, c := range map[string]struct {
		body string
		want fault.Reason
	}{
		"list at the bound":        {list(MaxElements), ""},
		"list over the bound":      {list(MaxElements + 1), fault.RequestInvalid},
		"object at the bound":      {object(MaxElements), ""},
		"object over the bound":    {object(MaxElements + 1), fault.RequestInvalid},
		"two lists at the bound":   {"[" + list(MaxElements) + "," + list(MaxElements) + "]", ""},
		"depth at the bound":       {nest(MaxDepth), ""},
		"depth over the bound":     {nest(MaxDepth + 1), fault.RequestInvalid},
		"a million levels":         {strings.Repeat("[", 1_000_000), fault.RequestInvalid},
		"brackets in a string":     {`"` + strings.Repeat(`[{\"`, 100) + `"`, ""},
		"commas in a string":       {`["` + strings.Repeat(",", MaxElements+1) + `"]`, ""},
		"size at the bound":        {`"` + strings.Repeat("x", MaxBody-2) + `"`, ""},
		"size over the bound":      {`"` + strings.Repeat("x", MaxBody-1) + `"`, fault.RequestTooLarge},
		"empty":                    {"", fault.RequestInvalid},
		"cut":                      {`{"a":`, fault.RequestInvalid},
		"no JSON":                  {"<html>", fault.RequestInvalid},
		"two values":               {"1 2", fault.RequestInvalid},
		"a value and a bracket":    {"[] ]", fault.RequestInvalid},
		"a value and white space":  {"[] \n", ""},
		"invalid UTF-8":            {"\"\xff\"", fault.RequestInvalid},
		"closing before opening":   {"]]]]", fault.RequestInvalid},
		"a backslash at the end":   {`"\`, fault.RequestInvalid},
		"a quote that never comes": {`"[[[`, fault.RequestInvalid},
	} {
		var v any
		err := Decode(strings.NewReader(c.body), MaxBody, &v)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "" && !fault.Has(err, c.want):
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
}

func TestT07_DecodeIsStrict(t *testing.T) {
	for name, body := range map[string]string{
		"unknown field":  `{"seq":1,"hodl":true}`,
		"wrong type":     `{"seq":"1"}`,
		"negative":       `{"seq":-1}`,
		"not an object":  `[]`,
		"nested unknown": `{"seq":1,"progress":{"percents":1}}`,
	} {
		var r HeartbeatRequest
		err := Decode(strings.NewReader(body), MaxBody, &r)
		if !fault.Has(err, fault.RequestInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDecodePassesReadErrorsOn(t *testing.T) {
	cut := errors.New("cut")
	var v any
	if err := Decode(iotest.ErrReader(cut), MaxBody, &v); !errors.Is(err, cut) {
		t.Error(err)
	}
}

func TestF39_VersionIsToldBeforeUnknownFields(t *testing.T) {
	for body, want := range map[string]fault.Reason{
		`{"protocol":2,"quantum":true}`: fault.ChannelProtocol,
		`{"protocol":0}`:                fault.ChannelProtocol,
		`{}`:                            fault.ChannelProtocol,
		`{"protocol":1,"quantum":true}`: fault.RequestInvalid,
		`{"protocol":"1"}`:              fault.RequestInvalid,
		`{"protocol":1,"addresses":[],"boot_id":"b","seq":1,"agent_version":"v","inventory":{}}`: "",
	} {
		var r LookupRequest
		err := DecodeLookup([]byte(body), &r, new(inventory.Inventory))
		if want == "" && err != nil || want != "" && !fault.Has(err, want) {
			t.Errorf("%s: got %v, want %q", body, err, want)
		}
	}
}

func TestFaultCrossesTheWire(t *testing.T) {
	sent := fault.New(fault.NodeContested, "two machines").WithHint("find the other").Because(errors.New("secret detail"))
	raw, err := json.Marshal(FaultOf(fmt.Errorf("lookup: %w", sent)))
	if err != nil || strings.Contains(string(raw), "secret detail") {
		t.Fatalf("%s %v", raw, err)
	}
	var f Fault
	if err := Decode(strings.NewReader(string(raw)), MaxBody, &f); err != nil {
		t.Fatal(err)
	}
	got := f.Err()
	if got.Code != sent.Code || got.Reason != sent.Reason || got.Message != sent.Message || got.Hint != sent.Hint {
		t.Errorf("got %+v", got)
	}
	if f := (Fault{Code: "teapot"}).Err(); f.Code != fault.Internal || f.Reason != fault.InternalError {
		t.Errorf("an unknown code became %+v", f)
	}
	if f := FaultOf(errors.New("leaky")); strings.Contains(f.Message, "leaky") {
		t.Errorf("an unforeseen error's text leaks: %+v", f)
	}
}

// FuzzZ1_Decode feeds every request of the channel: the answer is a fault or a value that decodes to itself again.
func FuzzZ1_Decode(f *testing.F) {
	for _, s := range []string{
		`{"protocol":1,"node":"n","secret":"s","addresses":["52:54:00:00:00:01"],"boot_id":"b","seq":1,"agent_version":"v","inventory":{"disks":[]}}`,
		`{"seq":2,"hold":true,"steps":[{"name":"deploy.write_image","doc":"","where":"in-band","priority":{"deploy":80},"repeat":"again","timeout":1}],"running":"x","progress":{"percent":1}}`,
		`{"seq":3,"id":"i","nonce":"n"}`, `{"seq":4,"id":"i","nonce":"n","outcome":"failed","fault":{"code":"internal","reason":"step.failed","message":"m"}}`,
		`{"seq":5,"id":"i","name":"configdrive"}`, `{"seq":6,"offset":0,"data":"aGVsbG8="}`,
		`{`, `[[[[`, `"\`, `{"seq":1e400}`, "\xff", `{"seq":1,"seq":2}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, v := range []any{new(LookupRequest), new(HeartbeatRequest), new(StartRequest), new(ResultRequest), new(SecretRequest), new(LogRequest)} {
			var err error
			if l, ok := v.(*LookupRequest); ok {
				err = DecodeLookup(body, l, new(inventory.Inventory))
			} else {
				err = Decode(strings.NewReader(string(body)), MaxBody, v)
			}
			if err != nil {
				if c := fault.From(err).Code; c != fault.Invalid && c != fault.Unsupported {
					t.Fatalf("%T: %v", v, err)
				}
				continue
			}
			if err := v.(interface{ Check() error }).Check(); err != nil && fault.From(err).Code != fault.Invalid {
				t.Fatalf("%T: %v", v, err)
			}
			if _, err := json.Marshal(v); err != nil {
				t.Fatalf("%T does not encode again: %v", v, err)
			}
		}
	})
}
