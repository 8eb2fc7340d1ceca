package differential

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Side is one of the two servers.
type Side struct {
	Normaliser
	Client *http.Client
	saved  map[string]string
	last   Answer
}

// latest is the version that waiting and tidying up ask for: the newest of Debian's Ironic.
const latest = "1.82"

// patience is how long an answer or a node on its way to a state may take; settled, how long a node may rest in another
// state before it counts as one that will not get there.
const (
	patience = 30 * time.Second
	settled  = 5 * time.Second
)

// Play sends the lines to both sides and gives all differences, and how many requests were sent to each.
func Play(ctx context.Context, lines []Line, theirs, ours *Side) (found []Difference, sent int, err error) {
	theirs.saved, ours.saved = map[string]string{}, map[string]string{}
	for _, l := range lines {
		switch l.Kind {
		case "save":
			if a, b := theirs.save(l), ours.save(l); a != b {
				found = append(found, Difference{Request: "save " + l.Name + " " + l.Value, Version: latest, Part: "saved", Theirs: a, Ours: b})
			}
		case "request":
			for _, v := range l.Versions {
				a, b, err := both(theirs, ours, func(s *Side) (Answer, error) { return s.send(ctx, l.Method, l.Path, v, l.Body) })
				if err != nil {
					return found, sent, fmt.Errorf("line %d: %w", l.Number, err)
				}
				sent++
				theirs.last, ours.last = a, b
				found = append(found, Compare(l, v, theirs.Answer(a), ours.Answer(b))...)
			}
		default:
			d, err := both2(theirs, ours, func(s *Side) (string, error) { return s.until(ctx, l) })
			if err != nil {
				return found, sent, fmt.Errorf("line %d: %w", l.Number, err)
			}
			if d[0] != d[1] {
				found = append(found, Difference{Label: l.Label, Request: l.Kind + " " + l.Name + " " + l.Value, Version: latest, Part: "state", Theirs: d[0], Ours: d[1]})
			}
		}
	}
	return found, sent, nil
}

func both2[T any](theirs, ours *Side, act func(*Side) (T, error)) ([2]T, error) {
	a, b, err := both(theirs, ours, act)
	return [2]T{a, b}, err
}

// both does something on both sides at once.
func both[T any](theirs, ours *Side, act func(*Side) (T, error)) (a, b T, err error) {
	var other error
	done := make(chan struct{})
	go func() { defer close(done); b, other = act(ours) }()
	a, err = act(theirs)
	<-done
	if err == nil {
		err = other
	}
	return a, b, err
}

func (s *Side) send(ctx context.Context, method, path, version, body string) (Answer, error) {
	for name, v := range s.saved {
		path = strings.ReplaceAll(path, "{"+name+"}", url.PathEscape(v))
		body = strings.ReplaceAll(body, "{"+name+"}", v)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, method, s.URL+path, strings.NewReader(body))
	if err != nil {
		return Answer{}, err
	}
	if version != "-" {
		q.Header.Set("X-OpenStack-Ironic-API-Version", version)
	}
	if body != "" {
		q.Header.Set("Content-Type", "application/json")
	}
	q.Header.Set("Accept", "application/json")
	a, err := s.Client.Do(q)
	if err != nil {
		return Answer{}, err
	}
	defer a.Body.Close()
	text, err := io.ReadAll(io.LimitReader(a.Body, 16<<20))
	if err != nil {
		return Answer{}, err
	}
	return Answer{Status: a.StatusCode, Header: a.Header, Body: bytes.TrimSpace(text)}, nil
}

// save keeps a value of the last answer, and tells whether there was one: requests that need it fail by themselves.
func (s *Side) save(l Line) string {
	s.saved[l.Name] = "none"
	v, err := value(s.last.Body)
	if err != nil {
		return "none"
	}
	for key := range strings.SplitSeq(strings.TrimPrefix(l.Value, "/"), "/") {
		switch x := v.(type) {
		case map[string]any:
			v = x[key]
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(x) {
				return "none"
			}
			v = x[i]
		default:
			v = nil
		}
	}
	text, ok := v.(string)
	if !ok {
		return "none"
	}
	s.saved[l.Name] = text
	return "there"
}

