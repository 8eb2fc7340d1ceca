// Package clients drives our server with the clients that people have, unchanged: Debian's python3-ironicclient (the
// command baremetal) and python3-openstackclient with it, and gophercloud with the request sequences of Metal3's operator.
// All of it is tests that need what make setup installs; the servers are real programs on loopback.
//
// baremetal.py runs baremetal's own entry point for one command line after the other: starting Python anew for each would
// take the test a minute.
package clients
