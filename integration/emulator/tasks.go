package emulator

import (
	"net/http"
	"slices"
	"time"

	"github.com/bessemer-metal/bessemer/integration/bmc"
)

const (
	tasksPath   = root + "/TaskService/Tasks/"
	monitorPath = root + "/TaskService/TaskMonitors/"
	retryAfter  = "1"
)

func taskBody(t bmc.Task) object {
	status, percent, message := "OK", t.Percent, ""
	switch {
	case t.Err != nil:
		status, message = "Critical", t.Err.Error()
	case t.Stuck:
		status, message = "Warning", "The job waits for a resource that is never freed."
	}
	messages := []object{}
	if message != "" {
		messages = append(messages, object{"MessageId": baseRegistry + ".GeneralError", "Message": message, "MessageArgs": []string{}, "Severity": status, "Resolution": "See the message."})
	}
	b := object{
		"@odata.id": tasksPath + t.ID, "@odata.type": "#Task.v1_6_0.Task", "Id": t.ID, "Name": t.Name, "TaskState": t.State, "TaskStatus": status,
		"StartTime": t.Start.UTC().Format(time.RFC3339), "Messages": messages, "TaskMonitor": monitorPath + t.ID,
	}
	if t.Over() {
		b["EndTime"] = t.End.UTC().Format(time.RFC3339)
		percent = 100
	}
	b["PercentComplete"] = percent
	return b
}

func (q *request) taskService() reply {
	return ok(object{"@odata.id": root + "/TaskService", "@odata.type": "#TaskService.v1_2_0.TaskService", "Id": "TaskService", "Name": "Task Service",
		"ServiceEnabled": true, "CompletedTaskOverWritePolicy": "Oldest", "DateTime": q.s.e.cfg.Now().UTC().Format(time.RFC3339), "Status": healthy(),
		"Tasks": link(root + "/TaskService/Tasks")})
}

func (q *request) taskList() reply {
	var l []string
	for _, m := range q.visible() {
		for _, t := range m.Tasks() {
			l = append(l, tasksPath+t.ID)
		}
	}
	return collection(root+"/TaskService/Tasks", "TaskCollection", "Tasks", l)
}

// find returns the task of the path and its machine.
func (q *request) find() (*Machine, bmc.Task, bool) {
	for _, m := range q.visible() {
		l := m.Tasks()
		if i := slices.IndexFunc(l, func(t bmc.Task) bool { return t.ID == q.PathValue("id") }); i >= 0 {
			return m, l[i], true
		}
	}
	return nil, bmc.Task{}, false
}

func (q *request) task() reply {
	_, t, found := q.find()
	if !found {
		return notFound(q.URL.Path)
	}
	return ok(taskBody(t))
}

// taskMonitor answers as the order itself would have, once it is done.
func (q *request) taskMonitor() reply {
	_, t, found := q.find()
	switch {
	case !found:
		return notFound(q.URL.Path)
	case !t.Over():
		return reply{status: http.StatusAccepted, body: taskBody(t), header: http.Header{"Location": {q.URL.Path}, "Retry-After": {retryAfter}}}
	case t.Err != nil:
		return orderFailed(t.Name, t.Err)
	}
	return ok(taskBody(t))
}

// deleteTask takes a task out of the queue. What it would have done is not done any more.
func (q *request) deleteTask() reply {
	m, t, found := q.find()
	if found && t.Stubborn {
		return failure(http.StatusConflict, "ResourceInUse", "The job can't be deleted while it waits.")
	}
	if !found || !m.DeleteTask(t.ID) {
		return notFound(q.URL.Path)
	}
	return noContent()
}
