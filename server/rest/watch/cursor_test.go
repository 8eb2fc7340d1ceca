package watch

import "testing"

// FuzzCursor: any text is a cursor or an error, and a cursor is the same when it comes back.
func FuzzCursor(f *testing.F) {
	for _, text := range []string{"", Cursor{"e", 7}.String(), Cursor{}.String(), "LjA", "LTE", "x", "!!", "Li0x"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCursor(text)
		if err != nil {
			return
		}
		if c.Seq < 0 {
			t.Fatalf("%q is before the beginning: %+v", text, c)
		}
		if again, err := ParseCursor(c.String()); err != nil || again != c {
			t.Fatalf("%q is %+v, and then %+v, %v", text, c, again, err)
		}
	})
}
