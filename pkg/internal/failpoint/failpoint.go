//go:build !failpoint

// Package failpoint marks the places at which the crash tests kill the process: one at each arrow of the order of
// writes. In an ordinary build a mark does nothing; built with the tag "failpoint", the process kills itself (SIGKILL)
// when it comes to the mark that PULSEVAULT_FAILPOINT names.
package failpoint

// Hit marks the place called name.
func Hit(string) {}
