package engine_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// listed is an available node whose image's digest is in a file of checksums, which says what answer gives.
func listed(t *testing.T, info map[string]any, answer func(list, image string) (string, string, error)) *site {
	t.Helper()
	s := newSite(t)
	s.stop()
	s.digest = func(_ context.Context, list, image string) (string, string, error) { return answer(list, image) }
	s.start()
	s.available()
	s.describe(info)
	return s
}

// describe sets instance_info.
func (s *site) describe(info map[string]any) {
	s.t.Helper()
	if _, err := s.c.UpdateNode(s.t.Context(), conductor.Caller{}, "n1", func(n *conductor.Node, _ map[string]string) error {
		n.InstanceInfo = info
		return nil
	}); err != nil {
		s.t.Fatal(err)
	}
}

// writes is the arguments of the step that writes the image.
func (s *site) writes() step.Args {
	s.t.Helper()
	for _, r := range s.steps() {
		if r.Step.Name == "deploy.write_image" {
			return r.Args
		}
	}
	s.t.Fatal("no image is written")
	return nil
}

const sums = "http://images.example/SHA256SUMS"

func TestADeploymentReadsTheFileOfChecksums(t *testing.T) {
	for name, info := range map[string]map[string]any{
		"as checksum": {"image_source": "http://x/os.raw.zst", "image_checksum": sums},
		"as hash":     {"image_source": "http://x/os.raw.zst", "image_os_hash_algo": "sha256", "image_os_hash_value": sums},
	} {
		synctest.Test(t, func(t *testing.T) {
			asked := 0
			s := listed(t, info, func(list, image string) (string, string, error) {
				if asked++; list != sums || image != "http://x/os.raw.zst" {
					t.Errorf("%s: asked for %s in %s", name, image, list)
				}
				return "sha256", strings.Repeat("b", 64), nil
			})
			if valid, err := s.c.Validate(t.Context(), "n1"); err != nil || valid["deploy"] != "" || asked != 0 {
				t.Errorf("%s: validation says %q, %v, after %d requests", name, valid["deploy"], err, asked)
			}
			if _, err := s.c.Plan(t.Context(), "n1", conductor.Provision{Verb: state.VerbInspect}); err != nil || asked != 0 {
				t.Errorf("%s: an inspection's plan: %v, after %d requests", name, err, asked)
			}
			if p, err := s.c.Plan(t.Context(), "n1", conductor.Provision{Verb: state.VerbDeploy}); err != nil || p.Err() != nil || p.Items[0].Args.Text("digest") != strings.Repeat("b", 64) {
				t.Errorf("%s: planned %+v, %v", name, p, err)
			}
			s.provision(conductor.Provision{Verb: state.VerbDeploy})
			if args := s.writes(); args.Text("digest") != strings.Repeat("b", 64) || args.Text("digest_algorithm") != "sha256" || args.Text("format") != "raw.zst" {
				t.Errorf("%s: %v", name, args)
			}
			if n := s.node(); n.InstanceInfo["image_checksum"] != info["image_checksum"] || n.InstanceInfo["image_os_hash_value"] != info["image_os_hash_value"] {
				t.Errorf("%s: instance_info is %v, which the operator did not give", name, n.InstanceInfo)
			}
		})
	}
}

// Nothing is begun when the file can't be read, says another algorithm, or belongs to another image by now.
func TestADeploymentWithoutItsChecksumIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		info := func() map[string]any {
			return map[string]any{"image_source": "http://x/os.raw.zst", "image_os_hash_algo": "sha256", "image_os_hash_value": sums}
		}
		var answer func() (string, string, error)
		s := listed(t, info(), func(_, _ string) (string, string, error) { return answer() })
		good := func() (string, string, error) { return "sha256", strings.Repeat("b", 64), nil }
		other := func(key, value string) func() (string, string, error) {
			return func() (string, string, error) {
				changed := info()
				changed[key] = value
				s.describe(changed)
				return good()
			}
		}
		for name, c := range map[string]struct {
			answer func() (string, string, error)
			reason fault.Reason
		}{
			"unreachable":          {func() (string, string, error) { return "", "", fault.New(fault.ImageUnreachable, "away") }, fault.ImageUnreachable},
			"another algorithm":    {func() (string, string, error) { return "sha512", strings.Repeat("b", 128), nil }, fault.RequestInvalid},
			"another image by now": {other("image_source", "http://x/other.raw.zst"), fault.StateConflict},
			"another list by now":  {other("image_os_hash_value", "http://images.example/other"), fault.StateConflict},
		} {
			s.describe(info())
			answer = c.answer
			// Its plan shows all the same what would be done, and at which step this is wrong.
			p, err := s.c.Plan(t.Context(), "n1", conductor.Provision{Verb: state.VerbDeploy, DeploySteps: []step.Wanted{{Name: "bios.nope", Priority: 95}}})
			if err != nil || len(p.Items) != 1 || len(p.Problems) != 2 || p.Problems[0].Step != "bios.nope" || p.Problems[1].Reason != c.reason || c.reason == fault.ImageUnreachable && p.Problems[1].Step != "deploy.write_image" {
				t.Errorf("%s: planned %+v, %v", name, p, err)
			}
			s.describe(info())
			err = s.c.Provision(t.Context(), conductor.Caller{Name: "op"}, "n1", conductor.Provision{Verb: state.VerbDeploy})
			if !fault.Has(err, c.reason) || s.node().State != state.Available {
				t.Errorf("%s: %v, %s", name, err, s.node().State)
			}
		}
		s.describe(info())
		answer = other("image_os_hash_value", strings.Repeat("c", 64)) // the operator's own, given meanwhile, counts
		s.provision(conductor.Provision{Verb: state.VerbDeploy})
		if got := s.writes().Text("digest"); got != strings.Repeat("c", 64) {
			t.Errorf("digest %s", got)
		}
	})
}
