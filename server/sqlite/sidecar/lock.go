// Package sidecar is the two files beside a database: the lock that one process of a host holds, and the mark of how far the database
// had come. It knows nothing of the database itself, nor who may own it.
package sidecar

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// Lock tries for the lock of this host, or checks the one that is held: it counts only while its file is the one that
// others find. It gives nil when another process has it.
func Lock(held *os.File, path string) (*os.File, error) {
	if held != nil && sameFile(held, path) {
		return held, nil
	}
	if held != nil {
		if err := held.Close(); err != nil {
			return held, err
		}
	}
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
		case errors.Is(err, syscall.EWOULDBLOCK):
			return nil, f.Close()
		case err != nil:
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		case !sameFile(f, path): // replaced between opening and locking
			if err := f.Close(); err != nil {
				return nil, err
			}
			continue
		}
		return f, note(f)
	}
}

// ReplaceLock puts a lock file of our own in the place of one that another process still holds.
func ReplaceLock(path string) (*os.File, error) {
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

// LockedBy reads what note wrote; it only makes a message better.
func LockedBy(path string) string {
	b, err := os.ReadFile(path)
	if err != nil || len(b) > 32 {
		return "unknown"
	}
	return strings.TrimSpace(string(b))
}

// Holder names the process that holds a lock file, "" when nobody does.
func Holder(path string) (string, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); err == nil {
		return "", nil // ours until the file is closed, in a moment
	} else if !errors.Is(err, syscall.EWOULDBLOCK) {
		return "", err
	}
	text := make([]byte, 32)
	n, err := f.Read(text)
	if err != nil {
		return "unknown", nil
	}
	return strings.TrimSpace(string(text[:n])), nil
}
