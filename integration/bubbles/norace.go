//go:build !race

package bubbles

const race = false
