package audit_test

import (
	"testing"
	"testing/synctest"
	"time"

	"pulsevault/pkg/audit"
)

// A check at a pace finds what one without finds, and takes its time. The time here is not that of the machine.
func TestVerifyAtAPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := threeDays(t, nil)
		size := len(read(t, dir, day1)) + len(read(t, dir, day2)) + len(read(t, dir, day3))
		for _, pace := range []int64{1 << 10, 1 << 20} {
			begun := time.Now()
			report, err := audit.Inspection{Pace: pace}.Dir(t.Context(), dir)
			if err != nil || !report.OK() || len(report.Chains) != 1 || report.Chains[0].Entries != 15 {
				t.Errorf("%v, %v", report, err)
			}
			if took, least := time.Since(begun), time.Duration(int64(size)*int64(time.Second)/pace); took < least-time.Microsecond || took > least+time.Second {
				t.Errorf("%d bytes at %d in a second took %v", size, pace, took)
			}
		}
	})
}
