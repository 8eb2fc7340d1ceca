package redfish

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"time"
)

// The bounds that a BMC is held to, as figures: whoever changes one changes it here, too.
const (
	perSecond     = 20
	burst         = 60
	breakAfter    = 3
	breakFirst    = 5 * time.Second
	breakLongest  = 60 * time.Second
	wrongTries    = 2
	resetRefusals = 3
	actTries      = 3
	readTries     = 4
	longestRetry  = 15 * time.Second
	operationTime = 120 * time.Second
	maxRequests   = 500
	maxBody       = 4 << 20
	maxDepth      = 32
	maxMembers    = 512
)

const pinPrefix = "sha256:"

// pinOf is the pin of a certificate's key.
func pinOf(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return pinPrefix + hex.EncodeToString(sum[:])
}
