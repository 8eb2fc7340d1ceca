package wire

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// wrongTries is how often credentials are tried that a BMC refuses. BMCs lock accounts after three to five.
const wrongTries = 2

// Account is one log-in: a session, or basic authentication that was seen to work. The credentials never change;
// other ones are another account.
type Account struct {
	endpoint  *Endpoint
	Transport *http.Transport
	root      string
	username  string
	password  string
	auth      string

	lock    chan struct{} // holds one token; guards what follows, over requests
	pass    *pass
	refused int    // log-ins in a row that the BMC refused
	told    string // why the BMC gave no session when it was asked last; "" when it did
}

// pass is what opens the BMC's door now.
type pass struct {
	basic   bool
	token   string
	session string // path, to log out
}

// basic is the credentials as basic authentication spells them.
func (a *Account) basic() string {
	return base64.StdEncoding.EncodeToString([]byte(a.username + ":" + a.password))
}

func (a *Account) acquire(ctx context.Context) error {
	select {
	case a.lock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *Account) release() { <-a.lock }

// current gives a pass, logging in when there is none or when the one given has been refused.
func (a *Account) current(o *Operation, refused *pass) (*pass, error) {
	if err := a.acquire(o.ctx); err != nil {
		return nil, err
	}
	defer a.release()
	if a.pass != nil && a.pass != refused {
		return a.pass, nil
	}
	a.pass = nil
	if a.refused >= wrongTries {
		return nil, a.refusal()
	}
	p, err := a.login(o)
	if err != nil {
		return nil, err
	}
	a.pass, a.refused = p, 0
	return p, nil
}

func (a *Account) refusal() *fault.Fault {
	return fault.New(fault.BMCAuth, "the BMC at %s refused user %q and the password given, %d of at most %d tries", a.endpoint.origin, a.username, a.refused, wrongTries)
}

// login tries a session, basic authentication, or one after the other. Each refusal counts.
func (a *Account) login(o *Operation) (*pass, error) {
	a.told = ""
	if a.auth != "basic" {
		p, err := a.newSession(o)
		if err == nil {
			return p, nil
		}
		status := StatusOf(err)
		if status != 0 && status != http.StatusNotFound && status != http.StatusMethodNotAllowed && status != http.StatusNotImplemented {
			a.told = fault.From(err).Message
		}
		if isRefusal(status) {
			a.count(o)
			if a.auth == "session" || a.refused >= wrongTries {
				return nil, a.refusal()
			}
		}
		// Without sessions (404, 405, 501) or with none left (other statuses) auto goes on with basic.
		if a.auth == "session" && (status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests || status == http.StatusInsufficientStorage) {
			return nil, &statusError{status, fault.New(fault.BMCSessions, "the BMC at %s gives no session, and redfish_auth_type asks for one: %s", a.endpoint.origin, a.told)}
		}
		if a.auth == "session" || status == 0 {
			return nil, err
		}
	}
	// The service root is open to everybody; the list of systems is not.
	root, err := o.Root()
	if err != nil {
		return nil, err
	}
	p := &pass{basic: true}
	r := request{method: http.MethodGet, path: root.Systems, pass: p}
	resp, err := o.exchange(r)
	if err != nil {
		return nil, err
	}
	if isRefusal(resp.StatusCode) {
		a.count(o)
		return nil, a.refusal()
	}
	if resp.StatusCode >= 300 {
		return nil, o.bad(r, resp)
	}
	return p, nil
}

// count counts a refusal; not of a BMC that is waited for: it may be starting still, and its caller counts.
func (a *Account) count(o *Operation) {
	if !o.patient {
		a.refused++
	}
}

func isRefusal(status int) bool {
	return status == http.StatusUnauthorized || status == http.StatusForbidden
}

// newSession logs in. The answer's body is not used in errors: it may repeat what was sent.
func (a *Account) newSession(o *Operation) (*pass, error) {
	root, err := o.Root()
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(map[string]string{"UserName": a.username, "Password": a.password})
	if err != nil {
		return nil, err
	}
	r := request{method: http.MethodPost, path: root.sessions, body: body}
	resp, err := o.exchange(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 300 {
		resp.Body = http.NoBody
		return nil, o.bad(r, resp)
	}
	p := &pass{token: resp.Header.Get("X-Auth-Token")}
	if p.token == "" {
		return nil, &statusError{status: http.StatusNotImplemented, fault: fault.New(fault.BMCError, "the BMC at %s made a session without a token", a.endpoint.origin)}
	}
	if link := resp.Header.Get("Location"); link != "" {
		if p.session, err = o.Resolve(link); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// logout ends the session, if there is one: BMCs have few. Failure is of no consequence, sessions end by themselves.
func (a *Account) logout(ctx context.Context) {
	if a.acquire(ctx) != nil {
		return
	}
	p := a.pass
	a.pass = nil
	a.release()
	if p == nil || p.session == "" {
		return
	}
	o := NewOperation(ctx, a, false, nil)
	if _, err := o.exchange(request{method: http.MethodDelete, path: p.session, pass: p}); err != nil {
		a.endpoint.log.Debug("the session could not be ended", "err", err)
	}
}

// Sessionless says why the BMC gave no session though it knows sessions; "" when it gave one, or none was asked for. Nil
// of a lock that can't be had is no answer.
func (a *Account) Sessionless() string {
	select {
	case a.lock <- struct{}{}:
		defer a.release()
		return a.told
	default:
		return ""
	}
}

// Forgive lets refused credentials be tried again: an operator says that the cause is gone.
func (a *Account) Forgive(ctx context.Context) error {
	if err := a.acquire(ctx); err != nil {
		return err
	}
	a.refused = 0
	a.release()
	return nil
}

// Held is the pass held now; nil before a log-in.
func (a *Account) Held(ctx context.Context) (*pass, error) {
	if err := a.acquire(ctx); err != nil {
		return nil, err
	}
	defer a.release()
	return a.pass, nil
}
