package erase

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/bessemer-metal/bessemer/agent/disk"
	"github.com/bessemer-metal/bessemer/agent/system"
)

// formats is what a drive offers of Format NVM.
type formats struct {
	nsid   uint32
	all    bool   // one format or secure erase reaches every namespace of the controller
	crypto bool   // cryptographic erase
	keep   uint32 // command dword 10 without the erase setting: the block format as it is
}

// Secure Erase Settings of Format NVM.
const (
	sesUserData = 1
	sesCrypto   = 2
)

// nvmeFormats asks a drive what it offers; nil with the reason when it can't format.
func nvmeFormats(d disk.Device) (*formats, error) {
	nsid, err := d.NVMeNamespace()
	if err != nil {
		return nil, fmt.Errorf("namespace id: %w", err)
	}
	c, err := d.NVMeIdentify(0, 1)
	if err != nil {
		return nil, fmt.Errorf("identify controller: %w", err)
	}
	n, err := d.NVMeIdentify(nsid, 0)
	if err != nil {
		return nil, fmt.Errorf("identify namespace: %w", err)
	}
	if len(c) < 4096 || len(n) < 4096 {
		return nil, errors.New("identify: short answer")
	}
	if binary.LittleEndian.Uint16(c[256:])&0x2 == 0 { // OACS bit 1
		return nil, fmt.Errorf("format: %w", system.ErrUnsupported)
	}
	fna, flbas, dps := c[524], n[26], n[29]
	f := &formats{nsid: nsid, all: fna&0x3 != 0, crypto: fna&0x4 != 0}
	f.keep = uint32(flbas&0x0f) | uint32(flbas>>4&1)<<4 | uint32(dps&0x7)<<5 | uint32(dps>>3&1)<<8 | uint32(flbas>>5&0x3)<<12
	return f, nil
}

// settings lists the erase settings to try, best first.
func (f *formats) settings() []uint32 {
	if f.crypto {
		return []uint32{sesCrypto, sesUserData}
	}
	return []uint32{sesUserData}
}

// controllers keeps formats of one controller's namespaces from running at once.
type controllers struct {
	mu    sync.Mutex
	locks map[string]*sync.Mutex
}

func (c *controllers) lock(name string) (unlock func()) {
	c.mu.Lock()
	if c.locks == nil {
		c.locks = map[string]*sync.Mutex{}
	}
	l := c.locks[name]
	if l == nil {
		l = &sync.Mutex{}
		c.locks[name] = l
	}
	c.mu.Unlock()
	l.Lock()
	return l.Unlock
}
