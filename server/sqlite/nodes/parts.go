package nodes

import (
	"database/sql"
	"errors"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/sqlite/session"
)

func (t *Tx) part(node conductor.NodeID, name string, into any) error {
	var body []byte
	err := t.Row("SELECT body FROM parts WHERE node = ? AND part = ?", []any{session.Text(string(node)), name}, &body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return session.Decode(name+" of "+string(node), body, into)
}

func (t *Tx) putPart(node conductor.NodeID, name string, all any) error {
	body, err := session.Encode(name+" of "+string(node), all)
	if err != nil {
		return err
	}
	_, err = t.Exec("INSERT INTO parts (node, part, body) VALUES (?, ?, ?) ON CONFLICT (node, part) DO UPDATE SET body = excluded.body",
		session.Text(string(node)), name, body)
	if session.Dangling(err) {
		return Missing(string(node))
	}
	return err
}

func (t *Tx) BIOSSettings(node conductor.NodeID) (all []conductor.BIOSSetting, err error) {
	return all, t.part(node, "bios", &all)
}

func (t *Tx) PutBIOSSettings(node conductor.NodeID, all []conductor.BIOSSetting) error {
	return t.putPart(node, "bios", all)
}

func (t *Tx) Firmware(node conductor.NodeID) (all []conductor.FirmwareComponent, err error) {
	return all, t.part(node, "firmware", &all)
}

func (t *Tx) PutFirmware(node conductor.NodeID, all []conductor.FirmwareComponent) error {
	return t.putPart(node, "firmware", all)
}
