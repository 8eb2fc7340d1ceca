package redfish

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/redfish/target"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// failing answers the first n requests that match with a status.
func failing(n int, match string, status int, header ...string) func(http.ResponseWriter, *http.Request) bool {
	var mu sync.Mutex
	return func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if n == 0 || !strings.Contains(r.Method+" "+r.URL.Path, match) {
			return false
		}
		n--
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		return true
	}
}

func TestF21_I28_DeadBMCDelaysOnlyItsOwnNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.wire.drop["dead.test:80"] = true
		dead := l.bmc(t, target.KeyAddress, "http://dead.test")
		alive := l.bmc(t)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if _, err := dead.Power(t.Context()); !fault.Has(err, fault.BMCUnreachable) {
					t.Errorf("the dead BMC gives %v", err)
				}
			})
		}
		start := time.Now()
		for range 5 {
			if _, err := alive.Power(t.Context()); err != nil {
				t.Errorf("the live BMC gives %v", err)
			}
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("five questions to the live BMC took %s", took)
		}
		wg.Wait()
		if n := count(l.wire.asked, "dead.test:80"); n > breakAfter+1 {
			t.Errorf("20 questions made %d connections to the dead BMC, expected the breaker to stop them", n)
		}
	})
}

func count(all []string, one string) (n int) {
	for _, s := range all {
		if s == one {
			n++
		}
	}
	return n
}

func TestF21_BreakerLetsOneThroughAndClosesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		b := l.bmc(t)
		l.wire.drop["bmc.test:80"] = true
		for range breakAfter {
			_, _ = b.Power(t.Context())
		}
		start := time.Now()
		if _, err := b.Power(t.Context()); !fault.Has(err, fault.BMCUnreachable) || !strings.Contains(err.Error(), "asked again in") {
			t.Errorf("got %v", err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("an open breaker answered after %s", took)
		}
		l.wire.drop["bmc.test:80"] = false
		time.Sleep(breakFirst + time.Second)
		if _, err := b.Power(t.Context()); err != nil {
			t.Errorf("after the pause: %v", err)
		}
	})
}

// What a BMC was asked last, when, and what came of it is kept for people: an answer of any kind, none at all, and what the
// budget had no room for.
func TestF21_HealthTellsWhatWasAskedLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		b := l.bmc(t)
		asked := time.Now()
		expect := func(when string, got, want conductor.Exchange) {
			t.Helper()
			if got.Asked != want.Asked || got.Came != want.Came || got.At.Before(asked) || got.At.After(time.Now()) {
				t.Errorf("%s: %q at %s, want %q since %s", when, got, got.At, want, asked)
			}
			time.Sleep(time.Second)
			asked = time.Now()
		}
		health := func() conductor.Health { return l.driver.Health(info()) }
		if _, err := b.Power(t.Context()); err != nil {
			t.Fatal(err)
		}
		expect("an answer", health().Last, conductor.Exchange{Asked: "GET /redfish/v1/Systems/1", Came: "200 OK"})
		l.before = failing(readTries, "GET /redfish/v1/Systems", 503)
		_, _ = b.Power(t.Context())
		expect("a bad answer", health().Last, conductor.Exchange{Asked: "GET /redfish/v1/Systems", Came: "503 Service Unavailable"})
		l.do(func() { l.away = true })
		_, _ = b.Power(t.Context())
		if h := health(); h.Failed == 0 || h.Unsent != (conductor.Exchange{}) {
			t.Errorf("no answer: %+v", h)
		}
		expect("no answer", health().Last, conductor.Exchange{Asked: "GET /redfish/v1/", Came: "connection broken off"})
		l.do(func() { l.away = false })
		time.Sleep(breakLongest)
		if _, err := b.Power(t.Context()); err != nil {
			t.Fatal(err)
		}
		gate := make(chan struct{})
		l.before = func(http.ResponseWriter, *http.Request) bool { <-gate; return false }
		var wg sync.WaitGroup
		for _, id := range []string{"2", "3"} { // they take all of what a BMC is asked at a time
			wg.Go(func() { _, _ = l.bmc(t, target.KeySystem, "/redfish/v1/Systems/"+id).Power(t.Context()) })
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := b.Power(ctx); !fault.Has(err, fault.BMCUnreachable) {
			t.Errorf("a full budget: %v", err)
		}
		expect("a full budget", health().Unsent, conductor.Exchange{Asked: "GET /redfish/v1/", Came: "not sent in time: the BMC may be asked 2 things at a time and 20 a second"})
		close(gate)
		wg.Wait()
	})
}

