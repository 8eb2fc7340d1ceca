package catalog

import "testing"

func TestFormatByName(t *testing.T) {
	for url, want := range map[string]string{
		"http://x/a.raw": Raw, "http://x/a.RAW.GZ": RawGzip, "http://x/a.gz?sig=x.zst#y.xz": RawGzip, "http://x/a.img.xz": RawXZ, "http://x/a.zst": RawZstd,
		"http://x/a.raw.zstd": RawZstd, "http://x/a.img": "", "http://x/a": "", "http://x.gz/a": "", "http://x/a.qcow2": "qcow2", "http://x/a.qcow2.xz": "qcow2.xz",
		"http://x/a.vmdk.gz": "vmdk.gz", "http://x/a.gz.xz": "raw.gz.xz", "": "",
	} {
		if got := FormatByName(url); got != want {
			t.Errorf("%s: %q, expected %q", url, got, want)
		}
	}
}

func TestFormatByContent(t *testing.T) {
	for head, want := range map[string]string{
		"\x28\xb5\x2f\xfd": RawZstd, "\x5e\x2a\x4d\x18": RawZstd, "\x1f\x8b\x08": RawGzip, "\xfd7zXZ\x00": RawXZ, "\xfd7zXZ": Raw,
		"QFI\xfb\x00\x00\x00\x03": "qcow2", "BZh9": "bzip2", "KDMV": "vmdk", "\xeb\x63\x90": Raw, "": Raw, "\x00\x00\x00\x00": Raw,
	} {
		if got := FormatByContent([]byte(head)); got != want {
			t.Errorf("%q: %q, expected %q", head, got, want)
		}
	}
}
