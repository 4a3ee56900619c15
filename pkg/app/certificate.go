package app

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// certificateTimeout bounds what a scrape waits for a TLS handshake.
const certificateTimeout = time.Second

var (
	certificateSeen  = prometheus.NewDesc("pulsevault_certificate_probe_success", "Whether the address of TLS_PROBE showed a certificate: 1 or 0.", nil, nil)
	certificateUntil = prometheus.NewDesc("pulsevault_certificate_not_after_timestamp_seconds", "When the first certificate ends of those that the address of TLS_PROBE shows.", nil, nil)
)

// certificate looks at what is really served, which is not what lies in a folder if nobody was told of a new one.
type certificate struct {
	addr string // host:port
	log  *slog.Logger
}

func (c certificate) Describe(ch chan<- *prometheus.Desc) {
	ch <- certificateSeen
	ch <- certificateUntil
}

func (c certificate) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), certificateTimeout)
	defer cancel()
	until, err := c.look(ctx)
	if err != nil {
		c.log.DebugContext(ctx, "a scrape saw no certificate", "addr", c.addr, "error", err)
		ch <- prometheus.MustNewConstMetric(certificateSeen, prometheus.GaugeValue, 0)
		return
	}
	ch <- prometheus.MustNewConstMetric(certificateSeen, prometheus.GaugeValue, 1)
	ch <- prometheus.MustNewConstMetric(certificateUntil, prometheus.GaugeValue, float64(until.Unix()))
}

// look returns when the first of the certificates ends. None of them is verified, for a clinic may have made its own, and
// nothing is said over the connection.
func (c certificate) look(ctx context.Context) (until time.Time, err error) {
	dialer := tls.Dialer{NetDialer: &net.Dialer{}, Config: &tls.Config{InsecureSkipVerify: true}} // it is looked at only
	conn, err := dialer.DialContext(ctx, "tcp", c.addr)
	if err != nil {
		return time.Time{}, err
	}
	defer func() { _ = conn.Close() }()
	for _, shown := range conn.(*tls.Conn).ConnectionState().PeerCertificates {
		if until.IsZero() || shown.NotAfter.Before(until) {
			until = shown.NotAfter
		}
	}
	return until, nil
}