func TestF21_HalfOpenBreakerSendsOneToSee(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		if _, err := l.bmc(t).Power(t.Context()); err != nil { // logs in, so that log-ins take no turns below
			t.Fatal(err)
		}
		l.do(func() { l.away = true })
		_, _ = l.bmc(t).Power(t.Context())
		time.Sleep(breakFirst + time.Second)
		before := l.count("GET")
		var wg sync.WaitGroup
		for _, id := range []string{"1", "2", "3", "4"} { // operations on different machines run at the same time
			wg.Go(func() { _, _ = l.bmc(t, target.KeySystem, "/redfish/v1/Systems/"+id).Power(t.Context()) })
		}
		wg.Wait()
		if n := l.count("GET") - before; n != 1 {
			t.Errorf("%d requests were sent, expected 1", n)
		}
	})
}

func TestF21_CallerWhoLeavesIsNotHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.before = func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true }
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()
		_, err := l.bmc(t).Facts(ctx)
		if took := time.Since(start); took != 5*time.Second || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("returned after %s with %v", took, err)
		}
	})
}

func TestF22_PassingErrorsAreAskedAgain(t *testing.T) {
	for _, status := range []int{500, 502, 503, 504, 429} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t)
			l.before = failing(2, "GET /redfish/v1/Systems/1", status)
			if p, err := l.bmc(t).Power(t.Context()); err != nil || p != conductor.PowerOff {
				t.Errorf("%d twice, then well: %q, %v", status, p, err)
			}
			l.before = failing(-1, "GET /redfish/v1/Systems/1", status)
			before := l.count("GET /redfish/v1/Systems/1")
			_, err := l.bmc(t).Power(t.Context())
			if n := l.count("GET /redfish/v1/Systems/1") - before; err == nil || n != readTries {
				t.Errorf("%d for ever: asked %d times, %v", status, n, err)
			}
			if busy := status == 503 || status == 429; busy != fault.Has(err, fault.BMCBusy) {
				t.Errorf("%d is told as %v", status, err)
			}
		})
	}
}

func TestF22_RetryAfterIsHonouredUpToABound(t *testing.T) {
	for after, want := range map[string]time.Duration{"7": 7 * time.Second, "86400": longestRetry} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t)
			b := l.bmc(t)
			l.before = failing(1, "GET /redfish/v1/Systems/1", 503, "Retry-After", after)
			start := time.Now()
			if _, err := b.Power(t.Context()); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took < want || took > want+want/4+time.Second {
				t.Errorf("Retry-After %s was waited for %s", after, took)
			}
		})
	}
}

func TestF22_F24_ForgottenSessionIsRenewedOnce(t *testing.T) {
	l := newLab(t)
	b := l.bmc(t)
	for range 3 {
		if err := b.SetPower(t.Context(), conductor.On); err != nil {
			t.Fatal(err)
		}
		l.do(func() { clear(l.sessions) })
	}
	if l.made != 3 {
		t.Errorf("%d log-ins for three operations with a forgotten session between them", l.made)
	}
	if err := b.SetPower(t.Context(), conductor.On); err != nil {
		t.Fatal(err)
	}
	// An act that got 401 was not done: it is sent again after the log-in.
	l.before = failing(1, "POST /redfish/v1/Systems/1/Actions", 401)
	if err := b.SetPower(t.Context(), conductor.ForceOff); err != nil || l.power != "Off" {
		t.Errorf("401 at the act: %v, power %s", err, l.power)
	}
	// A BMC that refuses for ever is asked for one log-in only, and it is not the credentials' fault.
	l.before = failing(-1, "GET /redfish/v1/Systems/1", 401)
	made := l.made
	_, err := b.Power(t.Context())
	if err == nil || fault.Has(err, fault.BMCAuth) || l.made != made+1 {
		t.Errorf("401 for ever: %v, %d log-ins", err, l.made-made)
	}
}