// until waits for a state and gives "reached", or how it stands after patience.
func (s *Side) until(ctx context.Context, l Line) (string, error) {
	path := "/v1/nodes/" + l.Name
	if l.Kind == "until-allocated" {
		path = "/v1/allocations/" + l.Name
	}
	deadline, since, was := time.Now().Add(patience), time.Now(), ""
	for {
		a, err := s.send(ctx, http.MethodGet, path, latest, "")
		if err != nil {
			return "", err
		}
		var n struct {
			State       string `json:"provision_state"`
			Power       string `json:"power_state"`
			TargetPower string `json:"target_power_state"`
			Error       string `json:"last_error"`
			Reservation string `json:"reservation"`
			Allocation  string `json:"state"`
		}
		if a.Status != http.StatusOK {
			return fmt.Sprintf("status %d", a.Status), nil
		}
		if err := json.Unmarshal(a.Body, &n); err != nil {
			return "", err
		}
		stands, free := n.State, n.Reservation == ""
		switch l.Kind {
		case "until-power":
			stands, free = n.Power, n.TargetPower == "" && n.Reservation == ""
		case "until-allocated":
			if n.Allocation != "allocating" {
				return n.Allocation, nil
			}
		}
		if stands == l.Value && free && l.Kind != "until-allocated" {
			return "reached", nil
		}
		if now := fmt.Sprintf("%s %v", stands, free); now != was {
			was, since = now, time.Now()
		}
		if free && time.Since(since) > settled || time.Now().After(deadline) {
			return fmt.Sprintf("%s (%s)", stands, n.Error), nil
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(30 * time.Millisecond):
		}
	}
}

// Tidy removes what a file of requests left, so that the next begins with an empty server.
func (s *Side) Tidy(ctx context.Context) error {
	for _, kind := range []string{"maintenance", "allocations", "nodes", "deploy_templates", "chassis"} {
		maintenance := kind == "maintenance" // in which nearly everything may be removed
		if maintenance {
			kind = "nodes"
		}
		a, err := s.send(ctx, http.MethodGet, "/v1/"+kind, latest, "")
		if err != nil {
			return err
		}
		if a.Status == http.StatusNotFound {
			continue // this server does not have them
		}
		var lists map[string]json.RawMessage
		if err := json.Unmarshal(a.Body, &lists); err != nil {
			return fmt.Errorf("list %s: %w: %s", kind, err, a.Body)
		}
		var all []struct{ UUID string }
		if err := json.Unmarshal(lists[kind], &all); err != nil {
			return fmt.Errorf("list %s: %w", kind, err)
		}
		for _, x := range all {
			if maintenance {
				if _, err := s.send(ctx, http.MethodPut, "/v1/nodes/"+x.UUID+"/maintenance", latest, "{}"); err != nil {
					return err
				}
				if _, err := s.send(ctx, http.MethodPatch, "/v1/nodes/"+x.UUID, latest, `[{"op":"replace","path":"/protected","value":false}]`); err != nil {
					return err
				}
				continue
			}
			if err := s.remove(ctx, "/v1/"+kind+"/"+x.UUID); err != nil {
				return err
			}
		}
	}
	return nil
}

// remove deletes a thing that may be busy still.
func (s *Side) remove(ctx context.Context, path string) error {
	deadline := time.Now().Add(patience)
	for {
		a, err := s.send(ctx, http.MethodDelete, path, latest, "")
		if err != nil {
			return err
		}
		if a.Status == http.StatusNoContent || a.Status == http.StatusNotFound {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: DELETE %s: status %d: %s", s.URL, path, a.Status, a.Body)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}
