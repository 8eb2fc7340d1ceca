package rest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// uploadSlow is how long an upload may stand still.
const uploadSlow = 60 * time.Second

func (a *API) imageName(c *serve.Call) (string, error) {
	name := c.Var("image")
	if !shape.IsName(name) || strings.HasPrefix(name, ".") {
		return "", fault.New(fault.RequestInvalid, "%q is no name for an image: letters, digits and - . _ ~, not beginning with a dot", name)
	}
	return name, nil
}

func (a *API) images(c *serve.Call) error {
	list, err := a.cfg.Images.List(c.R.Context())
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, api.ImageList{Images: append([]api.Image{}, list...)})
}

func (a *API) showImage(c *serve.Call) error {
	name, err := a.imageName(c)
	if err != nil {
		return err
	}
	i, err := a.cfg.Images.Image(c.R.Context(), name)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, i)
}

// putImage takes an upload of any length, as long as it moves.
func (a *API) putImage(c *serve.Call) error {
	name, err := a.imageName(c)
	if err != nil {
		return err
	}
	// Files commit with no transaction: that it begins is in the audit before it does, and what it came to after (I27).
	if err := a.mark(c, "image.publish", map[string]any{"image": name}); err != nil {
		return err
	}
	i, err := a.cfg.Images.Put(c.R.Context(), name, movingReader{c, http.NewResponseController(c.W), a.cfg.Now})
	if err != nil {
		return err
	}
	if err := a.mark(c, "image.published", map[string]any{"image": name, "sha256": i.SHA256, "size": i.Size}); err != nil {
		return err
	}
	c.W.Header().Set("Location", c.Base+"/v1/images/"+name)
	return c.JSON(http.StatusCreated, i)
}

func (a *API) deleteImage(c *serve.Call) error {
	name, err := a.imageName(c)
	if err != nil {
		return err
	}
	if _, err := a.cfg.Images.Image(c.R.Context(), name); err != nil {
		return err
	}
	if err := a.mark(c, "image.delete", map[string]any{"image": name}); err != nil {
		return err
	}
	if err := a.cfg.Images.Delete(c.R.Context(), name); err != nil {
		return err
	}
	return c.Empty(http.StatusNoContent)
}

// mark writes an act into the audit that must not be without an entry there.
func (a *API) mark(c *serve.Call, act string, detail map[string]any) error {
	return a.cfg.Backend.Note(context.WithoutCancel(c.R.Context()), c.Who, act, "", detail)
}

// movingReader renews the upload's time with each piece that arrives.
type movingReader struct {
	c   *serve.Call
	rc  *http.ResponseController
	now func() time.Time
}

func (m movingReader) Read(b []byte) (int, error) {
	until := m.now().Add(uploadSlow)
	_ = errors.Join(m.rc.SetReadDeadline(until), m.rc.SetWriteDeadline(until.Add(serve.AnswerTime)))
	n, err := m.c.R.Body.Read(b)
	if err != nil && err != io.EOF {
		return n, fault.New(fault.RequestInvalid, "the upload broke off").Because(err)
	}
	return n, err
}
