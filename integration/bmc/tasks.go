package bmc

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// task is one entry of the job queue. Its fields are guarded by the machine's mutex.
type task struct {
	id, name   string
	state      string
	percent    int // while it runs
	start, end time.Time
	stuck      bool // it ends only by being deleted
	stubborn   bool // and it can't be deleted: a restart of the BMC ends it
	err        error
	cancel     context.CancelFunc
}

// Task is one entry of the job queue as it is now.
type Task struct {
	ID, Name   string
	State      string // Redfish's TaskState: Pending, Running, Completed, Exception, Cancelled
	Percent    int
	Start, End time.Time
	Stuck      bool
	Stubborn   bool  // it can't be deleted
	Err        error // of an Exception
}

const (
	biosTask  = "BIOS settings at the next reset"
	keptTasks = 100
)

// Over reports whether nothing comes of the task any more.
func (t Task) Over() bool {
	return t.State == "Completed" || t.State == "Exception" || t.State == "Cancelled"
}

func (t *task) view() Task {
	return Task{t.id, t.name, t.state, t.percent, t.start, t.end, t.stuck, t.stubborn, t.err}
}

// addTask puts a task into the queue; the caller holds m.mu.
func (m *Machine) addTask(t *task) {
	t.id, t.start = fmt.Sprint(m.env.Tasks.Add(1)), m.env.Now()
	m.tasks = append(m.tasks, t)
	if i := slices.IndexFunc(m.tasks, func(t *task) bool { return t.view().Over() }); i >= 0 && len(m.tasks) > keptTasks {
		m.tasks = slices.Delete(m.tasks, i, i+1)
	}
}

// finishTasks completes the waiting tasks of a name; the caller holds m.mu.
func (m *Machine) finishTasks(name string) {
	for _, t := range m.tasks {
		if t.name == name && t.state == "Pending" {
			t.state, t.end = "Completed", m.env.Now()
		}
	}
}

// jammed reports whether a stuck task holds up the queue; the caller holds m.mu.
func (m *Machine) jammed() bool {
	return slices.ContainsFunc(m.tasks, func(t *task) bool { return t.stuck })
}

// Jammed reports whether a stuck task holds up the queue, so that it takes no further one.
func (m *Machine) Jammed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.jammed()
}

// jam fills the queue with tasks that never end.
func (m *Machine) jam(n int, stubborn bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for range n {
		m.addTask(&task{name: "Configuration job", state: "Pending", stuck: true, stubborn: stubborn})
	}
}

// Enqueue makes an order a task that is carried out after a delay.
func (m *Machine) Enqueue(name string, delay time.Duration, order func(context.Context) error) Task {
	ctx, cancel := context.WithCancel(m.env.Context)
	m.mu.Lock()
	defer m.mu.Unlock()
	t := &task{name: name, state: "Running", cancel: cancel}
	m.addTask(t)
	m.wg.Go(func() {
		defer cancel()
		timer := time.NewTimer(delay)
		defer timer.Stop()
		err := ctx.Err()
		select {
		case <-ctx.Done():
		case <-timer.C:
			err = order(ctx)
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		t.end = m.env.Now()
		switch {
		case ctx.Err() != nil:
			t.state = "Cancelled"
		case err != nil:
			t.state, t.err = "Exception", err
		default:
			t.state = "Completed"
		}
	})
	return t.view()
}

// Tasks is the job queue, oldest first.
func (m *Machine) Tasks() []Task {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := make([]Task, len(m.tasks))
	for i, t := range m.tasks {
		l[i] = t.view()
	}
	return l
}

// DeleteTask takes a task out of the queue; what it would have done is not done any more. It tells whether there was one.
func (m *Machine) DeleteTask(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.tasks, func(t *task) bool { return t.id == id })
	if i < 0 {
		return false
	}
	t := m.tasks[i]
	if t.cancel != nil {
		t.cancel()
	}
	if t.name == biosTask && !t.view().Over() {
		m.state.biosNext = nil
	}
	if t.name == updateTask && t.state == "Pending" {
		m.state.firmwareNext = nil
	}
	m.arrays.due = slices.DeleteFunc(m.arrays.due, func(d dueVolume) bool { return d.task == t })
	m.tasks = slices.Delete(m.tasks, i, i+1)
	return true
}

// cancelTasks ends what is under way; Close waits for it.
func (m *Machine) cancelTasks() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range m.tasks {
		if t.cancel != nil {
			t.cancel()
		}
	}
}
