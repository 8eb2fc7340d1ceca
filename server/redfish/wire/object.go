package wire

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"

	"github.com/stmcginnis/gofish/schemas"

	"github.com/bessemer-metal/bessemer/server/redfish/target"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// gofish's own client joins addresses as text, has no bounds and decodes in goroutines where a crash can't be caught.
// An operation is gofish's client instead: the objects of gofish call it, and it lets nothing pass that breaks a rule.
var _ schemas.Client = (*Operation)(nil)

func (o *Operation) call(method, link string, payload any, header map[string]string) (*http.Response, error) {
	path, err := o.Resolve(link)
	if err != nil {
		return nil, err
	}
	r := request{method: method, path: path, header: header}
	if payload != nil {
		if r.body, err = json.Marshal(payload); err != nil {
			return nil, err
		}
	}
	return o.do(r)
}

// GetSettings and the methods below are gofish's; a link may be a path or a URL of the origin.
func (o *Operation) GetSettings() schemas.ClientSettings { return schemas.ClientSettings{} }

func (o *Operation) Get(link string) (*http.Response, error) {
	return o.call(http.MethodGet, link, nil, nil)
}

func (o *Operation) GetWithHeaders(link string, h map[string]string) (*http.Response, error) {
	return o.call(http.MethodGet, link, nil, h)
}

func (o *Operation) Post(link string, payload any) (*http.Response, error) {
	return o.call(http.MethodPost, link, payload, nil)
}

func (o *Operation) PostWithHeaders(link string, payload any, h map[string]string) (*http.Response, error) {
	return o.call(http.MethodPost, link, payload, h)
}

func (o *Operation) Patch(link string, payload any) (*http.Response, error) {
	return o.call(http.MethodPatch, link, payload, nil)
}

func (o *Operation) PatchWithHeaders(link string, payload any, h map[string]string) (*http.Response, error) {
	return o.call(http.MethodPatch, link, payload, h)
}

func (o *Operation) Put(link string, payload any) (*http.Response, error) {
	return o.call(http.MethodPut, link, payload, nil)
}

func (o *Operation) PutWithHeaders(link string, payload any, h map[string]string) (*http.Response, error) {
	return o.call(http.MethodPut, link, payload, h)
}

func (o *Operation) Delete(link string) (*http.Response, error) {
	return o.call(http.MethodDelete, link, nil, nil)
}

func (o *Operation) DeleteWithHeaders(link string, h map[string]string) (*http.Response, error) {
	return o.call(http.MethodDelete, link, nil, h)
}

func (o *Operation) PostMultipart(link string, payload map[string]io.Reader) (*http.Response, error) {
	return o.PostMultipartWithHeaders(link, payload, nil)
}

// PostMultipartWithHeaders is not offered: gofish would hold a whole firmware image in memory.
func (o *Operation) PostMultipartWithHeaders(string, map[string]io.Reader, map[string]string) (*http.Response, error) {
	return nil, fault.New(fault.BMCUnsupported, "uploads to a BMC are not offered")
}

// PatchTagged reads an object's tag and patches under it; where the tag fails though it is fresh, without it.
func (o *Operation) PatchTagged(link string, payload any) (*http.Response, error) {
	resp, err := o.Get(link)
	if err != nil {
		return nil, err
	}
	header := map[string]string{}
	if tag := resp.Header.Get("ETag"); tag != "" {
		header["If-Match"] = tag
	}
	resp, err = o.PatchWithHeaders(link, payload, header)
	if StatusOf(err) == http.StatusPreconditionFailed {
		return o.Patch(link, payload)
	}
	return resp, err
}

// bodyOf is the body of an answer, which has been read.
func bodyOf(resp *http.Response) []byte {
	if resp == nil || resp.Body == nil {
		return nil
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		return nil // the body is in memory already
	}
	return b.Bytes()
}

