package origin

import (
	"net/url"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// ParseOrigin reads scheme://host[:port], without anything behind it, and gives it with its port: "https://hooks.example:443".
func ParseOrigin(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", fault.New(fault.RequestInvalid, "%q is no origin, expected a form like https://hooks.example:8443", text)
	}
	return originOf(u)
}

// Of is the origin of a URL, for what is written down and shown: what stands behind the host may be a secret. It is ""
// where there is none.
func Of(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return ""
	}
	o, _ := originOf(u)
	return o
}

func originOf(u *url.URL) (string, error) {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || port == "" {
		return "", fault.New(fault.RequestInvalid, "a URL must be of http or https and name a host")
	}
	host := strings.ToLower(u.Hostname())
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return u.Scheme + "://" + host + ":" + port, nil
}

// Listed refuses a URL whose origin is none of those that the operator of the server has listed (ParseOrigin), and one
// that carries a user or password.
func Listed(origins []string, rawURL string) error {
	u, err := url.Parse(rawURL)
	if err != nil || u.User != nil || u.Fragment != "" {
		return fault.New(fault.RequestInvalid, "the URL can't be parsed, or holds a user, password or fragment") // its text may hold a secret
	}
	o, err := originOf(u)
	if err != nil {
		return err
	}
	if !slices.Contains(origins, o) {
		return fault.New(fault.OriginRefused, "%s is none of the origins that this server may call", o).
			WithHint("the server's operator lists it: --webhook-origin %s", o)
	}
	return nil
}
