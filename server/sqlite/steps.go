package sqlite

import (
	"database/sql"
	"errors"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

func (t *tx) Step(id step.ID) (conductor.StepRecord, error) {
	var r conductor.StepRecord
	var body []byte
	err := t.row("SELECT nonce, body FROM steps WHERE id = ?", []any{text(string(id))}, &r.Nonce, &body)
	if errors.Is(err, sql.ErrNoRows) {
		return r, fault.New(fault.StepNotFound, "there is no step attempt %q", id)
	}
	if err != nil {
		return r, err
	}
	return r, decode("step "+string(id), body, &r)
}

// Steps gives all runs oldest first.
func (t *tx) Steps(node conductor.NodeID, run string) ([]conductor.StepRecord, error) {
	if run != "" {
		return t.steps("WHERE node = ? AND run = ? ORDER BY place, attempt, seq", text(string(node)), text(run))
	}
	return t.steps("WHERE node = ? ORDER BY min(seq) OVER (PARTITION BY run), place, attempt, seq", text(string(node)))
}

func (t *tx) OpenSteps(node conductor.NodeID) ([]conductor.StepRecord, error) {
	return t.steps("WHERE node = ? AND state IN ('offered', 'started') ORDER BY seq", text(string(node)))
}

func (t *tx) steps(rest string, args ...any) ([]conductor.StepRecord, error) {
	var out []conductor.StepRecord
	err := t.rows("SELECT nonce, body FROM steps "+rest, args, func(scan func(...any) error) error {
		var r conductor.StepRecord
		var body sql.RawBytes
		if err := scan(&r.Nonce, &body); err != nil {
			return err
		}
		if err := decode("step", body, &r); err != nil {
			return err
		}
		out = append(out, r)
		return nil
	})
	return out, err
}

// PutStep changes a record or makes it. Most are changed, which costs a third of an upsert.
func (t *tx) PutStep(r *conductor.StepRecord) error {
	body, err := encode("step "+string(r.ID), r)
	if err != nil {
		return err
	}
	values := []any{text(string(r.Node)), text(r.Run), r.Order, r.Attempt, text(string(r.State)), r.Nonce, body, text(string(r.ID))}
	changed, err := t.exec("UPDATE steps SET node = ?, run = ?, place = ?, attempt = ?, state = ?, nonce = ?, body = ? WHERE id = ?", values...)
	if err == nil && changed == 0 {
		_, err = t.exec("INSERT INTO steps (node, run, place, attempt, state, nonce, body, id) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values...)
	}
	if dangling(err) {
		return noNode(string(r.Node))
	}
	return err
}

func (t *tx) AddEffect(e *conductor.Effect) error {
	body, err := encode("effect", e)
	if err != nil {
		return err
	}
	st, err := t.open(true, "INSERT INTO effects (node, body) VALUES (?, ?)")
	if err != nil {
		return err
	}
	res, err := st.Exec(text(string(e.Node)), body)
	if dangling(err) {
		return noNode(string(e.Node))
	}
	if err != nil {
		return t.failed(err)
	}
	e.ID, err = res.LastInsertId()
	return err
}

func (t *tx) Effects() ([]conductor.Effect, error) {
	var out []conductor.Effect
	err := t.rows("SELECT id, body FROM effects ORDER BY id", nil, func(scan func(...any) error) error {
		var e conductor.Effect
		var id int64
		var body sql.RawBytes
		if err := scan(&id, &body); err != nil {
			return err
		}
		if err := decode("effect", body, &e); err != nil {
			return err
		}
		e.ID = id // the body was written before there was one
		out = append(out, e)
		return nil
	})
	return out, err
}

// DoneEffect may be called again: an effect done twice is done.
func (t *tx) DoneEffect(id int64) error {
	_, err := t.exec("DELETE FROM effects WHERE id = ?", id)
	return err
}
