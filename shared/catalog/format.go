package catalog

import (
	"path"
	"strings"
)

// The formats of an image's file. Raw is the bytes of a whole disk; the others that begin with raw are the same, compressed.
const (
	Raw     = "raw"
	RawZstd = "raw.zst"
	RawGzip = "raw.gz"
	RawXZ   = "raw.xz"
	QCOW2   = "qcow2"
)

// Formats are those that deploy.write_image writes.
var Formats = []string{Raw, RawZstd, RawGzip, RawXZ, QCOW2}

// endings are those of file names that tell a format, ours or another's.
var endings = map[string]string{
	".raw": Raw, ".zst": RawZstd, ".zstd": RawZstd, ".gz": RawGzip, ".xz": RawXZ,
	".qcow2": QCOW2, ".vmdk": "vmdk", ".vdi": "vdi", ".vhd": "vhd", ".vhdx": "vhdx", ".bz2": "bzip2",
}

// FormatByName is the format that the name at a URL's end tells; "" when it tells none, as that of an .img, which is raw from one
// and qcow2 from another. It need not be one of Formats.
func FormatByName(url string) string {
	url, _, _ = strings.Cut(url, "#")
	url, _, _ = strings.Cut(url, "?")
	name := strings.ToLower(path.Base(url))
	ending := path.Ext(name)
	told := endings[ending]
	if inner := endings[path.Ext(strings.TrimSuffix(name, ending))]; strings.HasPrefix(told, Raw+".") && inner != "" && inner != Raw {
		return inner + ending
	}
	return told
}

// magics are the first bytes of what is no raw disk.
var magics = []struct{ bytes, name string }{
	{"\x28\xb5\x2f\xfd", RawZstd}, {"\x1f\x8b", RawGzip}, {"\xfd7zXZ\x00", RawXZ}, {"QFI\xfb", QCOW2},
	{"BZh", "bzip2"}, {"KDMV", "vmdk"}, {"vhdxfile", "vhdx"}, {"conectix", "vhd"},
}

// Sniffed is how many of a file's first bytes FormatByContent looks at.
const Sniffed = 8

// FormatByContent tells what a file's first bytes are those of; what is none of the others is raw. A zstd file may also begin
// with a skippable frame, whose magic number has sixteen values. It need not be one of Formats.
func FormatByContent(head []byte) string {
	if len(head) >= 4 && head[0]>>4 == 5 && string(head[1:4]) == "\x2a\x4d\x18" {
		return RawZstd
	}
	for _, m := range magics {
		if strings.HasPrefix(string(head), m.bytes) {
			return m.name
		}
	}
	return Raw
}
