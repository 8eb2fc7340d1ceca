package engine_test

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/integration/evidence"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

func TestLifeOnTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.available()
		_, err := s.c.UpdateNode(t.Context(), conductor.Caller{}, "n1", func(n *conductor.Node, _ map[string]string) error {
			n.InstanceInfo = map[string]any{"image_source": "http://x/os.raw.zst", "image_os_hash_algo": "sha256", "image_os_hash_value": strings.Repeat("a", 64)}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		s.provision(conductor.Provision{Verb: state.VerbDeploy, ConfigDrive: &conductor.ConfigDrive{Files: map[string][]byte{}}})
		a := s.agent(<-s.board.booted)
		cmd := <-s.mail.offers
		if cmd.Args["format"] != "raw.zst" || cmd.Args["configdrive"] != true {
			t.Fatalf("arguments %v", cmd.Args)
		}
		if _, err := s.c.Secret(t.Context(), a.sess, api.SecretRequest{ID: cmd.ID, Name: "configdrive"}); !fault.Is(err, fault.Forbidden) {
			t.Fatalf("I20: a secret before the start: %v", err)
		}
		if _, err := s.c.Start(t.Context(), a.sess, api.StartRequest{ID: cmd.ID, Nonce: "0123456789abcdef"}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.c.Secret(t.Context(), a.sess, api.SecretRequest{ID: cmd.ID, Name: "password"}); !fault.Is(err, fault.Forbidden) {
			t.Fatalf("T10: a secret the step does not list: %v", err)
		}
		drive, err := s.c.Secret(t.Context(), a.sess, api.SecretRequest{ID: cmd.ID, Name: "configdrive"})
		if err != nil || !bytes.Contains(drive, []byte(`"hostname":"n1"`)) {
			t.Fatalf("%s %v", drive, err)
		}
		a.beat(api.HeartbeatRequest{Running: cmd.ID, Progress: &step.Progress{Percent: 40}})
		a.beat(api.HeartbeatRequest{Running: cmd.ID, Progress: &step.Progress{Percent: 30}})
		recs, err := s.c.Steps(t.Context(), "n1", "")
		if err != nil || recs[0].Progress == nil || recs[0].Progress.Percent != 40 {
			t.Fatalf("progress went back: %+v %v", recs[0].Progress, err)
		}
		left := evidence.Left(cmd.Step, cmd.Args, cmd.Devices)
		if err := s.c.Result(t.Context(), a.sess, api.ResultRequest{ID: cmd.ID, Nonce: "0123456789abcdef", Outcome: api.Succeeded, Result: &left}); err != nil {
			t.Fatal(err)
		}
		n := s.until(state.Active)
		if n.Power != conductor.PowerOn || s.board.boot.Device != "disk" || s.board.media != "" {
			t.Fatalf("power %q boot %+v media %q", n.Power, s.board.boot, s.board.media)
		}
		if err := s.c.Heartbeat(t.Context(), a.sess, api.HeartbeatRequest{Seq: 99}); !fault.Has(err, fault.ChannelToken) {
			t.Fatalf("I18: the token outlived the work: %v", err)
		}
		h, err := s.c.History(t.Context(), "n1", conductor.HistoryFilter{Limit: 100, Descending: true})
		if err != nil || len(h) < 10 || h[0].Actor != "op" || h[0].Request != "req-1" {
			t.Fatalf("history %+v %v", h[0], err)
		}
	})
}

func TestI18_SessionIsBoundToKeySourceAndGeneration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.provision(conductor.Provision{Verb: state.VerbManage})
		s.until(state.Manageable)
		s.provision(conductor.Provision{Verb: state.VerbProvide})
		a := s.agent(<-s.board.booted)
		for name, change := range map[string]func(*conductor.Session){
			"node": func(x *conductor.Session) { x.Claims.Node = "22222222-2222-4222-8222-222222222222" },
			// A later one than the record knows only this server can have signed: see TestI15_ATokenOfALaterBoot….
			"generation": func(x *conductor.Session) { x.Claims.Generation-- },
			"token key":  func(x *conductor.Session) { x.Claims.Key = "other" },
			"peer key":   func(x *conductor.Session) { x.Peer.Key = "other" },
			"source":     func(x *conductor.Session) { x.Peer.Addr = netip.MustParseAddr("192.0.2.51") },
		} {
			sess := a.sess
			change(&sess)
			before := s.node().Version
			if err := s.c.Heartbeat(t.Context(), sess, api.HeartbeatRequest{Seq: 50, Steps: catalog.InBand}); err == nil {
				t.Errorf("T2: another %s was accepted", name)
			}
			if s.node().Version != before {
				t.Errorf("T2: another %s changed the node", name)
			}
		}
		if err := s.c.Heartbeat(t.Context(), a.sess, api.HeartbeatRequest{Seq: 1}); !fault.Has(err, fault.ChannelStale) {
			t.Fatalf("F12: a stale heartbeat: %v", err)
		}
	})
}

