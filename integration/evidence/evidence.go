// Package evidence is what the steps of simulated machines leave: the records that a real machine's would, had it done the
// work. The server takes no cleaning and no deployment for done without them (safety.md I5, I6).
package evidence

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// written is how many bytes a simulated image has.
const written = 1 << 20

// Left is the result of a step that did all it was asked to, on each of its disks.
func Left(name string, args step.Args, disks []inventory.DeviceID) step.Result {
	switch {
	case name == catalog.EraseStep:
		records := []catalog.Erased{}
		for _, d := range disks {
			r := catalog.Erased{ID: d, Method: "simulated", To: d.Size}
			r.Verify.Mode = "sample"
			records = append(records, r)
		}
		return step.Result{Data: map[string]any{"devices": records}}
	case name == catalog.WriteStep && len(disks) == 1:
		sum := sha256.Sum256(make([]byte, written))
		return step.Result{Data: map[string]any{
			"id": disks[0], "format": "raw.zst", "digest_algorithm": args.Text("digest_algorithm"), "digest": args.Text("digest"),
			"written_bytes": written, "written_sha256": hex.EncodeToString(sum[:]),
		}}
	}
	return step.Result{}
}
