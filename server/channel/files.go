package channel

import "syscall"

const (
	mostConns  = 32768
	spareFiles = 1024 // files that are not agents' connections: the database, operators' and BMCs' connections, media
)

// connsFor is how many connections agents may have in a process that may open so many files: who has proven nothing yet
// must not take the last one, or the store and operators would find none (safety.md T6).
func connsFor(files uint64) int {
	return int(min(mostConns, files-min(spareFiles, files/4)))
}

// files is how many this process may open. What can't be read bounds nothing.
func files() uint64 {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return mostConns + spareFiles
	}
	return l.Cur
}