// Read gets one object as gofish knows it, and its further fields into extra.
func Read[T any, PT schemas.GenericSchemaObjectPointer[T]](o *Operation, link string, extra ...any) (*T, error) {
	resp, err := o.Get(link)
	if err != nil {
		return nil, err
	}
	raw := bodyOf(resp)
	out := PT(new(T))
	for _, into := range append([]any{out}, extra...) {
		if err := decode(raw, into); err != nil {
			return nil, o.notRedfish(link, err)
		}
	}
	if tag := resp.Header.Get("ETag"); tag != "" && out.GetETag() == "" {
		out.SetETag(tag)
	}
	out.SetClient(o)
	return (*T)(out), nil
}

// Members lists the links of a collection, page by page, each once.
func (o *Operation) Members(link string) ([]string, error) {
	var out []string
	pages, known := map[string]bool{}, map[string]bool{}
	for link != "" {
		path, err := o.Resolve(link)
		if err != nil {
			return nil, err
		}
		if pages[path] || len(pages) == maxPages {
			return nil, o.spoil(fault.New(fault.BMCTooLarge, "the list at %s of the BMC at %s does not end: page %d leads back to an earlier one, or on", path, o.account.endpoint.origin, len(pages)))
		}
		pages[path] = true
		resp, err := o.Get(path)
		if err != nil {
			return nil, err
		}
		var page struct {
			Members []schemas.Link
			Next    string `json:"Members@odata.nextLink"`
		}
		if err := decode(bodyOf(resp), &page); err != nil {
			return nil, o.notRedfish(path, err)
		}
		for _, m := range page.Members {
			if m == "" || known[m.String()] {
				continue
			}
			if len(out) == maxMembers {
				return nil, o.spoil(fault.New(fault.BMCTooLarge, "the list at %s of the BMC at %s has more than %d members", path, o.account.endpoint.origin, maxMembers))
			}
			known[m.String()] = true
			out = append(out, m.String())
		}
		link = page.Next
	}
	return out, nil
}

// serviceRoot is what is needed of the entrance, as paths.
type serviceRoot struct {
	Systems, Managers, Tasks, Jobs, sessions string
}

// Root reads the entrance, once per operation and without logging in: it is open to all.
func (o *Operation) Root() (serviceRoot, error) {
	if o.entrance != nil {
		return *o.entrance, nil
	}
	base := o.account.root
	resp, err := o.repeat(request{method: http.MethodGet, path: base})
	if err != nil {
		return serviceRoot{}, err
	}
	var found struct {
		Systems, Managers, Tasks, JobService schemas.Link
		Links                                struct{ Sessions schemas.Link }
		services
	}
	switch {
	case isRefusal(resp.StatusCode): // some keep even this one closed; the names are usual
		found.Systems, found.Managers, found.Tasks = schemas.Link(base+"Systems"), schemas.Link(base+"Managers"), schemas.Link(base+"TaskService")
		found.services = services{schemas.Link(base + "Registries"), schemas.Link(base + "UpdateService"), schemas.Link(base + "EventService")}
	case resp.StatusCode >= 300:
		return serviceRoot{}, o.bad(request{method: http.MethodGet, path: base}, resp)
	default:
		if err := decode(bodyOf(resp), &found); err != nil {
			return serviceRoot{}, o.notRedfish(base, err)
		}
	}
	if found.Systems == "" {
		return serviceRoot{}, fault.New(fault.BMCError, "what answers at %s%s is no Redfish service: it names no systems", o.account.endpoint.origin, base).
			WithHint("check %s", target.KeyAddress)
	}
	if found.Links.Sessions == "" {
		found.Links.Sessions = schemas.Link(base + "SessionService/Sessions")
	}
	var root serviceRoot
	for _, f := range []struct {
		to   *string
		link schemas.Link
	}{
		{&root.Systems, found.Systems}, {&root.Managers, found.Managers}, {&root.Tasks, found.Tasks},
		{&root.Jobs, found.JobService}, {&root.sessions, found.Links.Sessions},
	} {
		if f.link == "" {
			continue
		}
		if *f.to, err = o.Resolve(f.link.String()); err != nil {
			return serviceRoot{}, err
		}
	}
	o.entrance, o.more = &root, found.services
	return root, nil
}
