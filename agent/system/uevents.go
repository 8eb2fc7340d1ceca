package system

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Event is what the kernel tells when a device comes, goes or changes.
type Event struct {
	Action    string // "add", "remove", "change", …
	Subsystem string // "net", "block", …
	Modalias  string
	Name      string // of a network card or block device: "eth0", "sr0"
}

// Events hands the kernel's device events to fn until ctx ends. When the kernel had to drop some, fn is called with
// an empty Event: look at everything again. fn runs on the caller's goroutine.
func Events(ctx context.Context, fn func(Event)) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return fmt.Errorf("listen for device events: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}); err != nil {
		return fmt.Errorf("listen for device events: %w", err)
	}
	// A late reader must not lose the end of a wave; if the size is refused the default does too.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20)
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 200_000}); err != nil {
		return fmt.Errorf("listen for device events: %w", err)
	}
	fn(Event{}) // what came before the socket was there
	buf := make([]byte, 16<<10)
	for ctx.Err() == nil {
		n, from, err := unix.Recvfrom(fd, buf, 0)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ENOBUFS):
			fn(Event{})
			continue
		case err != nil:
			return fmt.Errorf("listen for device events: %w", err)
		}
		if sa, ok := from.(*unix.SockaddrNetlink); !ok || sa.Pid != 0 {
			continue // not from the kernel
		}
		if e, ok := parseEvent(buf[:n]); ok {
			fn(e)
		}
	}
	return ctx.Err()
}

// parseEvent reads "add@/devices/…\0KEY=value\0…".
func parseEvent(b []byte) (Event, bool) {
	parts := strings.Split(string(b), "\x00")
	action, _, ok := strings.Cut(parts[0], "@")
	if !ok {
		return Event{}, false
	}
	e := Event{Action: action}
	for _, p := range parts[1:] {
		k, v, _ := strings.Cut(p, "=")
		switch k {
		case "SUBSYSTEM":
			e.Subsystem = v
		case "MODALIAS":
			e.Modalias = v
		case "INTERFACE", "DEVNAME":
			e.Name = v
		}
	}
	return e, true
}