func TestI17_MediumIsGoneAfterTheLookupAndForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.provision(conductor.Provision{Verb: state.VerbManage})
		s.until(state.Manageable)
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		url := <-s.board.booted
		token := strings.Split(url, "/")[4]
		bmc := netip.MustParseAddr("192.0.2.1")
		if _, err := s.c.Medium(t.Context(), token, netip.MustParseAddr("192.0.2.77")); !fault.Is(err, fault.NotFound) {
			t.Fatalf("another address got the medium: %v", err)
		}
		if !s.node().Boot.MediumRead.IsZero() {
			t.Fatal("a refused read counts as the BMC's")
		}
		if _, err := s.c.Medium(t.Context(), token[:len(token)-2]+"AA", bmc); !fault.Is(err, fault.NotFound) {
			t.Fatalf("a guessed token: %v", err)
		}
		s.agent(url)
		if _, err := s.c.Medium(t.Context(), token, bmc); !fault.Is(err, fault.NotFound) {
			t.Fatalf("the medium outlived the lookup: %v", err)
		}
		s.until(state.Manageable)
		if inv, err := s.c.Inventory(t.Context(), "n1"); err != nil || !inv.Accepted {
			t.Fatalf("inventory %+v %v", inv, err)
		}
		if n := s.node(); n.Properties["cpu_arch"] != "x86_64" {
			t.Fatalf("properties %v", n.Properties)
		}
	})
}

func TestF22_BusyBMCIsTriedAgainAndShownMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.board.answer(fault.New(fault.BMCBusy, "the BMC answered 503"))
		s.provision(conductor.Provision{Verb: state.VerbManage})
		time.Sleep(90 * time.Second)
		n := s.node()
		if n.State != state.Verifying || !strings.Contains(n.Flow.Wait.Evidence, "503") || !strings.HasPrefix(n.Flow.Wait.Evidence, "try ") {
			t.Fatalf("state %q wait %+v", n.State, n.Flow.Wait)
		}
		s.board.answer(nil)
		s.until(state.Manageable)
	})
}

func TestF27_WrongCredentialsAreNotTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.board.answer(fault.New(fault.BMCAuth, "the BMC refuses user admin"))
		s.provision(conductor.Provision{Verb: state.VerbManage})
		began := time.Now()
		n := s.until(state.Enroll)
		if n.LastReason != fault.BMCAuth || time.Since(began) > time.Second {
			t.Fatalf("%s after %s", n.LastError, time.Since(began))
		}
	})
}

func TestF21_DeadBMCFailsTheFlowWithinItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.available()
		s.provision(conductor.Provision{Verb: state.VerbManage})
		s.until(state.Manageable)
		s.board.answer(fault.New(fault.BMCUnreachable, "the BMC at 192.0.2.1 does not answer"))
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		n := s.until(state.InspectFail)
		if n.LastReason != fault.BMCUnreachable {
			t.Fatal(n.LastError)
		}
	})
}

func TestI13_RestartGoesOnWhereItStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.provision(conductor.Provision{Verb: state.VerbManage})
		s.until(state.Manageable)
		s.provision(conductor.Provision{Verb: state.VerbProvide})
		url := <-s.board.booted
		s.until(state.CleanWait)
		before := s.node().Flow.Wait.Deadline
		s.stop()
		time.Sleep(6 * time.Hour) // the server is away; that time counts for nothing (I14)
		s.start()
		synctest.Wait()
		if moved := s.node().Flow.Wait.Deadline.Sub(before); moved < 5*time.Hour {
			t.Fatalf("the deadline moved by %s", moved)
		}
		a := s.agent(url) // the same medium, rendered anew by the restarted server
		a.run("deploy.erase_devices_metadata", nil)
		synctest.Wait() // erase_devices is offered
		<-s.mail.offers
		s.stop()
		s.start()
		a.run("deploy.erase_devices", erased()) // offered again
		s.until(state.Available)
	})
}

