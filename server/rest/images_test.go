package rest_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest"
	"github.com/bessemer-metal/bessemer/server/rest/login"
)

// TestI27_ImagesArePublishedAndDeletedWithATrace: who replaces what machines boot from is in the audit, and what can't be put
// there is not done.
func TestI27_ImagesArePublishedAndDeletedWithATrace(t *testing.T) {
	s := newServer(t)
	s.want(s.do("PUT", "/v1/images/debian.raw", "first"), 201)
	s.want(s.do("DELETE", "/v1/images/debian.raw", ""), 204)
	s.want(s.do("DELETE", "/v1/images/absent.raw", ""), 404)
	s.want(s.do("PUT", "/v1/images/.hidden", "x"), 400)
	var acts []string
	for _, a := range s.recorded {
		acts = append(acts, fmt.Sprint(a.Act, " ", a.Actor, " ", a.Detail["image"]))
		if !strings.HasPrefix(a.Request, "req-") {
			t.Errorf("%s has the request %q", a.Act, a.Request)
		}
	}
	want := "image.publish noauth debian.raw, image.published noauth debian.raw, image.delete noauth debian.raw"
	if got := strings.Join(acts, ", "); got != want {
		t.Errorf("the audit has %s, expected %s", got, want)
	}
	s.want(s.do("PUT", "/v1/images/kept.raw", "old"), 201)
	s.handler = rest.New(rest.Config{Backend: mute{s.backend}, Images: s.images, Auth: login.None{}, Hostname: "lab", Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	s.want(s.do("PUT", "/v1/images/kept.raw", "new"), 500)
	s.want(s.do("DELETE", "/v1/images/kept.raw", ""), 500)
	if s.images.images["kept.raw"] != "old" {
		t.Errorf("without an entry the image became %q", s.images.images["kept.raw"])
	}
}

// mute is a backend whose audit can't be written.
type mute struct{ *backend }

func (mute) Note(context.Context, conductor.Caller, string, conductor.NodeID, map[string]any) error {
	return errors.New("the audit is full")
}
