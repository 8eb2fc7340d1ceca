package wire

import (
	"net/http"

	"github.com/stmcginnis/gofish/schemas"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// TaskDone asks a task or its monitor. The fault of a failed one is bmc.task_failed. One that is gone is done: the
// BMC forgot it, and what it was for is read elsewhere.
func (o *Operation) TaskDone(link string) (done bool, percent float64, err error) {
	if link == "" {
		return true, 100, nil
	}
	t, err := o.TaskAt(link)
	return t.Done, t.Percent, err
}

// task is what a task, or its monitor, says of itself.
type task struct {
	State   string // Redfish's TaskState; "" when it says none
	Done    bool   // it ended well, or is gone
	Gone    bool   // the BMC does not know it any more
	Percent float64
}

// TaskAt reads a task or its monitor; the fault of a failed one is bmc.task_failed.
func (o *Operation) TaskAt(link string) (task, error) {
	path, err := o.Resolve(link)
	if err != nil {
		return task{}, err
	}
	resp, err := o.do(request{method: http.MethodGet, path: path, once: true})
	switch status := StatusOf(err); {
	case status == http.StatusNotFound || status == http.StatusGone:
		return task{Done: true, Gone: true, Percent: 100}, nil
	case err != nil && (status == 0 || status != http.StatusInternalServerError && WorthRepeating(status)):
		return task{}, err
	case err != nil:
		return task{}, fault.New(fault.BMCTask, "the task failed: %s", fault.From(err).Message)
	}
	var t struct {
		TaskState       schemas.TaskState
		PercentComplete any // of whatever type a BMC takes for a number
		Messages        []struct{ Message string }
	}
	if decode(bodyOf(resp), &t) != nil || t.TaskState == "" {
		return task{Done: resp.StatusCode != http.StatusAccepted}, nil
	}
	state := Clean(string(t.TaskState), 40)
	switch t.TaskState {
	case schemas.CompletedTaskState:
		return task{State: state, Done: true, Percent: 100}, nil
	case schemas.ExceptionTaskState, schemas.KilledTaskState, schemas.CancelledTaskState:
		said := "it gives no reason"
		for _, m := range t.Messages {
			if m.Message != "" {
				said = Clean(o.Mask(m.Message), 300)
			}
		}
		return task{}, fault.New(fault.BMCTask, "the task at %s of the BMC at %s ended as %s: %s", Clean(o.Mask(link), 200), o.account.endpoint.origin, t.TaskState, said)
	}
	percent, _ := t.PercentComplete.(float64)
	return task{State: state, Percent: min(max(percent, 0), 100)}, nil
}
