package api

import (
	"net"
	"strings"

	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Bounds of single fields.
const (
	maxName      = 128 // names, ids, nonces, versions, serials
	maxAddresses = 128
	minNonce     = 16
)

// Check refuses a lookup whose fields make no sense, with request.invalid. The inventory is checked by decoding it.
func (r LookupRequest) Check() error {
	if err := names("node", string(r.Node), "serial", r.Serial, "agent_version", r.AgentVersion, "secret", r.Secret); err != nil {
		return err
	}
	if len(r.Addresses) > maxAddresses {
		return invalid("addresses lists %d cards, at most %d are accepted", len(r.Addresses), maxAddresses)
	}
	for _, a := range r.Addresses {
		if _, err := net.ParseMAC(a); err != nil || len(a) > maxName {
			return invalid("an entry of addresses is not a hardware address")
		}
	}
	if len(r.Inventory) == 0 {
		return invalid("inventory is missing")
	}
	return required("boot_id", r.BootID, r.Seq)
}

// Check refuses a heartbeat whose fields make no sense, with request.invalid.
func (r HeartbeatRequest) Check() error {
	for _, s := range r.Steps {
		if iface, short := step.Split(s.Name); iface == "" || short == "" {
			return invalid("the name of a step is not of the form interface.step")
		}
		if err := names("the name of a step", s.Name); err != nil {
			return err
		}
		if s.Where != step.InBand {
			return invalid("step %s is not in band: an agent offers no other", s.Name)
		}
	}
	for k, v := range r.Versions {
		if err := names("versions", k, "versions", v); err != nil {
			return err
		}
	}
	if err := names("running", string(r.Running)); err != nil {
		return err
	}
	if r.Progress != nil && r.Running == "" {
		return invalid("progress without running")
	}
	if err := progress(r.Progress); err != nil {
		return err
	}
	return sequence(r.Seq)
}

// Check refuses a claim whose fields make no sense, with request.invalid.
func (r StartRequest) Check() error { return claim(r.ID, r.Nonce, r.Seq) }

// Check refuses a result whose fields make no sense, with request.invalid.
func (r ResultRequest) Check() error {
	switch r.Outcome {
	case Succeeded:
		if r.Fault != nil {
			return invalid("a step that succeeded has no fault")
		}
	case Failed, Interrupted, Aborted:
		if r.Result != nil {
			return invalid("a step that did not succeed has no result")
		}
	default:
		return invalid("the outcome is not one of succeeded, failed, interrupted, aborted")
	}
	if err := progress(r.Progress); err != nil {
		return err
	}
	return claim(r.ID, r.Nonce, r.Seq)
}

// Check refuses a request whose fields make no sense, with request.invalid.
func (r SecretRequest) Check() error {
	if err := required("name", r.Name, r.Seq); err != nil {
		return err
	}
	return required("id", string(r.ID), r.Seq)
}

// Check refuses a log chunk whose fields make no sense, with request.invalid or request.too_large.
func (r LogRequest) Check() error {
	if r.Offset < 0 {
		return invalid("offset is negative")
	}
	if len(r.Data) > MaxLogChunk {
		return fault.New(fault.RequestTooLarge, "the chunk has %d bytes, at most %d are accepted", len(r.Data), MaxLogChunk)
	}
	return sequence(r.Seq)
}

func claim(id step.ID, nonce string, seq uint64) error {
	if len(nonce) < minNonce {
		return invalid("nonce has %d characters, at least %d are needed", len(nonce), minNonce)
	}
	if err := names("nonce", nonce); err != nil {
		return err
	}
	return required("id", string(id), seq)
}

func required(field, value string, seq uint64) error {
	if value == "" {
		return invalid("%s is missing", field)
	}
	if err := names(field, value); err != nil {
		return err
	}
	return sequence(seq)
}

func sequence(seq uint64) error {
	if seq == 0 {
		return invalid("seq is missing: it starts at 1 in each boot")
	}
	return nil
}

// names takes pairs of field and value: a value is bounded and printable, so that it can stand in a log line.
func names(pairs ...string) error {
	for i := 0; i < len(pairs); i += 2 {
		v := pairs[i+1]
		if len(v) > maxName {
			return invalid("%s has %d characters, at most %d are accepted", pairs[i], len(v), maxName)
		}
		if strings.ContainsFunc(v, control) {
			return invalid("%s holds control characters", pairs[i])
		}
	}
	return nil
}

func progress(p *step.Progress) error {
	if p == nil {
		return nil
	}
	if p.Percent < 0 || p.Percent > 100 || p.Done < 0 || p.Total < 0 || p.Rate < 0 || p.Left < 0 {
		return invalid("progress is outside its range")
	}
	for _, d := range p.Devices {
		if d.Percent < 0 || d.Percent > 100 || d.Rate < 0 || d.Done < 0 || d.Total < 0 || d.Left < 0 {
			return invalid("progress of a device is outside its range")
		}
	}
	if len(p.Checkpoints) > step.MaxCheckpoints {
		return invalid("progress carries %d checkpoints, at most %d are accepted", len(p.Checkpoints), step.MaxCheckpoints)
	}
	for _, c := range p.Checkpoints {
		if err := checkpoint(c); err != nil {
			return err
		}
	}
	for _, t := range texts(p) {
		if err := names(t.field, *t.at); err != nil {
			return err
		}
	}
	return nil
}
