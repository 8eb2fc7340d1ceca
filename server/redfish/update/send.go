package update

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/server/redfish/parts"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/failpoint"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// service is what is needed of the update service.
type service struct {
	ServiceEnabled *bool
	Status         struct{ State string }
	Actions        struct {
		Simple struct {
			Target    string   `json:"target"`
			Protocols []string `json:"TransferProtocol@Redfish.AllowableValues"`
		} `json:"#UpdateService.SimpleUpdate"`
	}
}

// order is one image, ready to be sent.
type order struct {
	target string
	body   map[string]any
}

// send sends the image that is worked on, once: again only when the BMC has answered that it is busy, and where a proxy may have
// answered in its place, only after nothing of the image was found. Stage is taken
// afterwards; or it is sending, and why the answer is missing is in cause; or there is an error.
func (u *updater) send(ctx context.Context) error {
	for end := time.Now().Add(askTime); ; {
		o, err := u.prepare(ctx)
		if err != nil {
			return err
		}
		if err := u.at(ctx, sending); err != nil {
			return err
		}
		u.tell(5, "sending the image for %s", u.want().Component)
		var task string
		err = u.ask(ctx, false, func(b BMC) error {
			failpoint.Here("firmware.update.before")
			raw, location, err := b.Post(o.target, o.body)
			failpoint.Here("firmware.update.after")
			task = taskOf(raw, location)
			return err
		})
		switch {
		case err == nil:
			u.n.Task = task
			return u.at(ctx, taken)
		case ctx.Err() != nil, fault.Has(err, fault.StorageUnavailable):
			return err
		case u.m.Doubtful(err):
			found, atWork, lookErr := u.find(ctx)
			switch {
			case lookErr != nil:
				return lookErr
			case found:
				return u.at(ctx, taken)
			case atWork:
				return u.unknown(fault.From(err).Message)
			case time.Now().After(end):
				return err
			}
			continue // nothing of it shows: the answer is believed
		case !u.m.Refused(err):
			u.cause = fault.From(err).Message
			return nil
		case !fault.Has(err, fault.BMCBusy) || time.Now().After(end):
			return err
		}
		u.tell(5, "the BMC is busy: %s", fault.From(err).Message)
		if err := sleep(ctx, longestPause); err != nil {
			return err
		}
	}
}

// prepare reads what has to be known before the image is sent, and checks that it can be.
func (u *updater) prepare(ctx context.Context) (order, error) {
	want := u.want()
	u.tell(0, "reading the versions")
	var o order
	var other string    // the version that is told, and is not what the image before left;
	var since time.Time // since when
	left := u.left(want.Component)
	for end := time.Now().Add(askTime); ; {
		err := u.ask(ctx, false, func(b BMC) error {
			f, err := b.Find()
			if err != nil {
				return err
			}
			s, err := updates(b, f)
			if err != nil {
				return err
			}
			if err := b.Own(s.Actions.Simple.Target); err != nil {
				return err
			}
			scheme := strings.ToUpper(scheme(want.URL))
			if allowed := s.Actions.Simple.Protocols; len(allowed) > 0 && !slices.Contains(allowed, scheme) {
				return fault.New(fault.BMCUnsupported, "the BMC fetches no image by %s; it offers %s", scheme, parts.Words(strings.Join(allowed, ", "), 200)).
					WithHint("serve the image by one of these")
			}
			o = order{s.Actions.Simple.Target, map[string]any{"ImageURI": want.URL, "TransferProtocol": scheme}}
			if f.Several {
				o.body["Targets"] = []string{f.System}
			}
			u.n = notes{Done: u.n.Done, Reset: f.Reset}
			if u.n.Before, err = version(b, f, want.Component); err != nil {
				return err
			}
			if u.n.Before == "" {
				return missing(b, f, want.Component)
			}
			if left != "" && u.n.Before != left { // stale, or half a start's: by it the image before would be taken for this one
				if u.n.Before != other {
					other, since = u.n.Before, time.Now()
				}
				if time.Since(since) < backTime {
					return fault.New(fault.BMCBusy, "the BMC tells version %s of %s, and told %s after the image before", other, want.Component, left).
						WithHint("look at which version it has, on the BMC's own pages; then ask for the images that are left")
				}
			}
			u.n.Tasks, err = tasks(b, f)
			return err
		})
		// A BMC that has restarted with an image before may not tell all at once.
		lacks := len(u.n.Done) > 0 && (fault.Has(err, fault.BMCUnsupported) || fault.Has(err, fault.StepArgument))
		if err == nil || !lacks && !u.m.Passing(ctx, err) || time.Now().After(end) {
			return o, err
		}
		u.tell(0, "waiting for the BMC: %s", fault.From(err).Message)
		if err := sleep(ctx, longestPause); err != nil {
			return o, err
		}
	}
}

