//go:build linux

// Bareinit is the least an init can be: it says that it runs, and powers off. make bench measures the ramdisk against it.
package main

import (
	"fmt"
	"syscall"
)

func main() {
	fmt.Println("bareinit: up")
	syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF) //nolint:errcheck // there is nothing else to do
	select {}
}
