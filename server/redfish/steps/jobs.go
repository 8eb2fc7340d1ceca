package steps

import (
	"context"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/stmcginnis/gofish/schemas"

	"github.com/bessemer-metal/bessemer/server/redfish/parts"
	"github.com/bessemer-metal/bessemer/server/redfish/wire"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// quirk is what a make does beside the standard. Empty fields match everything; others match by prefix, whatever the
// case. {manager} stands for the manager's id.
type quirk struct {
	vendor, model, firmware string
	clearJobs               []string // actions that empty the whole queue, newest first
	clearBody               map[string]any
}

// quirks is the table of makes, the first match counts.
func quirks() []quirk {
	return []quirk{
		{
			vendor: "Dell",
			clearJobs: []string{
				"/redfish/v1/Managers/{manager}/Oem/Dell/DellJobService/Actions/DellJobService.DeleteJobQueue",
				"/redfish/v1/Dell/Managers/{manager}/DellJobService/Actions/DellJobService.DeleteJobQueue",
			},
			clearBody: map[string]any{"JobID": "JID_CLEARALL"},
		},
	}
}

func quirkOf(vendor, model, firmware string) quirk {
	begins := func(s, prefix string) bool {
		return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
	}
	for _, q := range quirks() {
		if begins(vendor, q.vendor) && begins(model, q.model) && begins(firmware, q.firmware) {
			return q
		}
	}
	return quirk{}
}

const (
	jobsAtATime = 100 // tasks looked at in one operation, whose requests are bounded
	jobsTime    = 3 * time.Minute
	jobsPause   = 3 * time.Second
)

// job is a task or job that has not ended.
type job struct{ link, id, state, target string }

// clearJobs removes every task and job that has not ended, by the make's own action where it has one, and reads the
// queue again. bmc.task_failed names what stays.
func (b stepper) clearJobs(ctx context.Context, w *work) (step.Result, error) {
	w.at(0, "reading the queue")
	err := b.persist(ctx, w, func(o *wire.Operation) error {
		root, err := o.Root()
		if err != nil {
			return err
		}
		if root.Tasks == "" && root.Jobs == "" {
			return fault.New(fault.BMCUnsupported, "the BMC at %s has neither task nor job service", b.Target.Origin)
		}
		return b.clearByQuirk(o)
	})
	if err != nil {
		return step.Result{}, err
	}
	removed := map[string]bool{}
	end := time.Now().Add(jobsTime)
	for round := 1; ; round++ {
		left, err := b.openJobs(ctx, w, removed)
		if err != nil && !passing(ctx, err) {
			return step.Result{}, err
		}
		if err == nil && len(left) == 0 {
			w.at(100, "the queue is empty")
			return step.Result{Data: map[string]any{"removed": len(removed)}}, nil
		}
		if time.Now().After(end) {
			if err != nil {
				return step.Result{}, err
			}
			return step.Result{}, fault.New(fault.BMCTask, "the BMC at %s keeps %d entries in its queue: %s", b.Target.Origin, len(left), named(left)).
				WithHint("run management.reset_bmc, then management.clear_job_queue again")
		}
		w.at(min(90, float64(30+10*round)), "%d entries are left", len(left))
		if err := wire.Sleep(ctx, jobsPause); err != nil {
			return step.Result{}, err
		}
	}
}

func named(jobs []job) string {
	var out []string
	for _, j := range jobs[:min(len(jobs), 10)] {
		out = append(out, wire.Clean(j.id, 60)+" ("+wire.Clean(j.state, 30)+")")
	}
	if len(jobs) > 10 {
		out = append(out, "…")
	}
	return strings.Join(out, ", ")
}

// clearByQuirk uses the make's own action. A make without one, or a BMC that does not know it, is cleared entry by
// entry.
func (b stepper) clearByQuirk(o *wire.Operation) error {
	m, err := b.System(o)
	if err != nil {
		return err
	}
	mgr, err := b.Manager(o, m)
	if err != nil || mgr == nil {
		return err
	}
	q := quirkOf(m.Manufacturer, m.Model, mgr.FirmwareVersion)
	for _, action := range q.clearJobs {
		_, err := o.Post(strings.ReplaceAll(action, "{manager}", mgr.ID), q.clearBody)
		if status := wire.StatusOf(err); status != http.StatusNotFound && status != http.StatusMethodNotAllowed {
			return err
		}
	}
	return nil
}

// listJobs lists the tasks and jobs of the queue, those that have ended too.
func (b stepper) listJobs(ctx context.Context) (links []string, err error) {
	err = b.Run(ctx, false, func(o *wire.Operation) error {
		root, err := o.Root()
		if err != nil {
			return err
		}
		for _, service := range []string{root.Tasks, root.Jobs} {
			if service == "" {
				continue
			}
			var lists struct{ Tasks, Jobs schemas.Link }
			if err := o.Parts().Read(service, &lists); err != nil {
				return err
			}
			for _, l := range []schemas.Link{lists.Tasks, lists.Jobs} {
				more, err := o.Members(l.String())
				if err != nil {
					return err
				}
				links = append(links, more...)
			}
		}
		return nil
	})
	return links, err
}

// unended lists what has not ended. What is told to be another machine's is left out.
func (b stepper) unended(ctx context.Context) ([]job, error) {
	links, err := b.listJobs(ctx)
	if err != nil {
		return nil, err
	}
	var out []job
	for chunk := range slices.Chunk(links, jobsAtATime) {
		err := b.Run(ctx, false, func(o *wire.Operation) error {
			place, err := b.Place(o)
			if err != nil {
				return err
			}
			for _, l := range chunk {
				j, open, err := readJob(o, l)
				if err != nil {
					return err
				}
				if open && !j.elsewhere(parts.Place(place)) {
					out = append(out, j)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// elsewhere tells whether a job works on another system than the one at a path.
func (j job) elsewhere(system string) bool {
	all, _ := path.Split(system)
	at := parts.Place(j.target)
	return strings.HasPrefix(at, all) && at != system && !strings.HasPrefix(at, system+"/")
}

// waits tells whether a job has yet to begin: at a restart, it may be.
func (j job) waits() bool {
	return slices.Contains([]string{"New", "Pending", "Scheduled", "Suspended", "UserIntervention"}, j.state)
}

// openJobs looks at the queue, asks for the removal of what has not ended, and tells what is left.
func (b stepper) openJobs(ctx context.Context, w *work, removed map[string]bool) ([]job, error) {
	links, err := b.listJobs(ctx)
	var left []job
	for chunk := range slices.Chunk(links, jobsAtATime) {
		if err != nil {
			return nil, err
		}
		err = b.Run(ctx, false, func(o *wire.Operation) error {
			for _, l := range chunk {
				j, open, err := readJob(o, l)
				if err != nil {
					return err
				}
				if !open {
					continue
				}
				left = append(left, j)
				w.at(20, "removing %s", wire.Clean(j.id, 60))
				_, err = o.Delete(l)
				switch status := wire.StatusOf(err); {
				case err == nil, status == http.StatusNotFound:
					removed[l] = true
				case status == 0 || wire.WorthRepeating(status):
					return err
				}
				// Refused: it stays in left, and the last look names it.
			}
			return nil
		})
	}
	return left, err
}

// readJob reads a task or job; open is false when it has ended or is gone.
func readJob(o *wire.Operation, link string) (j job, open bool, err error) {
	var found struct {
		ID        string `json:"Id"`
		TaskState string
		JobState  string
		Payload   struct {
			TargetURI string `json:"TargetUri"`
		}
	}
	if err := o.Parts().Read(link, &found); err != nil {
		if wire.StatusOf(err) == http.StatusNotFound {
			err = nil
		}
		return job{}, false, err
	}
	j = job{link: link, id: found.ID, state: found.TaskState + found.JobState, target: found.Payload.TargetURI}
	switch j.state {
	case "Completed", "Exception", "Killed", "Cancelled", "CompletedWithErrors", "Failed":
		return j, false, nil
	}
	return j, true, nil
}