// A BMC that forgets each session after one request is not logged in to for each request.
func TestF22_OneLogInAnewForAnOperation(t *testing.T) {
	l := newLab(t)
	seen := map[string]bool{}
	l.before = func(_ http.ResponseWriter, r *http.Request) bool {
		l.do(func() {
			if strings.HasPrefix(r.URL.Path, "/redfish/v1/Systems/1/") && !seen[r.URL.Path] {
				clear(l.sessions)
			}
			seen[r.URL.Path] = true
		})
		return false
	}
	if _, err := l.bmc(t).Facts(t.Context()); err == nil || fault.Has(err, fault.BMCAuth) {
		t.Errorf("got %v", err)
	}
	if l.made != 2 {
		t.Errorf("%d log-ins in one operation, expected the first and one anew", l.made)
	}
}

func TestF22_F25_StateReadAnewDecides(t *testing.T) {
	cases := map[string]struct {
		before func(l *lab) func(http.ResponseWriter, *http.Request) bool
		ok     bool
	}{
		"400 though it is so": {func(l *lab) func(http.ResponseWriter, *http.Request) bool {
			l.power = "On"
			return failing(-1, "ComputerSystem.Reset", 400)
		}, true},
		"409 though it is so": {func(l *lab) func(http.ResponseWriter, *http.Request) bool {
			l.power = "On"
			return failing(-1, "ComputerSystem.Reset", 409)
		}, true},
		"400 and it is not so": {func(*lab) func(http.ResponseWriter, *http.Request) bool {
			return failing(-1, "ComputerSystem.Reset", 400)
		}, false},
		"503 once": {func(*lab) func(http.ResponseWriter, *http.Request) bool {
			return failing(1, "ComputerSystem.Reset", 503)
		}, true},
		"500 for ever": {func(*lab) func(http.ResponseWriter, *http.Request) bool {
			return failing(-1, "ComputerSystem.Reset", 500)
		}, false},
		"done, then 500": {func(l *lab) func(http.ResponseWriter, *http.Request) bool {
			return func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, "ComputerSystem.Reset") {
					return false
				}
				l.do(func() { l.power = "On" })
				w.WriteHeader(500)
				return true
			}
		}, true},
		"done, then silent": {func(l *lab) func(http.ResponseWriter, *http.Request) bool {
			return func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, "ComputerSystem.Reset") {
					return false
				}
				l.do(func() { l.power = "On" })
				_, _ = io.Copy(io.Discard, r.Body)
				<-r.Context().Done()
				return true
			}
		}, true},
		"not done, connection cut once": {func(l *lab) func(http.ResponseWriter, *http.Request) bool {
			cut := false
			return func(w http.ResponseWriter, r *http.Request) bool {
				if cut || !strings.Contains(r.URL.Path, "ComputerSystem.Reset") {
					return false
				}
				cut = true
				panic(http.ErrAbortHandler)
			}
		}, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				b := l.bmc(t)
				before := c.before(l)
				l.do(func() { l.before = before })
				if err := b.SetPower(t.Context(), conductor.On); (err == nil) != c.ok {
					t.Errorf("got %v, success expected: %v", err, c.ok)
				}
				for _, r := range l.resets {
					if r != "On" {
						t.Errorf("the BMC was asked for %s", r)
					}
				}
				if n := l.count("POST /redfish/v1/Systems/1/Actions"); n > actTries {
					t.Errorf("the act was sent %d times", n)
				}
			})
		})
	}
}

