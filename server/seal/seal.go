// Package seal keeps the server's master keys and seals secrets with them: a data key of its own for each secret,
// wrapped by the master key, both AES-256-GCM (safety.md §2.9). It never writes a key anywhere but into the key file,
// and knows no database.
//
// Start at Open and Keyring.
package seal

import (
	"bufio"
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	keySize  = 32
	overhead = 12 + 16 // nonce and tag
	format   = 1       // first byte of a sealed secret
	maxFile  = 64 << 10
)

const header = "# Bessemer's master keys, the newest first. Whoever has this file and the database has every secret in it;\n" +
	"# without this file they are lost. Keep a copy apart from the database's backups.\n"

// Keyring holds the master keys of one file, the newest first. New secrets are sealed with the newest, old ones open
// with any. It is safe for concurrent use.
type Keyring struct{ keys []master }

type master struct {
	id   string
	key  []byte
	wrap cipher.AEAD
}

// Open reads the keyring's file, which only its owner may access. If there is none it makes one with a fresh key when
// create is set, and refuses otherwise: with create only for a server that has no database yet, a lost key file is
// told at the start and not replaced (F37).
func Open(path string, create bool) (*Keyring, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		if !create {
			return nil, fmt.Errorf("the master key file %s is missing, and the database holds secrets that only it opens: put it back from its copy", path)
		}
		if err := write(path); err != nil {
			return nil, fmt.Errorf("make the master key file %s: %w", path, err)
		}
		f, err = os.Open(path)
	}
	if err != nil {
		return nil, fmt.Errorf("open the master key file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("look at the master key file: %w", err)
	}
	if m := info.Mode(); !m.IsRegular() || m.Perm()&0o077 != 0 {
		return nil, fmt.Errorf("the master key file %s has mode %v, expected a regular file that only its owner may access: chmod 600 %[1]s", path, m)
	}
	k, err := parse(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, fmt.Errorf("read the master key file %s: %w", path, err)
	}
	return k, nil
}

// write makes the file whole or not at all: a torn key file would lock everything sealed later.
func write(path string) (err error) {
	key := make([]byte, keySize)
	rand.Read(key)
	f, err := os.CreateTemp(filepath.Dir(path), ".master-key-*") // 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.WriteString(header + base64.StdEncoding.EncodeToString(key) + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil { // unlike a rename, it never replaces a key file
		return err
	}
	if err := os.Remove(f.Name()); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func parse(r io.Reader) (*Keyring, error) {
	k := &Keyring{}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		key, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(key) != keySize {
			return nil, fmt.Errorf("line %d is not a key: expected %d bytes in base64", n, keySize) // and never the line itself
		}
		m, err := newMaster(key)
		if err != nil {
			return nil, err
		}
		k.keys = append(k.keys, m)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(k.keys) == 0 {
		return nil, errors.New("it holds no key: put it back from its copy")
	}
	return k, nil
}

func newMaster(key []byte) (master, error) {
	wrapping, err := derive(key, "wrap")
	if err != nil {
		return master{}, err
	}
	aead, err := gcm(wrapping)
	if err != nil {
		return master{}, err
	}
	name, err := derive(key, "id")
	if err != nil {
		return master{}, err
	}
	return master{id: hex.EncodeToString(name[:8]), key: key, wrap: aead}, nil
}

// derive makes a key for one purpose; the purposes of this package have no prefix in common with those of Derive.
func derive(key []byte, purpose string) ([]byte, error) {
	return hkdf.Key(sha256.New, key, nil, "bessemer/seal/"+purpose, keySize)
}

func gcm(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block) // the nonce is drawn by it and precedes the text
}

// Seal encrypts plain for one field of one node. The blob opens only for the same node, field and key id.
func (k *Keyring) Seal(node, field string, plain []byte) (keyID string, blob []byte, err error) {
	m := k.keys[0]
	data := make([]byte, keySize)
	rand.Read(data)
	aead, err := gcm(data)
	if err != nil {
		return "", nil, fmt.Errorf("seal %s of node %s: %w", field, node, err)
	}
	bound := binding(node, field, m.id)
	blob = append(make([]byte, 0, 1+keySize+2*overhead+len(plain)), format)
	blob = m.wrap.Seal(blob, nil, data, bound)
	blob = aead.Seal(blob, nil, plain, bound)
	return m.id, blob, nil
}

// Open decrypts what Seal made. It fails for a key that is not in the ring, another node or field, and a changed blob.
func (k *Keyring) Open(node, field, keyID string, blob []byte) ([]byte, error) {
	for _, m := range k.keys {
		if m.id != keyID {
			continue
		}
		plain, err := m.open(binding(node, field, keyID), blob)
		if err != nil {
			return nil, fmt.Errorf("open %s of node %s: it was changed, or sealed for another field: %w", field, node, err)
		}
		return plain, nil
	}
	return nil, fmt.Errorf("open %s of node %s: the master key file has no key %s", field, node, keyID)
}

func (m master) open(bound, blob []byte) ([]byte, error) {
	const wrapped = keySize + overhead
	if len(blob) < 1+wrapped+overhead || blob[0] != format {
		return nil, errors.New("not a sealed secret")
	}
	data, err := m.wrap.Open(nil, nil, blob[1:1+wrapped], bound)
	if err != nil {
		return nil, err
	}
	aead, err := gcm(data)
	if err != nil {
		return nil, err
	}
	return aead.Open(nil, nil, blob[1+wrapped:], bound)
}

// binding is the associated data: the three parts with their lengths, so that no two triples give the same bytes.
func binding(node, field, keyID string) []byte {
	var b bytes.Buffer
	for _, part := range []string{node, field, keyID} {
		b.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
		b.WriteString(part)
	}
	return b.Bytes()
}

// Derive gives the 32-byte key of a name ("boot", "token"), from the newest master key: the same for the same file.
func (k *Keyring) Derive(name string) ([]byte, error) { return named(k.keys[0], name) }

// DeriveAll gives a name's key of every master key, the newest first: what the older ones signed stays valid while
// they are in the file.
func (k *Keyring) DeriveAll(name string) ([][]byte, error) {
	out := make([][]byte, 0, len(k.keys))
	for _, m := range k.keys {
		key, err := named(m, name)
		if err != nil {
			return nil, err
		}
		out = append(out, key)
	}
	return out, nil
}

func named(m master, name string) ([]byte, error) {
	key, err := hkdf.Key(sha256.New, m.key, nil, "bessemer/key/"+name, keySize)
	if err != nil {
		return nil, fmt.Errorf("derive key %q: %w", name, err)
	}
	return key, nil
}
