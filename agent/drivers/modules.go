// Package drivers loads the kernel modules that a machine's devices ask for, as they appear. Start at Open.
package drivers

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/u-root/u-root/pkg/kmodule"

	"github.com/bessemer-metal/bessemer/agent/system"
)

// Modules loads kernel modules by name, by alias and by what the hardware asks for, with their dependencies. The
// tables are depmod's. It may be used by several goroutines.
type Modules struct {
	root string
	dir  string // the running kernel's modules
	log  *slog.Logger
	load func(file string) error // the system call

	files   map[string]string   // name to file below dir
	deps    map[string][]string // file to files, nearest first
	pre     map[string][]string // soft dependencies by name
	post    map[string][]string
	builtin map[string]bool
	aliases map[string][]alias // by what precedes the first wildcard
	lengths []int              // of the keys of aliases, ascending

	mu    sync.Mutex
	done  map[string]error // by file
	asked map[string]bool  // modaliases answered
	last  time.Time        // when a device last appeared; zero before the first Coldplug is through
}

type alias struct{ pattern, module string }

// ErrNoModule says that the ramdisk has no module of this name or for this device.
var ErrNoModule = errors.New("no such module in this ramdisk")

// Open reads the tables of a kernel release below root.
func Open(root, release string, log *slog.Logger) (*Modules, error) {
	m := &Modules{root: root, dir: filepath.Join(root, "lib/modules", release), log: log, load: loadFile,
		files: map[string]string{}, deps: map[string][]string{}, pre: map[string][]string{}, post: map[string][]string{},
		builtin: map[string]bool{}, aliases: map[string][]alias{}, done: map[string]error{}, asked: map[string]bool{}}
	for _, t := range []struct {
		name  string
		parse func([]string)
		must  bool
	}{
		{"modules.dep", m.dep, true},
		{"modules.alias", m.alias, true},
		{"modules.softdep", m.softdep, false},
		{"modules.builtin", func(w []string) { m.builtin[moduleName(w[0])] = true }, false},
	} {
		err := eachLine(filepath.Join(m.dir, t.name), t.parse)
		if err != nil && (t.must || !errors.Is(err, fs.ErrNotExist)) {
			return nil, fmt.Errorf("kernel modules of %s: %w", release, err)
		}
	}
	seen := map[int]bool{}
	for k := range m.aliases {
		if !seen[len(k)] {
			seen[len(k)] = true
			m.lengths = append(m.lengths, len(k))
		}
	}
	slices.Sort(m.lengths)
	return m, nil
}

func (m *Modules) dep(w []string) {
	file := strings.TrimSuffix(w[0], ":")
	m.files[moduleName(file)] = file
	m.deps[file] = slices.Clone(w[1:])
}

func (m *Modules) alias(w []string) {
	if len(w) != 3 || w[0] != "alias" {
		return
	}
	p := underscores(w[1])
	key := p
	if i := strings.IndexAny(p, "*?["); i >= 0 {
		key = p[:i]
	}
	m.aliases[key] = append(m.aliases[key], alias{p, moduleName(w[2])})
}

func (m *Modules) softdep(w []string) {
	if len(w) < 3 || w[0] != "softdep" {
		return
	}
	into := m.pre
	for _, d := range w[2:] {
		switch d {
		case "pre:":
			into = m.pre
		case "post:":
			into = m.post
		default:
			n := moduleName(w[1])
			into[n] = append(into[n], d)
		}
	}
}

// resolve gives the modules that answer to a name or alias, none if there are none.
func (m *Modules) resolve(name string) []string {
	n := underscores(name)
	if _, ok := m.files[n]; ok {
		return []string{n}
	}
	var out []string
	flat := strings.ReplaceAll(n, "/", "\x01") // path.Match lets no wildcard cross a slash
	for _, l := range m.lengths {
		if l > len(n) {
			break
		}
		for _, a := range m.aliases[n[:l]] {
			if ok, err := path.Match(strings.ReplaceAll(a.pattern, "/", "\x01"), flat); err == nil && ok && !slices.Contains(out, a.module) {
				out = append(out, a.module)
			}
		}
	}
	return out
}

// Load loads a module or every module an alias stands for, after what they need. What is loaded or built in already is fine.
// ErrNoModule says that nothing answers to the name.
func (m *Modules) Load(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, err := m.loadAll(name)
	return err
}

func (m *Modules) loadAll(name string) (fresh []string, err error) {
	if m.builtin[moduleName(name)] {
		return nil, nil
	}
	found := m.resolve(name)
	if len(found) == 0 {
		return nil, fmt.Errorf("module %s: %w", name, ErrNoModule)
	}
	var errs []error
	for _, n := range found {
		f, err := m.insert(n, nil)
		fresh = append(fresh, f...)
		errs = append(errs, err)
	}
	return fresh, errors.Join(errs...)
}

