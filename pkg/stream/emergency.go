package stream

import (
	"context"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"pulsevault/pkg/audit"
	"pulsevault/pkg/vault"
)

const (
	// emergencyExpiry is how long a link lives at most that is given in an emergency, and whatever it leads to.
	emergencyExpiry = 15 * time.Minute
	// A reason has as many characters, of those that can be printed.
	minReason, maxReason = 10, 500
)

// ActionEmergency is what an entry in the category emergency tells of: a link was given for a reason. The eventId is that of
// the link, and stands as "emergency" in the details of the entries of its uses.
const ActionEmergency = "emergency.granted"

// Metrics counts what links are given. A nil *Metrics counts nothing.
type Metrics struct{ emergencies prometheus.Counter }

// NewMetrics registers the metrics with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{emergencies: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "pulsevault_emergency_access_total", Help: "Links given in an emergency; pulsevault audit emergencies lists them.",
	})}
	reg.MustRegister(m.emergencies)
	return m
}

// checkEmergency reads the reason of an emergency, if there is one. A link for which a longer life is asked than there is gets
// what there is: this is no time to be told off. So does one for which none is asked, since nothing it leads to outlives it.
func (s *Streamer) checkEmergency(o *offer) error {
	if o.Emergency == nil {
		return nil
	}
	reason, isText := o.Emergency["reason"].(string)
	o.reason = strings.TrimSpace(reason)
	n := utf8.RuneCountInString(o.reason)
	if !isText || len(o.Emergency) != 1 || n < minReason || n > maxReason || strings.ContainsFunc(o.reason, unprintable) {
		return vault.Errorf(vault.Invalid, "invalid_emergency",
			`emergency must be {"reason":"…"}, which says in %d to %d printable characters why you need to see this now`, minReason, maxReason)
	}
	if most := int64(min(emergencyExpiry, s.MaxExpiry) / time.Second); o.ExpiresIn == nil || o.expiresIn > most {
		o.expiresIn = most
	}
	return nil
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

func newEntryID() string { return uuid.Must(uuid.NewV7()).String() }

// noteEmergency records on disk why a link is given. Who could have had it anyway has said all the same that this was an
// emergency: it is one, and the entry says so, so that a reviewer can tell the two apart.
func (s *Streamer) noteEmergency(ctx context.Context, o *offer, e audit.Event) error {
	e.ID, e.Action = o.claims.Emergency, ActionEmergency
	e.Details["reason"], e.Details["hadRight"] = o.reason, o.hadRight
	if err := s.Audit.Append(ctx, audit.Emergency, e); err != nil {
		return err
	}
	if s.Metrics != nil {
		s.Metrics.emergencies.Inc()
	}
	return nil
}