func TestI13_InterruptedOutOfBandStepIsANewAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.provision(conductor.Provision{Verb: state.VerbManage})
		s.until(state.Manageable)
		s.board.hang = true
		s.provision(conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{{Name: "management.reset_bmc"}}})
		synctest.Wait()
		s.stop()
		s.board.hang = false
		s.start()
		s.until(state.Manageable)
		recs, err := s.c.Steps(t.Context(), "n1", "")
		if err != nil || len(recs) != 2 || recs[0].State != conductor.StepInterrupted || recs[1].State != conductor.StepSucceeded || recs[0].ID == recs[1].ID {
			t.Fatalf("%+v %v", recs, err)
		}
		if slices.Contains(s.board.acts, "On") {
			t.Fatalf("an out-of-band list powered the machine: %v", s.board.acts)
		}
	})
}

func TestF28_ClockJumpCausesNoTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.provision(conductor.Provision{Verb: state.VerbManage})
		s.until(state.Manageable)
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		url := <-s.board.booted
		s.until(state.InspectWait)
		time.Sleep(5 * time.Second)
		s.skew.Store(int64(10 * 365 * 24 * time.Hour))
		time.Sleep(5 * time.Second)
		if n := s.node(); n.State != state.InspectWait {
			t.Fatalf("the jump ended the wait: %s", n.LastError)
		}
		s.agent(url)
		s.until(state.Manageable)
	})
}

func TestI22_CredentialsStayInTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		if n := s.node(); n.DriverInfo["password"] != conductor.Masked {
			t.Fatalf("driver_info %v", n.DriverInfo)
		}
	})
}

func TestF40_DeletionNeedsAnOwnerlessNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.provision(conductor.Provision{Verb: state.VerbManage})
		s.until(state.Manageable)
		s.provision(conductor.Provision{Verb: state.VerbProvide})
		a := s.agent(<-s.board.booted)
		cmd := <-s.mail.offers
		if _, err := s.c.Start(t.Context(), a.sess, api.StartRequest{ID: cmd.ID, Nonce: "0123456789abcdef"}); err != nil {
			t.Fatal(err)
		}
		if err := s.c.SetMaintenance(t.Context(), conductor.Caller{}, "n1", true, "look"); err != nil {
			t.Fatal(err)
		}
		if err := s.c.DeleteNode(t.Context(), conductor.Caller{}, "n1"); !fault.Is(err, fault.Busy) {
			t.Fatalf("a node with a running eraser was deleted: %v", err)
		}
	})
}

func TestBootWithoutAListenerSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.canBoot.Store(fault.New(fault.FlowListener, "the boot listener is missing: 127.0.0.1:6387 is taken"))
		s.provision(conductor.Provision{Verb: state.VerbManage})
		s.until(state.Manageable)
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		time.Sleep(time.Minute)
		if n := s.node(); n.State != state.Inspecting || !strings.Contains(n.Flow.Wait.Evidence, "6387 is taken") {
			t.Fatalf("state %q, wait %+v", n.State, n.Flow.Wait)
		}
		n := s.until(state.InspectFail)
		if n.LastReason != fault.FlowListener || len(s.board.acts) != 0 {
			t.Fatalf("%s; the machine was touched: %v", n.LastError, s.board.acts)
		}
	})
}

// A server without a ramdisk says so when it is asked, for each boot interface that needs one, and the machine is not touched.
func TestWithoutARamdiskItIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.canBoot.Store(fault.New(fault.BootNoRamdisk, "there is no ramdisk at x.iso").WithHint("bessemer ramdisk build --output ."))
		v, err := s.c.Validate(t.Context(), "n1")
		if err != nil || !strings.Contains(v["boot"], "x.iso") || v["deploy"] == "" {
			t.Errorf("validate says %v, %v", v, err)
		}
		s.provision(conductor.Provision{Verb: state.VerbManage})
		s.until(state.Manageable)
		s.provision(conductor.Provision{Verb: state.VerbProvide})
		n := s.until(state.CleanFail)
		if n.LastReason != fault.BootNoRamdisk || !strings.Contains(n.LastError, "bessemer ramdisk build") || len(s.board.acts) != 0 {
			t.Errorf("%s; the machine was touched: %v", n.LastError, s.board.acts)
		}
		if by := s.by.Load(); by == nil || *by != drivers.VirtualMedia {
			t.Errorf("it was asked about the boot interface %v, expected %s", by, drivers.VirtualMedia)
		}
	})
}