// insert loads one module by name; stack guards against soft dependencies that go round.
func (m *Modules) insert(name string, stack []string) (fresh []string, err error) {
	file, ok := m.files[name]
	if !ok || slices.Contains(stack, name) {
		return nil, nil // built in, left out of this ramdisk, or on its way
	}
	if err, ok := m.done[file]; ok {
		return nil, err
	}
	stack = append(stack, name)
	soft := func(names []string) {
		for _, d := range names {
			for _, n := range m.resolve(d) {
				f, _ := m.insert(n, stack) // soft: the module does without
				fresh = append(fresh, f...)
			}
		}
	}
	soft(m.pre[name])
	for _, d := range slices.Backward(m.deps[file]) { // depmod lists the nearest first
		f, err := m.insert(moduleName(d), stack)
		fresh = append(fresh, f...)
		if err != nil {
			m.done[file] = err
			return fresh, err
		}
	}
	err = m.load(filepath.Join(m.dir, file))
	if errors.Is(err, syscall.EEXIST) {
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("load module %s: %w", name, err)
		m.log.Warn("module", "name", name, "err", err)
	} else {
		fresh = append(fresh, name)
		m.log.Debug("module", "name", name)
	}
	m.done[file] = err
	soft(m.post[name])
	return fresh, err
}

// Coldplug loads what the devices present ask for, until a pass finds nothing new: buses appear behind drivers. It
// says what it loaded. Modules that fail to load are logged and do not stop it.
func (m *Modules) Coldplug(ctx context.Context) []string {
	var loaded []string
	for ctx.Err() == nil {
		fresh := m.pass()
		if len(fresh) == 0 {
			break
		}
		loaded = append(loaded, fresh...)
	}
	m.mu.Lock()
	m.last = time.Now()
	m.mu.Unlock()
	return loaded
}

// Settle waits until Coldplug is through and no device has appeared (Want was not called) for a while, but not longer
// than most: disks show up some time after their controller's driver. It says whether it became quiet.
func (m *Modules) Settle(ctx context.Context, quiet, most time.Duration) bool {
	for end := time.Now().Add(most); ; {
		m.mu.Lock()
		last := m.last
		m.mu.Unlock()
		left := quiet
		if !last.IsZero() {
			left = quiet - time.Since(last)
		}
		if left <= 0 {
			return true
		}
		left = min(left, time.Until(end))
		if left <= 0 || !system.Sleep(ctx, left) {
			return false
		}
	}
}

func (m *Modules) pass() (fresh []string) {
	files, _ := filepath.Glob(filepath.Join(m.root, "sys/bus/*/devices/*/modalias"))
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil {
			fresh = append(fresh, m.Want(strings.TrimSpace(string(b)))...)
		}
	}
	return fresh
}

// Want loads what a new device's modalias asks for, once, and says what was new. A device without one only tells that
// devices are still appearing.
func (m *Modules) Want(modalias string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.last.IsZero() {
		m.last = time.Now()
	}
	if modalias == "" || m.asked[modalias] {
		return nil
	}
	m.asked[modalias] = true
	fresh, _ := m.loadAll(modalias) // failures are logged where they happen; a device without a module is common
	return fresh
}

// Undriven is a device of a kind that the agent needs and that no driver took.
type Undriven struct{ Address, Vendor, Product string }

// Undriven lists PCI devices of a class (its first two hex digits: 01 storage, 02 network) without a driver.
func (m *Modules) Undriven(class string) []Undriven {
	var out []Undriven
	dirs, _ := filepath.Glob(filepath.Join(m.root, "sys/bus/pci/devices/*"))
	for _, d := range dirs {
		if !strings.HasPrefix(strings.TrimPrefix(system.ReadWord(d, "class"), "0x"), class) {
			continue
		}
		if _, err := os.Stat(filepath.Join(d, "driver")); err == nil {
			continue
		}
		out = append(out, Undriven{filepath.Base(d), strings.TrimPrefix(system.ReadWord(d, "vendor"), "0x"), strings.TrimPrefix(system.ReadWord(d, "device"), "0x")})
	}
	slices.SortFunc(out, func(a, b Undriven) int { return cmp.Compare(a.Address, b.Address) })
	return out
}

// String is for people: "8086:1533 at 0000:01:00.0".
func (u Undriven) String() string { return u.Vendor + ":" + u.Product + " at " + u.Address }

func loadFile(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	return kmodule.FileInit(f, "", 0)
}

// moduleName is how modprobe knows a file or name: kernel/fs/nls/nls_iso8859-1.ko.xz is nls_iso8859_1.
func moduleName(file string) string {
	n := path.Base(file)
	if i := strings.Index(n, ".ko"); i >= 0 {
		n = n[:i]
	}
	return strings.ReplaceAll(n, "-", "_")
}

// underscores makes dashes and underscores equal, as modprobe does; a dash between brackets is a range.
func underscores(s string) string {
	b, depth := []byte(s), 0
	for i, c := range b {
		switch {
		case c == '[':
			depth++
		case c == ']':
			depth = 0
		case c == '-' && depth == 0:
			b[i] = '_'
		}
	}
	return string(b)
}

// eachLine hands the words of each line that has any to fn.
func eachLine(file string, fn func([]string)) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		if w := strings.Fields(s.Text()); len(w) > 0 && !strings.HasPrefix(w[0], "#") {
			fn(w)
		}
	}
	return s.Err()
}
