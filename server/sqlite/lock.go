package sqlite

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// relock tries for the lock of this host, or checks the one that is held: it counts only while its file is the one that
// others find. Without an error s.lock is nil when another process has it.
func (s *Store) relock() error {
	path := s.cfg.Path + ".lock"
	if s.lock != nil && sameFile(s.lock, path) {
		return nil
	}
	if s.lock != nil {
		if err := s.lock.Close(); err != nil {
			return err
		}
		s.lock = nil
	}
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
		case errors.Is(err, syscall.EWOULDBLOCK):
			return f.Close()
		case err != nil:
			return errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		case !sameFile(f, path): // replaced between opening and locking
			if err := f.Close(); err != nil {
				return err
			}
			continue
		}
		s.lock = f
		return note(f)
	}
}

// newLock puts a lock file of our own in the place of one that another process still holds.
func newLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		err = note(f)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("replace the lock file %s: %w", path, err), f.Close())
	}
	return f, nil
}

func sameFile(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(path)
	return err == nil && os.SameFile(a, b)
}

// note writes the process number into the lock file, for people.
func note(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(fmt.Sprintln(os.Getpid())), 0)
	return err
}

// lockedBy reads what note wrote; it only makes a message better.
func lockedBy(path string) string {
	b, err := os.ReadFile(path)
	if err != nil || len(b) > 32 {
		return "unknown"
	}
	return strings.TrimSpace(string(b))
}
