//go:build failpoint

package failpoint

import (
	"os"
	"time"
)

// Hit kills the process when PULSEVAULT_FAILPOINT is name.
func Hit(name string) {
	if os.Getenv("PULSEVAULT_FAILPOINT") != name {
		return
	}
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		panic(err)
	}
	if err := self.Kill(); err != nil {
		panic(err)
	}
	time.Sleep(time.Minute) // the signal arrives before this ends
}
