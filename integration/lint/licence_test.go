package lint

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// licences are those compatible with a program under Apache-2.0 that is linked into one binary, and a phrase that
// tells each. The first that matches names it, so a text that quotes another comes before what it quotes.
var licences = []struct{ name, phrase string }{
	{"Apache-2.0", `Apache License,? Version 2\.0`},
	{"MPL-2.0", `Mozilla Public License,? [Vv]ersion 2\.0`},
	{"BSD-3-Clause", `(?s)Redistribution and use in source and binary forms.*(Neither the name|may not be used to endorse|The names? of)`},
	{"BSD-2-Clause", `Redistribution and use in source and binary forms`},
	{"MIT", `Permission is hereby granted, free of charge`},
	{"ISC", `Permission to use, copy, modify, and/or distribute`},
	{"public domain", `have been put into the public domain\. You can do whatever you want with these files`},
	{"Unlicense", `free and unencumbered software released into the public domain`},
}

// incompatible says at once that a text is none of them.
var incompatible = regexp.MustCompile(`(?i)GNU (Lesser |Affero |Library )?General Public License`)

func classify(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	for _, l := range licences {
		if regexp.MustCompile(l.phrase).MatchString(text) {
			return l.name
		}
	}
	return ""
}

// TestLicences looks at every module that is linked into one of the programs; -v lists them.
func TestLicences(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "-json=Standard,Module", "./...")
	cmd.Dir = root
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	dirs := map[string]string{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			Standard bool
			Module   *struct {
				Path, Version, Dir string
				Main               bool
			}
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if !p.Standard && p.Module != nil && !p.Module.Main {
			dirs[p.Module.Path+" "+p.Module.Version] = p.Module.Dir
		}
	}
	if len(dirs) == 0 {
		t.Fatal("no module is linked at all: go list was misread")
	}
	for _, m := range slices.Sorted(maps.Keys(dirs)) {
		name := licenceOf(t, dirs[m])
		if name == "" {
			t.Errorf("module %s has no licence known to be compatible with Apache-2.0", m)
			continue
		}
		t.Logf("%-60s %s", m, name)
	}
}

func licenceOf(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		base := strings.ToUpper(e.Name())
		if e.IsDir() || !strings.HasPrefix(strings.TrimPrefix(base, "UN"), "LICENSE") && !strings.HasPrefix(base, "LICENCE") && !strings.HasPrefix(base, "COPYING") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if name := classify(string(text)); name != "" && !(incompatible.Match(text) && name != "MPL-2.0" && name != "Apache-2.0") {
			return name
		}
	}
	return ""
}

func TestLicenceTextsAreTold(t *testing.T) {
	for text, want := range map[string]string{
		"Apache License\n   Version 2.0, January 2004":                                                  "Apache-2.0",
		"Licensed under the Apache License, Version 2.0":                                                "Apache-2.0",
		"Permission is hereby granted, free of charge, to any":                                          "MIT",
		"Redistribution and use in source and binary forms ... Neither the name":                        "BSD-3-Clause",
		"Redistribution and use in source and\nbinary forms, with":                                      "BSD-2-Clause",
		"GNU GENERAL PUBLIC LICENSE Version 3":                                                          "",
		"all rights reserved":                                                                           "",
		"Mozilla Public License Version 2.0 ... GNU Lesser General Public License, Version 2.1, or ...": "MPL-2.0",
	} {
		if got := classify(text); got != want {
			t.Errorf("%q is told as %q, want %q", text, got, want)
		}
	}
}