// left is the version that the last image for a component left; "" when there was none in this run.
func (u *updater) left(component string) (version string) {
	for _, d := range u.n.Done {
		if d.Component == component {
			version = d.To
		}
	}
	return version
}

// updates reads the update service and tells whether it takes an image now.
func updates(b BMC, f Found) (service, error) {
	var s service
	if f.Updates == "" {
		return s, fault.New(fault.BMCUnsupported, "the BMC has no update service")
	}
	if err := b.Read(f.Updates, &s); err != nil {
		return s, err
	}
	switch {
	case s.Actions.Simple.Target == "":
		return s, fault.New(fault.BMCUnsupported, "the BMC's update service fetches no images by itself: it lacks SimpleUpdate")
	case s.ServiceEnabled != nil && !*s.ServiceEnabled:
		return s, fault.New(fault.BMCUnsupported, "the BMC's update service is switched off")
	case s.Status.State == updating:
		return s, fault.New(fault.BMCBusy, "the BMC's update service is at work on another image")
	}
	return s, nil
}

// updating is the state of an update service that is at work.
const updating = "Updating"

// version is what a component has now; "": the BMC does not say.
func version(b BMC, f Found, component string) (string, error) {
	switch {
	case component == catalog.ComponentBIOS && f.BIOSVersion != "":
		return parts.Words(f.BIOSVersion, maxVersion), nil
	case component == catalog.ComponentBMC && f.BMCVersion != "":
		return parts.Words(f.BMCVersion, maxVersion), nil
	}
	for _, from := range []string{"", f.Updates} { // the update service's list is long, and asked where the cards say nothing
		all, err := parts.Firmware(b, f.Machine, from)
		if err != nil {
			return "", err
		}
		for _, c := range all {
			if c.Component == component {
				return c.Current, nil
			}
		}
	}
	return "", nil
}

const maxVersion = 255

// missing says which components there are, in place of one whose version the BMC does not tell.
func missing(b BMC, f Found, component string) error {
	all, err := parts.Firmware(b, f.Machine, f.Updates)
	if err != nil {
		return err
	}
	var names []string
	for _, c := range all {
		names = append(names, c.Component)
	}
	return fault.New(fault.StepArgument, "the BMC tells no version of %s, by which its update could be seen; it tells those of %s", component, parts.Words(strings.Join(names, ", "), 400)).
		WithHint("bessemer node firmware list NODE shows the components")
}

// tasks lists the tasks that the BMC knows, of whoever.
func tasks(b BMC, f Found) ([]string, error) {
	if f.Tasks == "" {
		return nil, nil
	}
	var s struct {
		Tasks struct {
			ID string `json:"@odata.id"`
		}
	}
	err := b.Read(f.Tasks, &s)
	if err == nil && s.Tasks.ID != "" {
		var all []string
		if all, err = b.Members(s.Tasks.ID); err == nil {
			return all, nil
		}
	}
	if b.Missing(err) {
		err = nil
	}
	return nil, err
}

// taskOf is the task of an answer: its own place rather than its monitor, which may go with the task's end.
func taskOf(raw []byte, location string) string {
	var t struct {
		ID        string `json:"@odata.id"`
		TaskState string
	}
	if json.Unmarshal(raw, &t) == nil && t.ID != "" && t.TaskState != "" && len(t.ID) <= 1024 {
		return t.ID
	}
	return location
}

func scheme(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Scheme
}
