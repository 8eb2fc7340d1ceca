// Package differential sends the same requests to Debian's Ironic and to our server and compares what they answer:
// status, headers that clients read, and body. Identifiers that servers make, times and addresses are normalised first.
// What remains must be listed, with its reason, in docs/reference/differences.md; an entry of that page that names
// requests and no longer differs is a failure too.
//
// The requests are text files in requests, one for each part of the API; request.go says how they are written.
// compare.go normalises and compares, listed.go reads the page, and play.go sends a file to both servers.
package differential
