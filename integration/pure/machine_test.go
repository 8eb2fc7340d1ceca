package pure

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/bessemer-metal/bessemer/agent/run"
	"github.com/bessemer-metal/bessemer/integration/evidence"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// machine is the hardware of a node: its BMC, its power and what runs on it.
type machine struct {
	w        *world
	i        int
	on       bool
	media    *medium
	bootOnce bool // from the medium
	sick     sickness
	unfenced bool // its BMC lied, or an act upon it failed and the node says so: an old boot may go on
	late     []lateAct
	boots    int
	boot     *boot // the ramdisk that runs; nil: off, or its disk was booted
}

type medium struct {
	generation uint64
	secret     string
}

// sickness is how a BMC is.
type sickness string

const (
	well  sickness = "well"
	dead  sickness = "dead"  // it does not answer
	lying sickness = "lying" // it says yes and does nothing, and shows what it was asked for
)

type lateAct struct {
	at time.Duration
	do func()
}

// boot is one boot of the ramdisk; its memory disk, key and journal end with it.
type boot struct {
	m       *machine
	n       int
	medium  medium
	key     string
	journal run.Memory
	seq     uint64
	ready   time.Duration // when the first process starts
	proc    *proc
	procs   int
	work    *execution
	ends    time.Duration // of work
	command api.Command
}

// proc is one process of the agent: the core, and what its shell and channel know.
type proc struct {
	b       *boot
	n       int
	core    run.Core
	token   *token
	told    bool // that it is there, with its steps
	retry   time.Duration
	look    *packet // the lookup that is open
	hear    *packet // the heartbeat that is open
	call    *packet // the start or result that is open
	unsent  any     // a call that waits for a token
	timer   int
	fires   time.Duration // 0: no timer
	nonces  int
	nextHbt time.Duration
}

func (m *machine) inventory() *inventory.Inventory {
	return &inventory.Inventory{Disks: []inventory.Disk{{Name: "/dev/nvme0n1", Serial: fmt.Sprintf("S%d", m.i), Size: 8 << 30, Class: inventory.NVMePCIe, Model: "m"}}}
}

func (m *machine) peer(key string) conductor.Peer {
	return conductor.Peer{Key: key, Addr: netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + m.i)})}
}

// secret is what the medium of the node's current boot carries.
func (w *world) secret(n conductor.Node) string {
	return fmt.Sprintf("secret of %s, %d, %s", n.UUID, n.Boot.Generation, n.Boot.Salt)
}

// bmcPower reads the power state. A lying BMC shows what it was asked for last.
func (m *machine) bmcPower(i int) (conductor.Power, error) {
	verdict := m.w.point("bmc", i)
	if m.sick == dead || verdict == actFails || verdict == actUnheard || verdict == actLate {
		return "", fault.New(fault.BMCUnreachable, "no answer")
	}
	on := m.on
	if m.sick == lying {
		on = !on
		m.unfenced = true
	}
	if on {
		return conductor.PowerOn, nil
	}
	return conductor.PowerOff, nil
}

// bmcDo acts. The answer may be lost though the act was done, at once or later (F25).
func (m *machine) bmcDo(i int, what func()) error {
	refused := fault.New(fault.BMCUnreachable, "no answer")
	switch v := m.w.point("bmc", i); {
	case m.sick == lying:
		m.unfenced = true
		return nil
	case m.sick == dead || v == actFails:
		return refused
	case v == actUnheard:
		what()
		return refused
	case v == actLate:
		m.late = append(m.late, lateAct{m.w.mono + 90*time.Second, func() {
			m.unfenced = true // an act that comes late is nobody's: it may end or begin a boot unasked
			what()
		}})
		return refused
	}
	what()
	return nil
}

func (m *machine) lateActs() {
	var rest []lateAct
	due := m.late
	m.late = nil
	for _, l := range due {
		if l.at > m.w.mono {
			rest = append(rest, l)
			continue
		}
		m.w.say("BMC %d does late what it was told", m.i)
		l.do()
	}
	m.late = append(m.late, rest...)
}

