package provision

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// maxDrive bounds the image of a config drive after decompression.
const maxDrive = 64 << 20

// configDrive reads a config drive as given: a gzipped base64 ISO, or an object from which the files are made.
func configDrive(v any, version api.Version) (*conductor.ConfigDrive, error) {
	switch t := v.(type) {
	case string:
		if strings.Contains(t, "://") {
			return nil, fault.New(fault.ConfigDrive, "a config drive by URL is not supported").
				WithHint("give its content: an object with meta_data, network_data and user_data, or a gzipped base64 ISO")
		}
		image, err := driveImage(t)
		if err != nil {
			return nil, err
		}
		return &conductor.ConfigDrive{Image: image}, nil
	case map[string]any:
		if version < 56 {
			return nil, fault.New(fault.RequestVersion, "configdrive as an object is there from version 1.56 on, %s was asked for", version)
		}
		files, err := driveFiles(t, version)
		if err != nil {
			return nil, err
		}
		return &conductor.ConfigDrive{Files: files}, nil
	}
	return nil, fault.New(fault.ConfigDrive, "configdrive must be a string or an object")
}

// driveImage decodes a gzipped base64 image, as Ironic's clients send it; line breaks are allowed.
func driveImage(text string) ([]byte, error) {
	zipped, err := base64.StdEncoding.DecodeString(strings.NewReplacer("\n", "", "\r", "").Replace(text))
	if err != nil {
		return nil, fault.New(fault.ConfigDrive, "the config drive is not base64").Because(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(zipped))
	if err != nil {
		return nil, fault.New(fault.ConfigDrive, "the config drive is not gzip inside its base64").Because(err)
	}
	image, err := io.ReadAll(io.LimitReader(z, maxDrive+1))
	switch {
	case err != nil:
		return nil, fault.New(fault.ConfigDrive, "the config drive's gzip is damaged").Because(err)
	case len(image) > maxDrive:
		return nil, fault.New(fault.ConfigDrive, "the config drive is larger than %d MiB", maxDrive>>20)
	case len(image) < 0x8006 || string(image[0x8001:0x8006]) != "CD001":
		return nil, fault.New(fault.ConfigDrive, "the config drive is not an ISO 9660 image")
	}
	return image, nil
}

var driveNames = map[string]string{"meta_data": "meta_data.json", "network_data": "network_data.json", "vendor_data": "vendor_data2.json"}

// driveFiles names the files of a config-2 drive; the conductor adds what meta_data lacks.
func driveFiles(given map[string]any, version api.Version) (map[string][]byte, error) {
	const dir = "openstack/latest/"
	files := map[string][]byte{}
	for _, k := range slices.Sorted(maps.Keys(given)) {
		v := given[k]
		switch k {
		case "meta_data", "network_data", "vendor_data":
			m, ok := v.(map[string]any)
			if !ok {
				return nil, fault.New(fault.ConfigDrive, "configdrive.%s must be an object", k)
			}
			if k == "vendor_data" && version < 59 {
				return nil, fault.New(fault.RequestVersion, "vendor_data is there from version 1.59 on, %s was asked for", version)
			}
			text, err := json.Marshal(m)
			if err != nil {
				return nil, fmt.Errorf("encode %s: %w", k, err)
			}
			files[dir+driveNames[k]] = text
		case "user_data":
			text, err := userData(v)
			if err != nil {
				return nil, err
			}
			if text != nil {
				files[dir+"user_data"] = text
			}
		default:
			return nil, fault.New(fault.ConfigDrive, "configdrive.%s is not known; known are meta_data, network_data, user_data, vendor_data", k)
		}
	}
	return files, nil
}

// userData is text as it is; an object or a list becomes JSON.
func userData(v any) ([]byte, error) {
	switch t := v.(type) {
	case nil:
		return nil, nil
	case string:
		return []byte(t), nil
	case map[string]any, []any:
		return json.Marshal(t)
	}
	return nil, fault.New(fault.ConfigDrive, "configdrive.user_data must be a string, an object or a list")
}
