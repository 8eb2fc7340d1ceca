package main

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// screen shows the demo: lines that stay and, on a terminal, live lines below them that tell what goes on right now.
// Without a terminal a live line is written once, when it says something new.
type screen struct {
	out  io.Writer
	live bool

	mu     sync.Mutex
	rows   []row
	drawn  int // live lines on the terminal
	frames int
}

// row is a live line. What is the part of it that makes it new; now changes all the time.
type row struct{ key, what, now string }

func newScreen(out io.Writer, live bool) *screen { return &screen{out: out, live: live} }

// print writes a line that stays.
func (s *screen) print(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wipe()
	fmt.Fprintf(s.out, format+"\n", args...)
}

// set says what goes on: one row for each key.
func (s *screen) set(key, what, now string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.rows, func(r row) bool { return r.key == key })
	if i < 0 {
		i = len(s.rows)
		s.rows = append(s.rows, row{key: key})
	}
	r := &s.rows[i]
	if !s.live && what != r.what && what != "" {
		fmt.Fprintf(s.out, "            %s\n", plain(key+": "+what))
	}
	r.what, r.now = what, now
}

// during draws live lines until the work ends, under a head line that shows the time it has taken.
func (s *screen) during(head string, work func() error) error {
	begin := time.Now()
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-end:
				return
			case <-tick.C:
				s.draw(head, time.Since(begin))
			}
		}
	}()
	err := work()
	close(end)
	<-ended
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wipe()
	s.rows = nil
	return err
}

// Terminals cut off lines that are too long while wrapping is off; so no width needs to be known.
const (
	noWrap = "\x1b[?7l"
	wrap   = "\x1b[?7h"
)

func (s *screen) draw(head string, took time.Duration) {
	if !s.live {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wipe()
	s.frames++
	fmt.Fprintf(s.out, "%s%c %s %s\n", noWrap, `-\|/`[s.frames%4], head, seconds(took))
	for _, r := range s.rows {
		text := r.what
		if r.now != "" {
			text += "  " + r.now
		}
		fmt.Fprintf(s.out, "            %s\n", plain(r.key+": "+text))
	}
	fmt.Fprint(s.out, wrap)
	s.drawn = 1 + len(s.rows)
}

func (s *screen) wipe() {
	if s.drawn > 0 {
		fmt.Fprintf(s.out, "\x1b[%dA\x1b[J", s.drawn)
		s.drawn = 0
	}
}

// sequence is what moves a terminal's cursor or sets its mode.
var sequence = regexp.MustCompile("\x1b\\[[0-?]*[ -/]*[@-~]")

// plain is text on one line without what would move a cursor.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case r < ' ' || r == 0x7f:
			return -1
		}
		return r
	}, sequence.ReplaceAllString(text, ""))
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