func (m *machine) setPower(on bool) {
	if m.on == on {
		return
	}
	m.on = on
	if !on {
		m.w.say("machine %d is off", m.i)
		m.halt("power off")
		return
	}
	m.bootUp(m.bootOnce)
}

// bootUp starts the ramdisk if the machine boots from its medium and there is one.
func (m *machine) bootUp(fromMedium bool) {
	m.boots++
	m.bootOnce = false
	if !fromMedium || m.media == nil {
		m.w.say("machine %d boots its disk", m.i)
		return
	}
	m.w.say("machine %d boots the medium of boot %d", m.i, m.media.generation)
	m.boot = &boot{m: m, n: m.boots, medium: *m.media, key: fmt.Sprintf("key %d.%d", m.i, m.boots), ready: m.w.mono + 5*time.Second}
	// The BMC reads the medium from the server: best effort, as its own try may be lost.
	if s := m.w.srv; s != nil && m.w.inside == "" {
		m.w.guard("server", func() {
			s.event(m.i, conductor.MediumFetched{Generation: m.media.generation}) //nolint:errcheck // only a sign of life
		})
	}
}

// halt ends what runs on the machine.
func (m *machine) halt(why string) {
	b := m.boot
	if b == nil {
		return
	}
	m.boot = nil
	b.cut(why)
	if m.w.inside == agentName(m.i) {
		b.proc = nil
		panic(died{})
	}
}

// restart is a reboot that nobody ordered. Most machines boot their disk then; some the medium, if it is still in.
func (m *machine) restart(medium bool) {
	if !m.on {
		return
	}
	m.w.say("machine %d restarts by itself", m.i)
	inside := m.w.inside == agentName(m.i)
	if m.boot != nil {
		m.boot.cut("restart")
		m.boot.proc = nil
		m.boot = nil
	}
	m.bootUp(medium)
	if inside {
		panic(died{})
	}
}

// cut ends the work on the devices without an end to tell.
func (b *boot) cut(why string) {
	if b.work == nil {
		return
	}
	b.m.w.say("step %s is cut off: %s", b.work.id, why)
	b.work.state = "cut"
	b.work = nil
}

// startAgent starts the agent's first or next process.
func (m *machine) startAgent() {
	b := m.boot
	if b == nil || b.proc != nil || m.w.mono < b.ready {
		return
	}
	b.procs++
	if m.w.without.memory {
		b.journal = run.Memory{}
	}
	p := &proc{b: b, n: b.procs, core: run.NewCore(b.journal, run.Rules{Grace: time.Minute, Retry: func(n int) time.Duration { return time.Duration(min(n, 15)) * time.Second }})}
	b.proc = p
	m.w.say("agent %d starts, process %d of boot %d", m.i, b.procs, b.medium.generation)
	m.act(func(p *proc) { p.step(run.Booted{}) })
}

// act runs code of the agent's process, if there is one.
func (m *machine) act(do func(*proc)) {
	if m.boot == nil || m.boot.proc == nil {
		return
	}
	p := m.boot.proc
	m.w.guard(agentName(m.i), func() { do(p) })
}

// goOn does what is due on the machine.
func (m *machine) goOn() {
	if m.boot == nil {
		return
	}
	if m.boot.proc == nil {
		if m.boot.procs == 0 {
			m.startAgent()
		}
		return
	}
	m.act(func(p *proc) {
		w := m.w
		if p.fires > 0 && w.mono >= p.fires {
			p.fires = 0
			p.step(run.Fired{Timer: p.timer})
		}
		for _, open := range []**packet{&p.look, &p.hear, &p.call} {
			if q := *open; q != nil && w.mono >= q.sent+30*time.Second {
				*open = nil
				p.noAnswer(q)
			}
		}
		if p.b.work != nil && w.mono >= p.b.ends {
			p.b.end(0)
		}
		if w.mono >= p.nextHbt {
			p.beat()
		}
		p.pump()
	})
}

