package nodes

import (
	"database/sql"
	"errors"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/sqlite/session"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

func (t *Tx) Step(id step.ID) (conductor.StepRecord, error) {
	var r conductor.StepRecord
	var body []byte
	err := t.Row("SELECT nonce, body FROM steps WHERE id = ?", []any{session.Text(string(id))}, &r.Nonce, &body)
	if errors.Is(err, sql.ErrNoRows) {
		return r, fault.New(fault.StepNotFound, "there is no step attempt %q", id)
	}
	if err != nil {
		return r, err
	}
	return r, session.Decode("step "+string(id), body, &r)
}

// Steps gives all runs oldest first.
func (t *Tx) Steps(node conductor.NodeID, run string) ([]conductor.StepRecord, error) {
	if run != "" {
		return t.steps("WHERE node = ? AND run = ? ORDER BY place, attempt, seq", session.Text(string(node)), session.Text(run))
	}
	return t.steps("WHERE node = ? ORDER BY min(seq) OVER (PARTITION BY run), place, attempt, seq", session.Text(string(node)))
}

func (t *Tx) OpenSteps(node conductor.NodeID) ([]conductor.StepRecord, error) {
	return t.steps("WHERE node = ? AND state IN ('offered', 'started') ORDER BY seq", session.Text(string(node)))
}

func (t *Tx) steps(rest string, args ...any) ([]conductor.StepRecord, error) {
	var out []conductor.StepRecord
	err := t.Rows("SELECT nonce, body FROM steps "+rest, args, func(scan func(...any) error) error {
		var r conductor.StepRecord
		var body sql.RawBytes
		if err := scan(&r.Nonce, &body); err != nil {
			return err
		}
		if err := session.Decode("step", body, &r); err != nil {
			return err
		}
		out = append(out, r)
		return nil
	})
	return out, err
}

// PutStep changes a record or makes it. Most are changed, which costs a third of an upsert.
func (t *Tx) PutStep(r *conductor.StepRecord) error {
	body, err := session.Encode("step "+string(r.ID), r)
	if err != nil {
		return err
	}
	values := []any{session.Text(string(r.Node)), session.Text(r.Run), r.Order, r.Attempt, session.Text(string(r.State)), r.Nonce, body, session.Text(string(r.ID))}
	changed, err := t.Exec("UPDATE steps SET node = ?, run = ?, place = ?, attempt = ?, state = ?, nonce = ?, body = ? WHERE id = ?", values...)
	if err == nil && changed == 0 {
		_, err = t.Exec("INSERT INTO steps (node, run, place, attempt, state, nonce, body, id) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values...)
	}
	if session.Dangling(err) {
		return Missing(string(r.Node))
	}
	return err
}

func (t *Tx) AddEffect(e *conductor.Effect) error {
	body, err := session.Encode("effect", e)
	if err != nil {
		return err
	}
	st, err := t.Open(true, "INSERT INTO effects (node, body) VALUES (?, ?)")
	if err != nil {
		return err
	}
	res, err := st.Exec(session.Text(string(e.Node)), body)
	if session.Dangling(err) {
		return Missing(string(e.Node))
	}
	if err != nil {
		return t.Failed(err)
	}
	e.ID, err = res.LastInsertId()
	return err
}

func (t *Tx) Effects() ([]conductor.Effect, error) {
	var out []conductor.Effect
	err := t.Rows("SELECT id, body FROM effects ORDER BY id", nil, func(scan func(...any) error) error {
		var e conductor.Effect
		var id int64
		var body sql.RawBytes
		if err := scan(&id, &body); err != nil {
			return err
		}
		if err := session.Decode("effect", body, &e); err != nil {
			return err
		}
		e.ID = id // the body was written before there was one
		out = append(out, e)
		return nil
	})
	return out, err
}

// DoneEffect may be called again: an effect done twice is done.
func (t *Tx) DoneEffect(id int64) error {
	_, err := t.Exec("DELETE FROM effects WHERE id = ?", id)
	return err
}
