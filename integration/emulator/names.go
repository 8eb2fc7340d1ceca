package emulator

import (
	"github.com/bessemer-metal/bessemer/integration/bmc"
	"github.com/bessemer-metal/bessemer/integration/faults"
)

// What a program needs beside New, so that it imports one package.
type (
	Machine       = bmc.Machine
	MachineConfig = bmc.Config
	FakeBoot      = bmc.FakeBoot
	State         = bmc.State
	PowerEvent    = bmc.PowerEvent
	Request       = bmc.Request
	Fault         = faults.Fault
	Duration      = faults.Duration
)

// The kinds of faults; package faults says what each does.
const (
	Delay            = faults.Delay
	Status           = faults.Status
	HangUp           = faults.HangUp
	Body             = faults.Body
	Endless          = faults.Endless
	Huge             = faults.Huge
	Drip             = faults.Drip
	Redirect         = faults.Redirect
	ForeignLink      = faults.ForeignLink
	AbsoluteLocation = faults.AbsoluteLocation
	LiePower         = faults.LiePower
	Ignore           = faults.Ignore
	Async            = faults.Async
	TaskFails        = faults.TaskFails
	Jam              = faults.Jam
	CutAfter         = faults.CutAfter
	Twice            = faults.Twice
	Restart          = faults.Restart
	Edit             = faults.Edit
	Waits            = faults.Waits
	Clock            = faults.Clock
)
