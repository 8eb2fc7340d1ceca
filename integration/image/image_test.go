package image

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestCachedBuildsOnce(t *testing.T) {
	dir, built := t.TempDir(), 0
	content := bytes.Repeat([]byte("some bytes "), 100_000)
	fill := func(_, raw string) error { built++; return os.WriteFile(raw, content, 0o644) }
	get := func(key string) Image {
		img, err := cached(context.Background(), dir, "x", key, fill)
		if err != nil {
			t.Fatal(err)
		}
		return img
	}
	first := get("a")
	if built != 1 || first.Size != int64(len(content)) || len(first.SHA256) != 64 || first.Zstd.Size >= first.Size {
		t.Errorf("built %d times: %+v", built, first)
	}
	plain, err := exec.Command("zstd", "-dc", first.Zstd.Path).Output()
	if err != nil || !bytes.Equal(plain, content) {
		t.Errorf("the compressed form holds %d bytes, want %d (%v)", len(plain), len(content), err)
	}
	if again := get("a"); again != first || built != 1 {
		t.Errorf("built %d times: %+v", built, again)
	}
	if get("b"); built != 2 {
		t.Error("another key gave the same image")
	}
	if err := os.Truncate(first.Zstd.Path, 10); err != nil {
		t.Fatal(err)
	}
	if again := get("a"); again != first || built != 3 {
		t.Errorf("a damaged image was not made again: built %d times, %+v", built, again)
	}
}

func TestCachedLeavesNothingOfAFailure(t *testing.T) {
	dir, broken := t.TempDir(), errors.New("broken")
	_, err := cached(context.Background(), dir, "x", "a", func(work, raw string) error {
		return errors.Join(broken, os.WriteFile(raw, nil, 0o644))
	})
	left, _ := filepath.Glob(filepath.Join(dir, "x-*"))
	if !errors.Is(err, broken) || len(left) > 0 {
		t.Errorf("error %v; left behind: %q", err, left)
	}
}

// sfdisk reads back what assemble wrote.
func TestAssemble(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	if err := blank(one, 3*mib-5); err != nil {
		t.Fatal(err)
	}
	data := bytes.Repeat([]byte{0, 1, 2, 3}, mib/2)
	if err := os.WriteFile(two, data, 0o644); err != nil {
		t.Fatal(err)
	}
	raw := filepath.Join(dir, "raw")
	if err := assemble(t.Context(), raw, partition{"esp", "U", one}, partition{"root", "L", two}); err != nil {
		t.Fatal(err)
	}
	out, err := run(t.Context(), "sfdisk", "--dump", raw)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"label: gpt", "start=        2048, size=        6144, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
		`name="esp"`, "start=        8192, size=        4096", `name="root"`} {
		if !strings.Contains(string(out), want) {
			t.Errorf("sfdisk does not tell %q:\n%s", want, out)
		}
	}
	disk, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(disk[4*mib:6*mib], data) {
		t.Error("the second partition has other bytes than its file")
	}
}

func TestNoRootPassword(t *testing.T) {
	shadow := filepath.Join(t.TempDir(), "shadow")
	if err := os.WriteFile(shadow, []byte("root:*:19000:0:99999:7:::\nbin:*:1::::::\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := noRootPassword(shadow); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(shadow); string(b) != "root::19000:0:99999:7:::\nbin:*:1::::::\n" {
		t.Errorf("%s", b)
	}
	if err := noRootPassword(os.DevNull); err == nil {
		t.Error("a file without root passes")
	}
}
