package conductor

import (
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Caller is who asks through the REST API.
type Caller struct {
	Name    string // user, or "noauth"
	Request string // request id
}

// Provision is PUT states/provision in the domain's words.
type Provision struct {
	Verb         state.Event
	CleanSteps   []step.Wanted
	DeploySteps  []step.Wanted
	ServiceSteps []step.Wanted
	ConfigDrive  *ConfigDrive
	NoRamdisk    bool
	// RescuePassword is what a person will log in with; nothing keeps it but its hash.
	RescuePassword string
	// Image is the digest that the file of checksums has, where instance_info gives the URL of one; nil: it was not read.
	Image *ImageDigest
}

// ImageDigest is what a file of checksums says of an image.
type ImageDigest struct {
	List, Source string // the URLs of the file and of the image
	Algorithm    string // sha256 or sha512
	Digest       string // hex
	// Fault is why the file could not be read; only a plan is made with it, so that it shows what is wrong beside all else.
	Fault *fault.Fault
}

// ConfigDrive is what an operator gives: Files from which the server makes an ISO, or a ready Image.
type ConfigDrive struct {
	Files map[string][]byte
	Image []byte
}

// PowerRequest is PUT states/power: Target is Ironic's word.
type PowerRequest struct {
	Target  string // "power on", "power off", "rebooting", "soft power off", "soft rebooting"
	Timeout int    // seconds; 0 is the server's default
}
