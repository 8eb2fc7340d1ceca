package input

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"gopkg.in/yaml.v3"
)

// zippedInText is how a gzipped image in base64 begins.
const zippedInText = "H4sI"

// Drive reads what --configdrive names: a folder of files, an ISO image (given back ready for the wire), or a file
// that describes the drive.
func (r *Reader) Drive(path string) (drive map[string]any, image json.RawMessage, err error) {
	if path == "" {
		return map[string]any{}, nil, nil
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		drive, err := driveFolder(path)
		return drive, nil, err
	}
	content := []byte(path) // the description or the image itself, as baremetal takes them
	if !strings.HasPrefix(path, "{") && !strings.HasPrefix(path, zippedInText) {
		if content, err = r.Read(path, "--configdrive"); err != nil {
			return nil, nil, err
		}
	}
	if text := strings.TrimSpace(string(content)); strings.HasPrefix(text, zippedInText) { // as the API takes it
		image, err := json.Marshal(text)
		return nil, image, err
	}
	if len(content) > 0x8006 && string(content[0x8001:0x8006]) == "CD001" {
		var zipped bytes.Buffer
		z := gzip.NewWriter(&zipped)
		if _, err := z.Write(content); err != nil {
			return nil, nil, err
		}
		if err := z.Close(); err != nil {
			return nil, nil, err
		}
		image, err := json.Marshal(base64.StdEncoding.EncodeToString(zipped.Bytes()))
		return nil, image, err
	}
	if err := yaml.Unmarshal(content, &drive); err != nil {
		return nil, nil, Usage("%s describes no config drive: %v", path, err)
	}
	if drive == nil {
		drive = map[string]any{}
	}
	return drive, nil, nil
}

// driveFolder reads meta_data.json, network_data.json, vendor_data2.json and user_data, there or in openstack/latest.
func driveFolder(dir string) (map[string]any, error) {
	if deep := filepath.Join(dir, "openstack", "latest"); exists(deep) {
		dir = deep
	}
	drive := map[string]any{}
	for file, key := range map[string]string{"meta_data.json": "meta_data", "network_data.json": "network_data", "vendor_data2.json": "vendor_data", "user_data": "user_data"} {
		content, err := os.ReadFile(filepath.Join(dir, file))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the config drive: %w", err)
		}
		if key == "user_data" {
			drive[key] = string(content)
			continue
		}
		var m map[string]any
		if err := json.Unmarshal(content, &m); err != nil {
			return nil, Usage("%s is no JSON object: %v", filepath.Join(dir, file), err)
		}
		drive[key] = m
	}
	if len(drive) == 0 {
		return nil, Usage("the folder %s holds none of meta_data.json, network_data.json, vendor_data2.json, user_data", dir)
	}
	return drive, nil
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }
