// Package vm holds the scenarios that need real machines: the built server and ramdisk, QEMU machines behind emulated
// BMCs, images that must boot. Most share one lab and its enrolled machines, in the order of a machine's life.
package vm
