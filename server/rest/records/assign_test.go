package records

import "testing"

// What a client may give of a record is set: a field that is in the table of fields alone would be taken, and forgotten.
func TestEveryFieldThatMayBeGivenIsSet(t *testing.T) {
	for _, k := range New(nil).all {
		settable := 0
		for _, f := range k.shape.Fields {
			if !f.Create && !f.Patch {
				continue
			}
			settable++
			if !k.fields.has(f.Name) {
				t.Errorf("%s: nothing sets %s", k.path, f.Name)
			}
		}
		if settable == 0 {
			t.Errorf("%s: no field may be given", k.path)
		}
	}
}
