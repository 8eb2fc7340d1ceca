// Package ovmf reads and edits the non-volatile variables of a UEFI machine in the file that QEMU maps as its second
// flash (OVMF_VARS). The emulated BMC uses it to choose what the next boot starts from: BootNext, as real firmware has
// it. QEMU's own way (bootindex) is no choice, because OVMF then deletes every Boot#### that QEMU did not name, the
// guest's own included.
//
// It never touches a file that a running QEMU has open: whoever calls Save makes sure of that.
// Start reading at Open; option.go has boot options and device paths.
package ovmf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"unicode/utf16"
)

// A GUID in the byte order of the store.
type GUID [16]byte

// Global is the vendor GUID of Boot####, BootOrder and BootNext (UEFI 2.10 §3.3).
var Global = GUID{0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c}

// authenticated marks the one layout of a variable store that OVMF uses.
var authenticated = GUID{0x78, 0x2c, 0xf3, 0xaa, 0x7b, 0x94, 0x9a, 0x43, 0xa1, 0x80, 0x2e, 0x14, 0x4e, 0xc3, 0x77, 0x92}

const (
	volumeSignature = "_FVH"
	storeHeader     = 28 // GUID, size, format, state, reserved
	variableHeader  = 60 // up to and including the vendor GUID
	startID         = 0x55aa
	stateAdded      = 0x3f // written and valid
	stateReplaced   = 0x3e // valid until its successor is written
	bootAttributes  = 0x7  // non-volatile, boot service access, runtime access
)

type variable struct {
	header [variableHeader]byte // attributes, time stamp and key index travel unchanged
	guid   GUID
	name   string
	data   []byte
}

// Store is the variables of one machine, held in memory until Save.
type Store struct {
	image      []byte
	start, end int // of the variables inside image
	vars       []variable
}

// Open reads the variables of the flash file.
func Open(path string) (*Store, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read UEFI variables: %w", err)
	}
	s, err := Parse(b)
	if err != nil {
		return nil, fmt.Errorf("read UEFI variables of %s: %w", path, err)
	}
	return s, nil
}

// Parse reads the variables in a flash image; the image is kept.
func Parse(image []byte) (*Store, error) {
	if len(image) < 64 || string(image[40:44]) != volumeSignature {
		return nil, errors.New("no firmware volume at its start")
	}
	head := int(binary.LittleEndian.Uint16(image[48:]))
	if head+storeHeader > len(image) || !bytes.Equal(image[head:head+16], authenticated[:]) {
		return nil, errors.New("no authenticated variable store in the firmware volume")
	}
	size := int(binary.LittleEndian.Uint32(image[head+16:]))
	if size < storeHeader || head+size > len(image) {
		return nil, fmt.Errorf("variable store claims %d bytes, the image has %d", size, len(image)-head)
	}
	s := &Store{image: image, start: align(head + storeHeader), end: head + size}
	var replaced []variable
	for at := s.start; at+variableHeader <= s.end && binary.LittleEndian.Uint16(image[at:]) == startID; {
		var v variable
		copy(v.header[:], image[at:])
		nameSize, dataSize := int(binary.LittleEndian.Uint32(v.header[36:])), int(binary.LittleEndian.Uint32(v.header[40:]))
		next := at + variableHeader + nameSize + dataSize
		if nameSize < 0 || dataSize < 0 || next > s.end {
			return nil, fmt.Errorf("variable at %#x runs over the end of the store", at)
		}
		copy(v.guid[:], v.header[44:])
		v.name = decodeName(image[at+variableHeader : at+variableHeader+nameSize])
		v.data = bytes.Clone(image[next-dataSize : next])
		switch v.header[2] {
		case stateAdded:
			s.vars = append(s.vars, v)
		case stateReplaced:
			replaced = append(replaced, v)
		}
		at = align(next)
	}
	for _, v := range replaced { // the machine stopped between writing the successor and marking the old one
		if s.find(v.guid, v.name) < 0 {
			v.header[2] = stateAdded
			s.vars = append(s.vars, v)
		}
	}
	return s, nil
}

func (s *Store) find(g GUID, name string) int {
	for i, v := range s.vars {
		if v.guid == g && v.name == name {
			return i
		}
	}
	return -1
}

// Get returns a variable's data.
func (s *Store) Get(g GUID, name string) ([]byte, bool) {
	if i := s.find(g, name); i >= 0 {
		return bytes.Clone(s.vars[i].data), true
	}
	return nil, false
}

// Names lists the variables of one vendor, in the order of the store.
func (s *Store) Names(g GUID) []string {
	var names []string
	for _, v := range s.vars {
		if v.guid == g {
			names = append(names, v.name)
		}
	}
	return names
}

// Set writes a variable; one that exists keeps its attributes, a new one is non-volatile and seen by the running system.
func (s *Store) Set(g GUID, name string, data []byte) {
	i := s.find(g, name)
	if i < 0 {
		v := variable{guid: g, name: name}
		binary.LittleEndian.PutUint16(v.header[:], startID)
		v.header[2] = stateAdded
		binary.LittleEndian.PutUint32(v.header[4:], bootAttributes)
		copy(v.header[44:], g[:])
		s.vars = append(s.vars, v)
		i = len(s.vars) - 1
	}
	s.vars[i].data = bytes.Clone(data)
}

// Delete removes a variable; one that is not there is no error.
func (s *Store) Delete(g GUID, name string) {
	if i := s.find(g, name); i >= 0 {
		s.vars = append(s.vars[:i], s.vars[i+1:]...)
	}
}

// Bytes renders the flash image: the same firmware volume, with the variables written anew.
func (s *Store) Bytes() ([]byte, error) {
	out := bytes.Clone(s.image)
	for i := s.start; i < s.end; i++ {
		out[i] = 0xff // erased flash
	}
	at := s.start
	for _, v := range s.vars {
		name := encodeName(v.name)
		if at+variableHeader+len(name)+len(v.data) > s.end {
			return nil, fmt.Errorf("no room for %d UEFI variables in %d bytes", len(s.vars), s.end-s.start)
		}
		binary.LittleEndian.PutUint32(v.header[36:], uint32(len(name)))
		binary.LittleEndian.PutUint32(v.header[40:], uint32(len(v.data)))
		at += copy(out[at:], v.header[:])
		at += copy(out[at:], name)
		at += copy(out[at:], v.data)
		at = align(at)
	}
	return out, nil
}

// Save replaces the flash file in one move.
func (s *Store) Save(path string) error {
	b, err := s.Bytes()
	if err != nil {
		return fmt.Errorf("write UEFI variables to %s: %w", path, err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".vars-*")
	if err != nil {
		return fmt.Errorf("write UEFI variables: %w", err)
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write UEFI variables to %s: %w", path, errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}

func align(n int) int { return (n + 3) &^ 3 }

func decodeName(b []byte) string {
	u := make([]uint16, 0, len(b)/2)
	for i := 0; i+1 < len(b); i += 2 {
		c := binary.LittleEndian.Uint16(b[i:])
		if c == 0 {
			break
		}
		u = append(u, c)
	}
	return string(utf16.Decode(u))
}

// encodeName is UTF-16 with its closing zero.
func encodeName(s string) []byte {
	var b []byte
	for _, c := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, c)
	}
	return append(b, 0, 0)
}
