package emulator

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/bessemer-metal/bessemer/integration/qemu"
)

// ControlHandler serves the control API. It asks for no password: give it to loopback only.
func (e *Emulator) ControlHandler() http.Handler {
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, status int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(v) // a client that is gone needs no answer
	}
	refuse := func(w http.ResponseWriter, status int, err error) {
		answer(w, status, map[string]string{"error": err.Error()})
	}
	on := func(pattern string, do func(http.ResponseWriter, *http.Request, *Machine)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			m := e.Machine(r.PathValue("m"))
			if m == nil {
				refuse(w, http.StatusNotFound, fmt.Errorf("no machine %q", r.PathValue("m")))
				return
			}
			do(w, r, m)
		})
	}
	read := func(w http.ResponseWriter, r *http.Request, v any) bool {
		d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
		d.DisallowUnknownFields()
		if err := d.Decode(v); err != nil {
			refuse(w, http.StatusBadRequest, fmt.Errorf("body: %w", err))
			return false
		}
		return true
	}
	mux.HandleFunc("GET /control/v1/machines", func(w http.ResponseWriter, r *http.Request) {
		l := []State{}
		for _, m := range e.Machines() {
			l = append(l, m.State())
		}
		answer(w, http.StatusOK, l)
	})
	mux.HandleFunc("POST /control/v1/machines", func(w http.ResponseWriter, r *http.Request) {
		var c MachineConfig
		if !read(w, r, &c) {
			return
		}
		m, err := e.Add(c)
		if err != nil {
			refuse(w, http.StatusBadRequest, err)
			return
		}
		answer(w, http.StatusCreated, m.State())
	})
	on("GET /control/v1/machines/{m}", func(w http.ResponseWriter, r *http.Request, m *Machine) { answer(w, http.StatusOK, m.State()) })
	on("GET /control/v1/machines/{m}/power-log", func(w http.ResponseWriter, r *http.Request, m *Machine) {
		answer(w, http.StatusOK, append([]PowerEvent{}, m.PowerLog()...))
	})
	on("GET /control/v1/machines/{m}/requests", func(w http.ResponseWriter, r *http.Request, m *Machine) {
		last, counts := m.Requests()
		answer(w, http.StatusOK, map[string]any{"last": last, "counts": counts})
	})
	on("POST /control/v1/machines/{m}/disks", func(w http.ResponseWriter, r *http.Request, m *Machine) {
		var d qemu.Disk
		if !read(w, r, &d) {
			return
		}
		if err := m.AttachDisk(d); err != nil {
			refuse(w, http.StatusConflict, err)
			return
		}
		answer(w, http.StatusOK, m.State())
	})
	on("GET /control/v1/machines/{m}/faults", func(w http.ResponseWriter, r *http.Request, m *Machine) { answer(w, http.StatusOK, m.Faults()) })
	on("POST /control/v1/machines/{m}/faults", func(w http.ResponseWriter, r *http.Request, m *Machine) {
		var f Fault
		if !read(w, r, &f) {
			return
		}
		f, err := m.Inject(f)
		if err != nil {
			refuse(w, http.StatusBadRequest, err)
			return
		}
		answer(w, http.StatusCreated, f)
	})
	heal := func(w http.ResponseWriter, r *http.Request, m *Machine) {
		m.Heal(r.PathValue("id"))
		w.WriteHeader(http.StatusNoContent)
	}
	on("DELETE /control/v1/machines/{m}/faults", heal)
	on("DELETE /control/v1/machines/{m}/faults/{id}", heal)
	return mux
}