func TestF23_IgnoredBootDeviceIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.before = failing(-1, "PATCH /redfish/v1/Systems/1", 200)
		err := l.bmc(t).SetBoot(t.Context(), conductor.BootTarget{Device: "cdrom"})
		if !fault.Has(err, fault.BMCError) || !strings.Contains(err.Error(), "still says None, Disabled") {
			t.Errorf("got %v", err)
		}
	})
}

func TestF23_IgnoredMediumIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.before = failing(-1, "InsertMedia", 204)
		if err := l.bmc(t).SetMedia(t.Context(), medium); !fault.Has(err, fault.BMCError) {
			t.Errorf("an ignored insert gives %v", err)
		}
		l.do(func() { l.before, l.image, l.inserted = failing(-1, "EjectMedia", 204), "http://192.0.2.9/x.iso", true })
		if err := l.bmc(t).SetMedia(t.Context(), ""); !fault.Has(err, fault.BMCError) {
			t.Errorf("an ignored eject gives %v", err)
		}
	})
}

// SetPower sends the act even when the BMC says that the state is reached already: it may lie.
func TestF23_ClaimedPowerStateDoesNotStopTheAct(t *testing.T) {
	l := newLab(t)
	l.power = "On"
	l.lie = func(path string, o map[string]any) {
		if o["PowerState"] != nil {
			o["PowerState"] = "Off"
		}
	}
	if err := l.bmc(t).SetPower(t.Context(), conductor.ForceOff); err != nil || l.power != "Off" {
		t.Errorf("got %v, power %s", err, l.power)
	}
}

func TestF23_StaleBootOrderIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		until := time.Now().Add(10 * time.Second)
		old := maps.Clone(l.boot)
		l.lie = func(path string, o map[string]any) {
			if o["Boot"] != nil && time.Now().Before(until) {
				o["Boot"] = old
			}
		}
		if err := l.bmc(t).SetBoot(t.Context(), conductor.BootTarget{Device: "cdrom"}); err != nil {
			t.Error(err)
		}
	})
}

func TestF23_TransitionIsNoState(t *testing.T) {
	l := newLab(t)
	b := l.bmc(t)
	for _, s := range []string{"PoweringOff", "PoweringOn", "Paused", "Magic", ""} {
		l.do(func() { l.power = s })
		if p, err := b.Power(t.Context()); p != "" || err != nil {
			t.Errorf("%s is told as %q, %v", s, p, err)
		}
	}
}

func TestF24_LostMediumIsPutInAgain(t *testing.T) {
	l := newLab(t)
	b := l.bmc(t)
	for range 2 {
		if err := b.SetMedia(t.Context(), medium); err != nil || l.image != medium {
			t.Fatalf("%v, image %q", err, l.image)
		}
		l.do(func() { l.image, l.inserted = "", false; clear(l.sessions) })
	}
}

func TestF25_FailedTaskIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.tasks["9"] = "Exception"
		l.before = failing(-1, "ComputerSystem.Reset", 202, "Location", "/redfish/v1/TaskService/Tasks/9")
		err := l.bmc(t).SetPower(t.Context(), conductor.On)
		if !fault.Has(err, fault.BMCTask) || !strings.Contains(err.Error(), "task 9") {
			t.Errorf("got %v", err)
		}
	})
}

func TestF27_WrongCredentialsAreTriedTwiceAtMost(t *testing.T) {
	for _, auth := range []string{"auto", "session", "basic"} {
		t.Run(auth, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				var wg sync.WaitGroup
				for range 10 {
					wg.Go(func() {
						b := l.with(t, "wrong", target.KeyAuth, auth)
						for name, err := range everything(t, b) {
							if !fault.Has(err, fault.BMCAuth) {
								t.Errorf("%s gives %v", name, err)
							}
						}
					})
				}
				wg.Wait()
				if l.refused != 2 {
					t.Errorf("the wrong password was tried %d times, expected 2", l.refused)
				}
				if _, err := l.bmc(t, target.KeyAuth, auth).Power(t.Context()); err != nil {
					t.Errorf("the right password is not tried: %v", err)
				}
			})
		})
	}
}

