package media

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/diskfs/go-diskfs/filesystem/iso9660"
)

// ConfigDriveMax is the largest config drive, in bytes.
const ConfigDriveMax = 64 << 20

// ConfigDriveLabel is the volume identifier by which cloud-init and others find a config drive.
const ConfigDriveLabel = "config-2"

// ConfigDrive makes an ISO 9660 image with Rock Ridge names from files by path ("openstack/latest/meta_data.json").
// It is written raw to a partition or disk.
func ConfigDrive(files map[string][]byte, label string) ([]byte, error) {
	var total int
	for name, data := range files {
		if name != path.Clean(name) || path.IsAbs(name) || name == "." || name == ".." || strings.HasPrefix(name, "../") || strings.ContainsRune(name, 0) {
			return nil, fmt.Errorf("make config drive: %q is no relative path", name)
		}
		if total += len(data); total > ConfigDriveMax {
			return nil, fmt.Errorf("make config drive: its files have more than %d MiB", ConfigDriveMax>>20)
		}
	}
	if label == "" || len(label) > 32 {
		return nil, fmt.Errorf("make config drive: label %q, expected 1 to 32 characters", label)
	}
	work, err := os.MkdirTemp("", "configdrive")
	if err != nil {
		return nil, fmt.Errorf("make config drive: %w", err)
	}
	defer os.RemoveAll(work)
	tree := filepath.Join(work, "tree")
	if err := os.Mkdir(tree, 0o755); err != nil {
		return nil, fmt.Errorf("make config drive: %w", err)
	}
	for name, data := range files {
		file := filepath.Join(tree, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return nil, fmt.Errorf("make config drive: %w", err)
		}
		if err := os.WriteFile(file, data, 0o644); err != nil {
			return nil, fmt.Errorf("make config drive: %w", err)
		}
	}
	out := filepath.Join(work, "out.iso")
	if err := writeISO(out, tree, iso9660.FinalizeOptions{VolumeIdentifier: label, RockRidge: true}, nil); err != nil {
		return nil, fmt.Errorf("make config drive: %w", err)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		return nil, fmt.Errorf("make config drive: %w", err)
	}
	if len(b) > ConfigDriveMax {
		return nil, fmt.Errorf("make config drive: %d bytes, expected at most %d", len(b), ConfigDriveMax)
	}
	return b, nil
}
