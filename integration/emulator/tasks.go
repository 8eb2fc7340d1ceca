package emulator

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"
)

// task is one entry of a BMC's job queue. Its fields are guarded by the machine's mutex.
type task struct {
	id, name   string
	state      string // Redfish's TaskState
	message    string
	start, end time.Time
	stuck      bool // the fault jam: it ends only by being deleted
	failed     *reply
	cancel     context.CancelFunc
}

const (
	biosTask   = "BIOS settings at the next reset"
	tasksPath  = root + "/TaskService/Tasks"
	retryAfter = "1"
)

// ids are unique in one emulator, as machines share a task service.
type taskIDs struct{ last atomic.Int64 }

func (t *task) over() bool {
	return t.state == "Completed" || t.state == "Exception" || t.state == "Cancelled"
}

// addTask puts a task into the queue; the caller holds m.mu.
func (m *Machine) addTask(t *task) *task {
	t.id = fmt.Sprint(m.e.taskIDs.last.Add(1))
	t.start = m.e.cfg.Now()
	m.tasks = append(m.tasks, t)
	if over := len(m.tasks) - 100; over > 0 {
		m.tasks = slices.DeleteFunc(m.tasks, func(t *task) bool { over--; return over >= 0 && t.over() })
	}
	return t
}

// finishTasks completes the waiting tasks of a name; the caller holds m.mu.
func (m *Machine) finishTasks(name string) {
	for _, t := range m.tasks {
		if t.name == name && !t.over() {
			t.state, t.end = "Completed", m.e.cfg.Now()
		}
	}
}

// jammed reports whether a stuck task holds up the queue; the caller holds m.mu.
func (m *Machine) jammed() bool {
	return slices.ContainsFunc(m.tasks, func(t *task) bool { return t.stuck })
}

// asTask carries out an order after a delay, and answers at once with where to ask for it.
func (q *request) asTask(name string, delay time.Duration, do func() error) reply {
	m := q.m
	ctx, cancel := context.WithCancel(m.e.ctx)
	m.mu.Lock()
	t := m.addTask(&task{name: name, state: "Running", cancel: cancel})
	a := reply{status: http.StatusAccepted, body: m.taskBody(t)}
	m.mu.Unlock()
	r := *q.Request
	q.Request = r.WithContext(ctx) // the order outlives its request
	m.e.wg.Go(func() {
		defer cancel()
		timer := time.NewTimer(delay)
		defer timer.Stop()
		var err error
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-timer.C:
			err = do()
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		t.end = m.e.cfg.Now()
		switch {
		case ctx.Err() != nil:
			t.state = "Cancelled"
		case err != nil:
			f := orderFailed(name, err)
			t.state, t.message, t.failed = "Exception", err.Error(), &f
		default:
			t.state = "Completed"
		}
	})
	a.header = http.Header{"Location": {root + "/TaskService/TaskMonitors/" + t.id}, "Retry-After": {retryAfter}}
	return a
}

// cancelTasks ends what is under way; the tasks' goroutines are waited for by Close.
func (m *Machine) cancelTasks() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range m.tasks {
		if t.cancel != nil {
			t.cancel()
		}
	}
}

// taskBody is a task's resource; the caller holds m.mu.
func (m *Machine) taskBody(t *task) object {
	status, percent := "OK", 0
	switch {
	case t.state == "Exception":
		status = "Critical"
	case t.stuck:
		status = "Warning"
	}
	messages := []object{}
	if t.message != "" {
		messages = append(messages, object{"MessageId": baseRegistry + ".GeneralError", "Message": t.message, "MessageArgs": []string{}, "Severity": status, "Resolution": "See the message."})
	}
	b := object{
		"@odata.id": tasksPath + "/" + t.id, "@odata.type": "#Task.v1_6_0.Task", "Id": t.id, "Name": t.name, "TaskState": t.state, "TaskStatus": status,
		"StartTime": t.start.UTC().Format(time.RFC3339), "Messages": messages, "TaskMonitor": root + "/TaskService/TaskMonitors/" + t.id,
	}
	if t.over() {
		b["EndTime"] = t.end.UTC().Format(time.RFC3339)
		percent = 100
	}
	b["PercentComplete"] = percent
	return b
}

func (q *request) taskService() reply {
	return ok(object{"@odata.id": root + "/TaskService", "@odata.type": "#TaskService.v1_2_0.TaskService", "Id": "TaskService", "Name": "Task Service",
		"ServiceEnabled": true, "CompletedTaskOverWritePolicy": "Oldest", "DateTime": q.s.e.cfg.Now().UTC().Format(time.RFC3339), "Status": healthy(), "Tasks": link(tasksPath)})
}

func (q *request) taskList() reply {
	var l []string
	for _, m := range q.visible() {
		m.mu.Lock()
		for _, t := range m.tasks {
			l = append(l, tasksPath+"/"+t.id)
		}
		m.mu.Unlock()
	}
	return collection(tasksPath, "TaskCollection", "Tasks", l)
}

// find runs with the task of the path, its machine locked.
func (q *request) find(with func(*Machine, *task) reply) reply {
	for _, m := range q.visible() {
		m.mu.Lock()
		i := slices.IndexFunc(m.tasks, func(t *task) bool { return t.id == q.PathValue("id") })
		if i >= 0 {
			defer m.mu.Unlock()
			return with(m, m.tasks[i])
		}
		m.mu.Unlock()
	}
	return notFound(q.URL.Path)
}

func (q *request) task() reply {
	return q.find(func(m *Machine, t *task) reply { return ok(m.taskBody(t)) })
}

// taskMonitor answers as the order itself would have, once it is done.
func (q *request) taskMonitor() reply {
	return q.find(func(m *Machine, t *task) reply {
		switch {
		case !t.over():
			return reply{status: http.StatusAccepted, body: m.taskBody(t), header: http.Header{"Location": {q.URL.Path}, "Retry-After": {retryAfter}}}
		case t.failed != nil:
			return *t.failed
		}
		return ok(m.taskBody(t))
	})
}

// deleteTask takes a task out of the queue. What it would have done is not done any more.
func (q *request) deleteTask() reply {
	return q.find(func(m *Machine, t *task) reply {
		if t.cancel != nil {
			t.cancel()
		}
		if t.name == biosTask && !t.over() {
			m.biosNext = nil
		}
		m.tasks = slices.DeleteFunc(m.tasks, func(x *task) bool { return x == t })
		return noContent()
	})
}

// jam fills the queue with tasks that never end.
func (m *Machine) jam(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for range n {
		m.addTask(&task{name: "Configuration job", state: "Pending", stuck: true, message: "The job waits for a resource that is never freed."})
	}
}
