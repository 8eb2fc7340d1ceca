package api

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Version is the minor number of an API version: 1.N.
type Version int

// The range served. Resources that Ironic has in this range and this server does not have yet answer 404 and are not
// named in GET /v1.
const (
	MinVersion Version = 1
	MaxVersion Version = 110
)

// The headers of version negotiation and of request tracing.
const (
	HeaderVersion    = "X-OpenStack-Ironic-API-Version"
	HeaderMinVersion = "X-OpenStack-Ironic-API-Minimum-Version"
	HeaderMaxVersion = "X-OpenStack-Ironic-API-Maximum-Version"
	HeaderNewVersion = "OpenStack-API-Version" // "baremetal 1.N"
	HeaderRequest    = "Openstack-Request-Id"
	HeaderRequestX   = "X-Openstack-Request-Id"
)

// String is "1.N".
func (v Version) String() string { return "1." + strconv.Itoa(int(v)) }

// Negotiate reads the version a request asks for; without one it is the minimum. ok tells whether the value could be
// parsed at all: only then may the answer carry the range headers. A refused one is a request.version fault.
func Negotiate(h http.Header) (v Version, ok bool, err error) {
	text := strings.TrimSpace(h.Get(HeaderVersion))
	if text == "" {
		for part := range strings.SplitSeq(h.Get(HeaderNewVersion), ",") {
			if service, number, found := strings.Cut(strings.TrimSpace(part), " "); found && strings.EqualFold(service, "baremetal") {
				text = strings.TrimSpace(number)
			}
		}
	}
	if text == "" {
		return MinVersion, true, nil
	}
	if strings.EqualFold(text, "latest") {
		return MaxVersion, true, nil
	}
	major, minor, found := strings.Cut(text, ".")
	ma, errMajor := strconv.ParseUint(major, 10, 16)
	mi, errMinor := strconv.ParseUint(minor, 10, 16)
	if !found || errMajor != nil || errMinor != nil {
		return 0, false, fault.New(fault.RequestVersion, "Invalid value for %s header", HeaderVersion).
			WithHint("give 1.N or latest")
	}
	if ma != 1 || Version(mi) < MinVersion || Version(mi) > MaxVersion {
		return 0, true, fault.New(fault.RequestVersion,
			"Version %s was requested but is not served; the minor version must be between %s and %s.", text, MinVersion, MaxVersion)
	}
	return Version(mi), true, nil
}
