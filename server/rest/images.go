package rest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// uploadSlow is how long an upload may stand still.
const uploadSlow = 60 * time.Second

func (c *call) imageName() (string, error) {
	name := mux.Vars(c.r)["image"]
	if !shape.IsName(name) || strings.HasPrefix(name, ".") {
		return "", fault.New(fault.RequestInvalid, "%q is no name for an image: letters, digits and - . _ ~, not beginning with a dot", name)
	}
	return name, nil
}

func (c *call) images() error {
	list, err := c.api.cfg.Images.List(c.r.Context())
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, api.ImageList{Images: append([]api.Image{}, list...)})
}

func (c *call) showImage() error {
	name, err := c.imageName()
	if err != nil {
		return err
	}
	i, err := c.api.cfg.Images.Image(c.r.Context(), name)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, i)
}

// putImage takes an upload of any length, as long as it moves.
func (c *call) putImage() error {
	name, err := c.imageName()
	if err != nil {
		return err
	}
	// Files commit with no transaction: that it begins is in the audit before it does, and what it came to after (I27).
	if err := c.mark("image.publish", map[string]any{"image": name}); err != nil {
		return err
	}
	i, err := c.api.cfg.Images.Put(c.r.Context(), name, movingReader{c, http.NewResponseController(c.w)})
	if err != nil {
		return err
	}
	if err := c.mark("image.published", map[string]any{"image": name, "sha256": i.SHA256, "size": i.Size}); err != nil {
		return err
	}
	c.w.Header().Set("Location", c.base+"/v1/images/"+name)
	c.patience()
	return c.json(http.StatusCreated, i)
}

func (c *call) deleteImage() error {
	name, err := c.imageName()
	if err != nil {
		return err
	}
	if _, err := c.api.cfg.Images.Image(c.r.Context(), name); err != nil {
		return err
	}
	if err := c.mark("image.delete", map[string]any{"image": name}); err != nil {
		return err
	}
	if err := c.api.cfg.Images.Delete(c.r.Context(), name); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

// mark writes an act into the audit that must not be without an entry there.
func (c *call) mark(act string, detail map[string]any) error {
	return c.api.cfg.Backend.Note(context.WithoutCancel(c.r.Context()), c.who, act, "", detail)
}

// movingReader renews the upload's time with each piece that arrives.
type movingReader struct {
	c  *call
	rc *http.ResponseController
}

func (m movingReader) Read(b []byte) (int, error) {
	until := m.c.api.cfg.Now().Add(uploadSlow)
	_ = errors.Join(m.rc.SetReadDeadline(until), m.rc.SetWriteDeadline(until.Add(answerTime)))
	n, err := m.c.r.Body.Read(b)
	if err != nil && err != io.EOF {
		return n, fault.New(fault.RequestInvalid, "the upload broke off").Because(err)
	}
	return n, err
}
