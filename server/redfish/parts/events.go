package parts

import (
	"encoding/json"
	"path"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Subscription is what is told of a subscription to a BMC's events: Ironic's five fields.
type Subscription struct {
	ID          string   `json:"Id"`
	Context     string   `json:"Context"`
	Protocol    string   `json:"Protocol"`
	Destination string   `json:"Destination"`
	EventTypes  []string `json:"EventTypes"`
}

// Wanted is a subscription to make. Headers may hold what opens the destination: they are passed on and not told.
type Wanted struct {
	Destination string
	EventTypes  []string
	Context     string
	Protocol    string
	Headers     []any `json:"HttpHeaders,omitempty"`
}

// list finds where subscriptions are, and which types of event there are (none: the BMC does not say).
func list(s Service, events string) (place string, types []string, err error) {
	if events == "" {
		return "", nil, fault.New(fault.BMCUnsupported, "the BMC has no event service")
	}
	var e struct {
		Subscriptions link
		Types         []string `json:"EventTypesForSubscription"`
	}
	if err := s.Read(events, &e); err != nil {
		return "", nil, err
	}
	if e.Subscriptions == "" {
		return "", nil, fault.New(fault.BMCUnsupported, "the BMC's event service takes no subscriptions")
	}
	return string(e.Subscriptions), e.Types, nil
}

// Subscribe makes a subscription. It is asked for once: what came of it when the BMC breaks off nobody knows.
func Subscribe(s Service, events string, w Wanted) (Subscription, error) {
	place, types, err := list(s, events)
	if err != nil {
		return Subscription{}, err
	}
	for _, t := range w.EventTypes {
		if len(types) > 0 && !slices.Contains(types, t) {
			return Subscription{}, fault.New(fault.RequestInvalid, "EventTypes: the BMC has no type %.60q; it has %s", t, Words(strings.Join(types, ", "), maxText))
		}
	}
	raw, location, err := s.Post(place, w)
	if err != nil {
		return Subscription{}, err
	}
	var made Subscription
	if json.Unmarshal(raw, &made) == nil && made.ID != "" && made.Destination != "" {
		return clean(made), nil
	}
	if location == "" {
		return Subscription{}, fault.New(fault.BMCError, "the BMC made a subscription and does not say which")
	}
	err = s.Read(location, &made)
	return clean(made), err
}

func clean(sub Subscription) Subscription {
	for _, t := range []*string{&sub.ID, &sub.Context, &sub.Protocol, &sub.Destination} {
		*t = Words(*t, maxValue)
	}
	types := []string{}
	for _, t := range sub.EventTypes[:min(len(sub.EventTypes), maxAllowed)] {
		types = append(types, Words(t, maxText))
	}
	sub.EventTypes = types
	return sub
}

// Subscriptions lists where the BMC's subscriptions are.
func Subscriptions(s Service, events string) (place string, all []string, err error) {
	if place, _, err = list(s, events); err != nil {
		return "", nil, err
	}
	all, err = s.Members(place)
	return place, all, err
}

// find gives the place of the subscription with an id.
func find(s Service, events, id string) (string, error) {
	_, all, err := Subscriptions(s, events)
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(all, func(l string) bool { return path.Base(Place(l)) == id })
	if id == "" || i < 0 {
		return "", fault.New(fault.SubscriptionLost, "the BMC has no subscription %.100q", id)
	}
	return all[i], nil
}

// ReadSubscription reads the one with an id.
func ReadSubscription(s Service, events, id string) (Subscription, error) {
	place, err := find(s, events, id)
	if err != nil {
		return Subscription{}, err
	}
	var sub Subscription
	err = s.Read(place, &sub)
	return clean(sub), err
}

// Unsubscribe ends the one with an id.
func Unsubscribe(s Service, events, id string) error {
	place, err := find(s, events, id)
	if err != nil {
		return err
	}
	return s.Delete(place)
}