// finish ends the running step: well, by failing, or (told to stop) aborted.
func (m *machine) finish(how int) {
	m.act(func(p *proc) {
		if p.b.work != nil {
			p.b.end(how)
		}
	})
}

func (b *boot) end(how int) {
	x := b.work
	b.work = nil
	d := run.Done{ID: x.id}
	switch how % 4 {
	case 0, 1:
		x.state = "succeeded"
		if r, ok := b.m.w.db.rows[b.m.i].step(x.id); ok {
			d.Result = *evidenceOf(r)
		}
	case 2:
		x.state, d.Err = "failed", errors.New("the arm fell off")
	case 3:
		x.state, d.Err = "failed", fault.New(fault.DiskIO, "bad sector")
	}
	b.m.w.say("step %s %s on machine %d", x.id, x.state, b.m.i)
	b.proc.step(d)
}

// evidenceOf is the result of a step that did its work.
func evidenceOf(r conductor.StepRecord) *step.Result {
	var disks []inventory.DeviceID
	if r.Command != nil {
		disks = r.Command.Devices
	}
	out := evidence.Left(r.Step.Name, r.Args, disks)
	return &out
}

// step feeds the core and does what follows: the shell without goroutines.
func (p *proc) step(e run.Event) {
	core, effects := p.core.Step(e)
	p.core = core
	for _, ef := range effects {
		p.do(ef)
	}
}

func (p *proc) do(ef run.Effect) {
	b, w := p.b, p.b.m.w
	switch ef := ef.(type) {
	case run.WriteJournal:
		w.point("journal", b.m.i)
		m, err := b.journal.With(ef.Line)
		if err != nil {
			w.breaks("I8", "the journal refuses a line of the core: %v", err)
		}
		b.journal = m
		w.point("journaled", b.m.i)
		p.step(run.Written{})
	case run.CallStart:
		p.unsent, p.call = start{id: ef.ID, nonce: ef.Nonce}, nil
		p.pump()
		if w.without.acknowledgement {
			p.step(run.Answered{ID: ef.ID, Nonce: ef.Nonce, Verdict: run.Yes})
		}
	case run.CallResult:
		p.unsent, p.call = result{end: ef.Ended}, nil
		p.pump()
	case run.CancelCall:
		p.unsent, p.call = nil, nil
	case run.RunStep:
		p.run(ef.Command)
	case run.StopStep:
		if b.work != nil {
			b.work.state = "aborted"
			id := b.work.id
			b.work = nil
			p.step(run.Done{ID: id, Err: errors.New("stopped")})
		}
	case run.SetTimer:
		p.timer, p.fires = ef.Timer, w.mono+ef.After
	case run.TellChange:
		p.nextHbt = w.mono
	}
}

// run begins work on the devices: here it counts who let it.
func (p *proc) run(c api.Command) {
	b, w := p.b, p.b.m.w
	w.point("run", b.m.i)
	x := &execution{node: b.m.i, boot: b.n, id: c.ID, nonce: p.nonce(c.ID)}
	w.mayRun(x, b, c)
	w.begins(x)
	w.say("step %s (%s) runs on machine %d", c.ID, c.Step, b.m.i)
	b.work, b.command = x, c
	b.ends = w.mono + time.Duration(3+len(c.ID)*7%40)*time.Second
}

// nonce is the one that this process claimed an id with.
func (p *proc) nonce(id step.ID) string {
	if s, ok := p.unsent.(start); ok && s.id == id {
		return s.nonce
	}
	if p.call != nil {
		if s, ok := p.call.body.(start); ok && s.id == id {
			return s.nonce
		}
	}
	return ""
}

func possible(s state.State, v state.Event) bool {
	_, ok := state.Next(s, v)
	return ok
}

func verbOf(name string) state.Event {
	switch name {
	case "out-of-band clean", "long clean", "wrong clean":
		return state.VerbClean
	case "long service", "out-of-band service", "destructive service":
		return state.VerbService
	}
	return state.Event(name)
}
