package sidecar

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Mark is what is written down beside the database of how far it had come: the end of its audit. Every act upon a
// machine is audited in the transaction that decides it, so a database whose audit ends earlier, or went another way,
// lacks acts that were done (I15, F35).
type Mark struct {
	Fence int64  `json:"fence"`
	Epoch uint64 `json:"epoch"`
	Audit int64  `json:"audit"` // entries
	Hash  string `json:"hash"`  // of the last one
}

// ReadMark gives the zero mark for a file that is missing, and with an error for one that can't be read.
func ReadMark(path string) (m Mark, err error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &m)
	}
	if err != nil {
		return Mark{}, fmt.Errorf("read the mark %s: %w", path, err)
	}
	return m, nil
}

// Write replaces the file durably: a reader finds the old one or the new one.
func (m Mark) Write(path string) error {
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(raw, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("write the mark %s: %w", path, err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