// The BMC's side may be what was wrong: an operator who asks anew gets two more tries, and nobody else does.
func TestF27_OperatorAsksAnew(t *testing.T) {
	l := newLab(t)
	b := l.with(t, "wrong")
	for range 3 {
		_, _ = b.Power(t.Context())
	}
	again, err := l.driver.Open(t.Context(), conductor.Access{Node: "n1", Info: info(), Secrets: map[string]string{target.KeyPassword: "wrong"}, Again: true})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := again.Power(t.Context()); !fault.Has(err, fault.BMCAuth) {
			t.Errorf("got %v", err)
		}
	}
	if l.refused != 4 {
		t.Errorf("the wrong password was tried %d times, expected 4", l.refused)
	}
}

// A password changed at the BMC costs at most two tries, too.
func TestF27_PasswordChangedUnderASession(t *testing.T) {
	l := newLab(t)
	b := l.bmc(t)
	if _, err := b.Power(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.do(func() { clear(l.sessions) })
	l.before = func(w http.ResponseWriter, r *http.Request) bool {
		open := strings.TrimSuffix(r.URL.Path, "/") == "/redfish/v1"
		if !open {
			w.WriteHeader(401)
		}
		return !open
	}
	logins := func() int {
		return l.count("POST /redfish/v1/SessionService/Sessions") + l.count("GET /redfish/v1/Systems")
	}
	before := logins()
	for range 5 {
		if _, err := b.Power(t.Context()); !fault.Has(err, fault.BMCAuth) {
			t.Errorf("got %v", err)
		}
	}
	// One request with the forgotten session, then a session and a basic log-in.
	if n := logins() - before; n > wrongTries+1 {
		t.Errorf("%d requests with the old password: %v", n, l.log)
	}
}

// A BMC repeats what it was sent; neither errors nor logs may.
func TestI22_SecretsStayOutOfErrorsAndLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.before = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet {
				return false
			}
			body := new(strings.Builder)
			buf := make([]byte, 4096)
			n, _ := r.Body.Read(buf)
			body.Write(buf[:n])
			l.do(func() {
				l.fail(w, http.StatusBadRequest, "you sent "+body.String()+" "+r.Header.Get("Authorization")+r.Header.Get("X-Auth-Token"))
			})
			return true
		}
		secrets := []string{"canary", "token-", base64.StdEncoding.EncodeToString([]byte(user + ":" + password))}
		for _, auth := range []string{"basic", "session"} {
			b := l.bmc(t, target.KeyAuth, auth)
			all := everything(t, b)
			for name, err := range all {
				for e := err; e != nil; e = errors.Unwrap(e) {
					for _, secret := range secrets {
						if strings.Contains(e.Error(), secret) {
							t.Errorf("%s by %s tells a secret: %v", name, auth, e)
						}
					}
				}
			}
			if all["SetMedia"] == nil {
				t.Error("SetMedia succeeded")
			}
		}
		for _, secret := range secrets {
			if strings.Contains(l.logged.String(), secret) {
				t.Errorf("the log has a secret: %s", l.logged)
			}
		}
	})
}

func TestOneOperationAtATimeOnAMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		b := l.bmc(t)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if err := b.SetMedia(t.Context(), medium); err != nil {
					t.Error(err)
				}
			})
			wg.Go(func() {
				if err := b.SetBoot(t.Context(), conductor.BootTarget{Device: "cdrom"}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := l.count("POST /redfish/v1/Managers/bmc/VirtualMedia/Cd/Actions/VirtualMedia.InsertMedia"); n != 1 {
			t.Errorf("the medium was inserted %d times", n)
		}
	})
}

func TestRequestsAreCountedAndPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		b := l.bmc(t)
		start := time.Now()
		for range 200 {
			if _, err := b.Power(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		n := len(slices.Clone(l.log))
		if took, least := time.Since(start), time.Duration(n-burst)*time.Second/perSecond; took < least {
			t.Errorf("%d requests in %s, expected at least %s", n, took, least)
		}
	})
}
